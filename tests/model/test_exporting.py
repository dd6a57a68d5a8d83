import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from addressvlm.cli.main import exit_code
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import read_json, write_json
from addressvlm.model.backbone import Backbone, load_backbone, load_run, save_backbone
from addressvlm.model.conversation import Turn, encode_conversation
from addressvlm.model.exporting import export_run, hub_names
from addressvlm.model.lora import PARTS, add_adapter, save_adapter

QUESTION = "Which street is this?"
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))


def logits(backbone: Backbone) -> torch.Tensor:
    encoded = encode_conversation(
        backbone.tokenizer, [Turn(QUESTION, None)], image_tokens=backbone.image_tokens
    )
    pixels = backbone.preprocessing.normalise(torch.from_numpy(backbone.preprocessing.pixels(PHOTO)[None]))
    with torch.inference_mode():
        output = backbone.model.float()(input_ids=torch.tensor([encoded.ids]), pixel_values=pixels)
    result: torch.Tensor = output.logits
    return result


@pytest.fixture
def run(tiny: Backbone, tmp_path: Path) -> Path:
    """A run folder as training leaves it, with adapters that change much."""
    folder = tmp_path / "run"
    save_backbone(tiny, folder / "base")
    adapted = add_adapter(tiny.model, PARTS, rank=2, alpha=4, dropout=0.0, seed=0)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                weight.add_(0.2)
    (folder / "adapter").mkdir()
    save_adapter(adapted, folder / "adapter")
    tiny.preprocessing.save(folder / "adapter")
    write_json(folder / "config.json", {"step": "run", "learning_rate": 1e-5})
    write_json(folder / "summary.json", summary())
    return folder


def summary(**changed: Any) -> dict[str, Any]:
    return {
        "stage": "localization",
        "city": "Tinytown",
        "levels": ["district", "street"],
        "attribution": "© me",
        "base": "random:tiny",
        "samples": 12,
        "steps": 3,
        "parameters": 4000,
        "trained": 200,
        "precision": "fp32",
    } | changed


def test_merged_weights_say_the_same_after_reloading(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "merged", "merged", dtype="float32")
    expected = logits(load_run(run))
    assert not torch.allclose(expected, logits(load_backbone(run / "base")), atol=1e-2)
    torch.testing.assert_close(logits(load_backbone(tmp_path / "merged")), expected, rtol=0, atol=0)


def test_stock_transformers_reads_merged_weights_and_makes_the_same_inputs(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "merged", "merged", dtype="float32")
    model, report = AutoModelForImageTextToText.from_pretrained(
        tmp_path / "merged", dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values())
    processor = AutoProcessor.from_pretrained(tmp_path / "merged")
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(images=PHOTO, text=text, add_special_tokens=False, return_tensors="pt")
    ours = load_run(run)
    encoded = encode_conversation(ours.tokenizer, [Turn(QUESTION, None)], image_tokens=ours.image_tokens)
    assert inputs.input_ids.tolist() == [encoded.ids]
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(**inputs).logits, logits(ours), rtol=1e-4, atol=1e-5)


def test_merged_weights_have_the_names_of_the_hub(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "merged", "merged")
    weights = load_file(tmp_path / "merged" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    begins = {".".join(name.split(".")[:2]) for name in weights}
    assert begins == {
        "vision_tower.vision_model",
        "language_model.model",
        "language_model.lm_head",
        "multi_modal_projector.linear_1",
        "multi_modal_projector.linear_2",
    }


def test_merged_config_names_outer_and_inner_architecture(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "merged", "merged")
    config = read_json(tmp_path / "merged" / "config.json")
    assert config["architectures"] == ["LlavaForConditionalGeneration"]
    assert config["text_config"]["architectures"][0] in ("Phi3ForCausalLM", "Qwen2ForCausalLM")
    generation = read_json(tmp_path / "merged" / "generation_config.json")
    assert generation["eos_token_id"] == list(load_run(run).end_ids)
    assert "auto_map" not in json.dumps(config)


def test_peft_puts_the_exported_adapter_on_the_base(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "adapter", "adapter")
    base = load_backbone(run / "base")
    base.model = PeftModel.from_pretrained(base.model, tmp_path / "adapter").eval()
    torch.testing.assert_close(logits(base), logits(load_run(run)), rtol=1e-4, atol=1e-5)


def test_card_names_base_city_and_attribution(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "adapter", "adapter")
    card = (tmp_path / "adapter" / "README.md").read_text("utf-8")
    assert re.search(r"^base_model: random:tiny$", card, re.M)
    assert "Tinytown" in card
    assert "© me" in card
    assert "12 conversations, 3 steps" in card


def test_a_base_from_the_hub_is_named_by_its_id(run: Path, tmp_path: Path) -> None:
    write_json(run / "summary.json", summary(base="llava-phi3-mini"))
    export_run(run, tmp_path / "adapter", "adapter")
    config = read_json(tmp_path / "adapter" / "adapter_config.json")
    assert config["base_model_name_or_path"] == "xtuner/llava-phi-3-mini-hf"


def test_run_without_adapter_cannot_be_exported_as_one(tiny: Backbone, tmp_path: Path) -> None:
    save_backbone(tiny, tmp_path / "run" / "model")
    write_json(tmp_path / "run" / "config.json", {"step": "run"})
    write_json(tmp_path / "run" / "summary.json", summary())
    with pytest.raises(UsageError, match="export it as merged"):
        export_run(tmp_path / "run", tmp_path / "out", "adapter")
    assert not (tmp_path / "out").exists()
    export_run(tmp_path / "run", tmp_path / "out", "merged", dtype="float32")
    torch.testing.assert_close(logits(load_backbone(tmp_path / "out")), logits(tiny), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--format", "gguf"], "gguf"), (["--dtype", "int3"], "int3"), (["--out", "{run}"], "there already")],
)
def test_command_refuses_by_name(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    given = [argument.format(run=run) for argument in arguments]
    assert exit_code(["export", str(run), "--out", str(tmp_path / "out"), *given]) == 2
    assert named in capsys.readouterr().err


def test_command_tells_what_it_wrote(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["export", str(run), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert "model.safetensors" in json.loads(capsys.readouterr().out)["files"]


# --- folders of others, with the names of the hub


def hub_folder(tiny: Backbone, folder: Path) -> Path:
    """A folder as the hub has it: old names, Hugging Face's processor, nothing of ours."""
    save_backbone(tiny, folder)
    (folder / "preprocessing.json").unlink()
    (folder / "manifest.json").unlink()
    state = {name: weight.clone() for name, weight in tiny.model.state_dict().items()}
    # Written by Transformers until 4.30; a number for every place, no weight.
    state["model.vision_tower.embeddings.position_ids"] = torch.arange(5)[None]
    save_file(hub_names(state), folder / "model.safetensors", metadata={"format": "pt"})
    size = tiny.preprocessing.size_px
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "do_center_crop": True,
            "crop_size": {"height": size, "width": size},
            "size": {"shortest_edge": size},
            "image_mean": list(tiny.preprocessing.mean),
            "image_std": list(tiny.preprocessing.std),
        },
    )
    return folder


def test_a_checkpoint_with_the_names_of_the_hub_is_read_whole(tiny: Backbone, tmp_path: Path) -> None:
    folder = hub_folder(tiny, tmp_path / "hub")
    assert any(
        name.startswith("vision_tower.vision_model.") for name in load_file(folder / "model.safetensors")
    )
    _, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())  # 0 missing, 0 unexpected, 0 of another shape
    loaded = load_backbone(folder)
    assert loaded.preprocessing == tiny.preprocessing
    assert torch.equal(logits(loaded), logits(tiny))


def test_a_checkpoint_of_the_hub_that_lacks_a_weight_is_refused(tiny: Backbone, tmp_path: Path) -> None:
    folder = hub_folder(tiny, tmp_path / "hub")
    weights = load_file(folder / "model.safetensors")
    weights.pop("multi_modal_projector.linear_2.bias")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AddressVLMError, match=r"do not fit.*linear_2\.bias"):
        load_backbone(folder)


def test_processor_of_another_size_is_refused(tiny: Backbone, tmp_path: Path) -> None:
    folder = hub_folder(tiny, tmp_path / "hub")
    settings = read_json(folder / "preprocessor_config.json")
    write_json(folder / "preprocessor_config.json", settings | {"crop_size": {"height": 224, "width": 224}})
    with pytest.raises(AddressVLMError, match="makes pictures of 224 px, the model reads 28 px"):
        load_backbone(folder)


def test_another_picture_token_than_the_model_s_is_refused(tiny: Backbone, tmp_path: Path) -> None:
    folder = hub_folder(tiny, tmp_path / "hub")
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", config | {"image_token_index": 3})
    with pytest.raises(AddressVLMError, match="picture token has id 7, the model's 3"):
        load_backbone(folder)

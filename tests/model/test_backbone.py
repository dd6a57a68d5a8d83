import json
from pathlib import Path

import pytest
import torch

from addressvlm.errors import AddressVLMError
from addressvlm.folders import read_json
from addressvlm.model.backbone import Backbone, build_backbone, load_backbone, load_run, save_backbone
from addressvlm.model.conversation import Turn, encode_conversation
from addressvlm.model.lora import PARTS, add_adapter, save_adapter

PIXELS = torch.arange(3 * 28 * 28, dtype=torch.int64).reshape(1, 3, 28, 28).to(torch.uint8)


def logits(backbone: Backbone) -> torch.Tensor:
    turns = [Turn("Which street is this?", None)]
    encoded = encode_conversation(backbone.tokenizer, turns, image_tokens=backbone.image_tokens)
    pixels = backbone.preprocessing.normalise(PIXELS)
    with torch.inference_mode():
        output = backbone.model(input_ids=torch.tensor([encoded.ids]), pixel_values=pixels)
    result: torch.Tensor = output.logits
    return result


def test_same_seed_gives_the_same_weights(tiny: Backbone) -> None:
    again = build_backbone(tiny.name, seed=0)
    assert torch.equal(logits(tiny), logits(again))


def test_another_seed_gives_other_weights(tiny: Backbone) -> None:
    assert not torch.equal(logits(tiny), logits(build_backbone(tiny.name, seed=1)))


def test_building_leaves_the_global_generator_alone(tiny: Backbone) -> None:
    before = torch.random.get_rng_state()
    build_backbone(tiny.name, seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_saved_backbone_answers_the_same(tiny: Backbone, tmp_path: Path) -> None:
    save_backbone(tiny, tmp_path / "model")
    loaded = load_backbone(tmp_path / "model")
    assert loaded.name == tiny.name
    assert torch.equal(logits(loaded), logits(tiny))


def test_saved_folder_names_no_path(tiny: Backbone, tmp_path: Path) -> None:
    save_backbone(tiny, tmp_path / "one")
    save_backbone(load_backbone(tmp_path / "one"), tmp_path / "two")
    for path in (tmp_path / "two").glob("*.json"):
        assert str(tmp_path) not in path.read_text("utf-8")
        assert "is_local" not in path.read_text("utf-8")


def test_generation_ends_at_the_end_token(tiny: Backbone) -> None:
    assert tiny.end_id in tiny.model.generation_config.eos_token_id


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match=r"is no model: it has no config\.json"):
        load_backbone(tmp_path)


def test_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match="there is no folder"):
        load_backbone(tmp_path / "nowhere")


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_folder_that_wants_its_own_code_run_is_refused(tiny: Backbone, tmp_path: Path, file: str) -> None:
    folder = tmp_path / "model"
    save_backbone(tiny, folder)
    path = folder / file
    path.write_text(json.dumps(read_json(path) | {"auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(AddressVLMError, match="auto_map"):
        load_backbone(folder)


def test_pickled_weights_are_refused(tiny: Backbone, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_backbone(tiny, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(AddressVLMError, match="pickled"):
        load_backbone(folder)


def test_weights_that_do_not_fit_are_refused(tiny: Backbone, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_backbone(tiny, folder)
    config = read_json(folder / "config.json")
    config["vision_config"]["num_hidden_layers"] += 1
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(AddressVLMError, match="do not fit"):
        load_backbone(folder)


def test_broken_weights_are_an_error_that_names_the_folder(tiny: Backbone, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_backbone(tiny, folder)
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(AddressVLMError, match=str(folder)):
        load_backbone(folder)


def test_preprocessing_of_another_size_is_refused(tiny: Backbone, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_backbone(tiny, folder)
    settings = read_json(folder / "preprocessing.json")
    (folder / "preprocessing.json").write_text(json.dumps(settings | {"size_px": 56}))
    with pytest.raises(AddressVLMError, match="56 px, the model reads 28 px"):
        load_backbone(folder)


def test_run_with_adapter_loads_merged(tiny: Backbone, tmp_path: Path) -> None:
    save_backbone(tiny, tmp_path / "base")
    adapted = add_adapter(tiny.model, PARTS, rank=2, alpha=4, dropout=0.5, seed=0)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.1)
    (tmp_path / "adapter").mkdir()
    save_adapter(adapted, tmp_path / "adapter")
    tiny.preprocessing.save(tmp_path / "adapter")
    adapted.eval()
    torch.testing.assert_close(logits(load_run(tmp_path)), logits(tiny), rtol=1e-4, atol=1e-5)


def test_run_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match="neither adapter/ nor model/"):
        load_run(tmp_path)

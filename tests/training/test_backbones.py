"""Models of other families through the same door: read, trained for two steps, asked."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from chatml_models import folder_of, tokenizer_of
from PIL import Image
from safetensors.torch import save_file
from train_job import QUICK
from transformers import Qwen2VLConfig, dynamic_module_utils

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import read_json
from addressvlm.inference.constrained import constrained_answers
from addressvlm.inference.localizer import Localizer
from addressvlm.inference.prompts import Request
from addressvlm.model.backbone import load_backbone, load_run
from addressvlm.model.checkpoints import REMOTE_CODE, code_digest
from addressvlm.model.conversation import IGNORED, Turn, encode_conversation
from addressvlm.model.exporting import export_run
from addressvlm.model.lora import PARTS, is_reached, linear_layers, part_of
from addressvlm.model.pictures import picture_tokens
from addressvlm.model.template import template_of
from addressvlm.training.train import train

KINDS = ("llava-llama", "llava-onevision", "internvl", "minicpm-v")
TOKENS = {"llava-llama": 4, "llava-onevision": 5, "internvl": 4, "minicpm-v": 4}
PHOTO = Image.new("RGB", (40, 30), "green")
ASKED = [Request((PHOTO,), "Which street?"), Request((PHOTO,), "Which district is it?")]

pytestmark = pytest.mark.filterwarnings("ignore:.*is falling back to its reference PyTorch")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: folder_of(kind, tmp_path_factory.mktemp(kind) / "model") for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_two_steps_of_training_and_an_answer(
    kind: str, folders: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    summary = train(replace(QUICK, max_steps=2), photos, str(folders[kind]), run)
    assert (summary["steps"], summary["loss"] > 0) == (2, True)
    localizer = Localizer.load(run)
    assert localizer.reads_trees == (kind != "minicpm-v")
    answers = list(localizer.answer(ASKED, max_new_tokens=3))
    assert answers == list(localizer.answer(ASKED, engine="generate", max_new_tokens=3))
    assert len(localizer.sample(PHOTO, "Which street?", samples=3, max_new_tokens=2)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_are_on_both_towers_and_every_one_of_them_learns(
    kind: str, folders: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    train(replace(QUICK, max_steps=2), photos, str(folders[kind]), tmp_path / "run")
    before = load_backbone(folders[kind])
    after = dict(load_run(tmp_path / "run").model.named_parameters())
    assert {part_of(name) for name in linear_layers(before.model)} == {"vision", "language"}
    adapted = {f"{name}.weight" for name in linear_layers(before.model)}
    for name, weight in before.model.named_parameters():
        if not is_reached(before.model, name):
            continue
        changed = name in adapted or (part_of(name) == "projector" and "image_newline" not in name)
        assert torch.equal(weight, after[name]) != changed, name
    assert {part_of(name) for name, _ in before.model.named_parameters()} == set(PARTS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_s_own_template_is_spoken(kind: str, folders: dict[str, Path]) -> None:
    backbone = load_backbone(folders[kind])
    turns = [Turn("Where?", "Oak Street"), Turn("Really?", "Yes")]
    encoded = encode_conversation(backbone.tokenizer, turns, image_tokens=backbone.image_tokens)
    assert backbone.image_tokens == TOKENS[kind]
    picture = backbone.tokenizer.image_token * TOKENS[kind]
    around = {
        "llava-llama": picture,
        "llava-onevision": picture,
        "internvl": f"<img>{picture}</img>",
        "minicpm-v": f"<image_id>0</image_id><image>{picture}</image>",
    }[kind]
    text = (
        f"<|im_start|>user\n{around}\nWhere?<|im_end|>\n<|im_start|>assistant\nOak Street<|im_end|>\n"
        "<|im_start|>user\nReally?<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>"
    )
    assert backbone.tokenizer.decode(encoded.ids).replace(" ", "") == text.replace(" ", "")
    learned = [i for i, label in zip(encoded.ids, encoded.labels, strict=True) if label != IGNORED]
    assert backbone.tokenizer.decode(learned).replace(" ", "") == "OakStreet<|im_end|>Yes<|im_end|>"
    assert backbone.end_ids == (backbone.tokenizer.convert_tokens_to_ids("<|im_end|>"),)


def test_the_prompt_is_a_prefix_of_what_is_trained_under_any_template() -> None:
    for kind in KINDS:
        tokenizer = tokenizer_of(kind)
        whole = encode_conversation(tokenizer, [Turn("Where?", "Oak Street")], image_tokens=4)
        asked = encode_conversation(tokenizer, [Turn("Where?", None)], image_tokens=4)
        assert whole.ids[: len(asked.ids)] == asked.ids


def test_minicpm_v_cannot_be_trained_on_stars(folders: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="set rounds = chain"):
        train(replace(QUICK, rounds="star"), photos, str(folders["minicpm-v"]), tmp_path / "run")


def test_minicpm_v_tells_no_exact_probabilities(folders: dict[str, Path]) -> None:
    with pytest.raises(AddressVLMError, match="draw samples"):
        next(Localizer(load_backbone(folders["minicpm-v"])).distributions([(PHOTO,)]))
    with pytest.raises(AddressVLMError, match="draw samples"):
        next(constrained_answers(Localizer(load_backbone(folders["minicpm-v"])), []))


@pytest.mark.parametrize("kind", ["llava-onevision", "minicpm-v"])
def test_merged_export_of_other_families_says_the_same(
    kind: str, folders: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    train(replace(QUICK, max_steps=1), photos, str(folders[kind]), tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "merged", "merged", dtype="float32")
    found = Localizer(load_backbone(tmp_path / "merged")).answer(ASKED, max_new_tokens=3)
    assert list(found) == list(Localizer.load(tmp_path / "run").answer(ASKED, max_new_tokens=3))
    architectures = read_json(tmp_path / "merged" / "config.json")["text_config"]["architectures"]
    assert architectures == [{"llava-onevision": "Qwen2ForCausalLM", "minicpm-v": "Qwen3_5ForCausalLM"}[kind]]


def test_a_folder_with_code_of_its_own_runs_it_only_where_exactly_it_is_allowed(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of("llava-onevision", tmp_path / "model")
    # Transformers translates the names of the hub for its own classes only.
    save_file(load_backbone(folder).model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    (folder / "ours.py").write_text(
        "import transformers\n\n"
        "class LlavaOnevisionForConditionalGeneration(transformers.LlavaOnevisionForConditionalGeneration):\n"
        "    speaks = 'own code'\n"
    )
    config = read_json(folder / "config.json")
    config["auto_map"] = {"AutoModelForImageTextToText": "ours.LlavaOnevisionForConditionalGeneration"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(AddressVLMError, match=f"--remote-code {code_digest(folder)}"):
        load_backbone(folder)
    monkeypatch.setenv(REMOTE_CODE, code_digest(folder))
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    assert load_backbone(folder).model.speaks == "own code"
    (folder / "ours.py").write_text("import os")
    with pytest.raises(AddressVLMError, match="asks to run its own code"):
        load_backbone(folder)


def test_a_model_that_takes_no_plain_pictures_is_refused_by_name() -> None:
    with pytest.raises(AddressVLMError, match="'qwen2_vl' has no fixed size of pictures"):
        picture_tokens(Qwen2VLConfig())


def test_template_that_knows_only_strings_gets_the_picture_as_text() -> None:
    tokenizer = tokenizer_of("llava-onevision")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role + ': ' + m.content }}{% if m.role == 'assistant' %}"
        "{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    )
    template = template_of(tokenizer)
    assert (template.lead, template.end) == (" ", tokenizer.eos_token_id)

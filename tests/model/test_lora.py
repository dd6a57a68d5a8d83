import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.model.backbone import Backbone, build_backbone
from addressvlm.model.conversation import Turn, encode_conversation
from addressvlm.model.lora import (
    PARTS,
    adapter_parts,
    add_adapter,
    linear_layers,
    load_adapter,
    part_of,
    restore_adapter,
    save_adapter,
    train_adapter_parts,
    train_parts,
)


def adapt(backbone: Backbone, parts: tuple[str, ...] = PARTS, seed: int = 0) -> PeftModel:
    return add_adapter(backbone.model, parts, rank=2, alpha=4, dropout=0.0, seed=seed)


def backward(backbone: Backbone, model: nn.Module) -> None:
    turns = [Turn("Which street?", "Forbes Avenue")]
    encoded = encode_conversation(backbone.tokenizer, turns, image_tokens=backbone.image_tokens)
    size = backbone.preprocessing.size_px
    pixels = torch.linspace(-1, 1, 3 * size * size).reshape(1, 3, size, size)
    model(
        input_ids=torch.tensor([encoded.ids]), pixel_values=pixels, labels=torch.tensor([encoded.labels])
    ).loss.backward()


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def without_gradient(model: nn.Module) -> list[str]:
    return [name for name, weight in trained(model).items() if weight.grad is None]


def test_every_adapter_weight_gets_a_gradient(tiny: Backbone) -> None:
    adapted = adapt(tiny)
    backward(tiny, adapted)
    assert without_gradient(adapted) == []


def test_every_weight_of_full_tuning_gets_a_gradient(tiny: Backbone) -> None:
    train_parts(tiny.model, PARTS)
    backward(tiny, tiny.model)
    assert without_gradient(tiny.model) == []


def test_all_linear_layers_with_a_gradient_are_adapted_and_no_other(tiny: Backbone) -> None:
    for weight in tiny.model.parameters():
        weight.requires_grad_(True)
    backward(tiny, tiny.model)
    reached = {
        name
        for name, module in tiny.model.named_modules()
        if isinstance(module, nn.Linear) and module.weight.grad is not None
    }
    assert set(linear_layers(tiny.model)) == {
        name for name in reached if part_of(name) != "projector" and name != "lm_head"
    }


@pytest.mark.parametrize("part", PARTS)
def test_full_tuning_of_a_part_freezes_the_others(tiny: Backbone, part: str) -> None:
    train_parts(tiny.model, [part])
    assert {part_of(name) for name in trained(tiny.model)} == {part}


def test_the_projector_is_trained_whole(tiny: Backbone) -> None:
    projector = {n: w for n, w in trained(adapt(tiny)).items() if part_of(n) == "projector"}
    assert sum(weight.numel() for weight in projector.values()) == 2 * (8 * 8 + 8)


def test_fresh_adapter_changes_nothing(tiny: Backbone) -> None:
    ids = torch.tensor([[1, 30, 40]])
    before = tiny.model(input_ids=ids).logits
    assert torch.equal(adapt(tiny)(input_ids=ids).logits, before)


def test_adapter_is_written_to_the_same_bytes(tiny: Backbone, tmp_path: Path) -> None:
    adapted = adapt(tiny)
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        save_adapter(adapted, folder)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert sorted(one) == ["adapter_config.json", "adapter_model.safetensors"]


def test_stored_adapter_tells_its_parts(tiny: Backbone, tmp_path: Path) -> None:
    save_adapter(adapt(tiny, ("vision", "projector")), tmp_path)
    assert adapter_parts(tmp_path) == ("vision", "projector")


def test_later_adapter_takes_over_what_an_earlier_one_learned(tiny: Backbone, tmp_path: Path) -> None:
    save_adapter(adapt(tiny, ("language",), seed=1), tmp_path)
    stored = {n: w.clone() for n, w in trained(tiny.model).items()}
    assert stored
    fresh = adapt(fresh_copy(tiny), PARTS, seed=2)
    missing = restore_adapter(fresh, tmp_path)
    assert all(part_of(name) != "language" for name in missing)
    for name, weight in stored.items():
        assert torch.equal(weight, dict(fresh.get_base_model().named_parameters())[name])


def test_frozen_part_of_an_adapter_keeps_still(tiny: Backbone) -> None:
    adapted = add_adapter(tiny.model, PARTS, rank=2, alpha=4, dropout=0.9, seed=0)
    train_adapter_parts(adapted, ("language",))
    assert {part_of(name) for name in trained(adapted)} == {"language"}
    dropped = {part_of(n) for n, m in adapted.named_modules() if isinstance(m, nn.Dropout) and "lora" in n}
    assert dropped == {"language"}


def test_adapter_of_another_model_is_refused(tiny: Backbone, tmp_path: Path) -> None:
    save_adapter(adapt(tiny), tmp_path)
    other = add_adapter(fresh_copy(tiny).model, PARTS, rank=3, alpha=4, dropout=0.0, seed=0)
    with pytest.raises(AddressVLMError, match="does not fit"):
        restore_adapter(other, tmp_path)


def test_adapter_of_another_backbone_is_refused_by_name(tmp_path: Path, tiny: Backbone) -> None:
    save_adapter(adapt(tiny), tmp_path)
    other = "tiny" if "siglip" in tiny.name else "tiny-siglip"
    with pytest.raises(
        AddressVLMError, match=r"does not fit this model \(llava: .* made for another backbone"
    ):
        load_adapter(build_backbone(other, seed=0).model, tmp_path)


def test_adapter_without_one_layer_in_common_is_refused_by_name(tmp_path: Path, tiny: Backbone) -> None:
    save_adapter(adapt(tiny), tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"target_modules": "model.vpm.layers.0.q"}))
    with pytest.raises(AddressVLMError, match="none of its layers are in it"):
        load_adapter(fresh_copy(tiny).model, tmp_path)


def test_adapter_with_a_missing_weight_is_refused(tiny: Backbone, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_adapter(adapt(tiny), tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, tmp_path / "adapter_model.safetensors")
    with pytest.raises(AddressVLMError, match="lacks"):
        load_adapter(fresh_copy(tiny).model, tmp_path)


@pytest.mark.parametrize("parts", [(), ("vison",)])
def test_unknown_parts_are_an_error(tiny: Backbone, parts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="vision, projector, language"):
        train_parts(tiny.model, parts)


def fresh_copy(backbone: Backbone) -> Backbone:
    return build_backbone(backbone.name, seed=0)

"""Which weights a stage trains: low-rank adapters (peft), or all of a part.

A model has three parts: `vision`, `projector`, `language`. With LoRA the towers get adapters on all their
linear layers, and the projector, which is small, is trained as it is (Sec. 4.1, as xtuner does). Where no
gradient flows nothing is trained: the vision layers behind the one whose features are read, and the norm
and head that follow.
"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.model.checkpoints import require_safe_folder

Part = Literal["vision", "projector", "language"]
PARTS: tuple[Part, ...] = get_args(Part)

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_PARTS_BY_MODULE: dict[str, Part] = {
    "vision_tower": "vision",
    "multi_modal_projector": "projector",
    "merger": "projector",  # MiniCPM-V's name of it
    "image_newline": "projector",  # of LLaVA-OneVision; no module, so adapters leave it as it is
    "language_model": "language",
    "lm_head": "language",
}
_PROJECTOR_NAMES = {"multi_modal_projector", "merger"}
_LAYER = re.compile(r"(.*\.layers?)\.(\d+)\.(.*)")


def train_parts(model: nn.Module, parts: Collection[str]) -> None:
    """Freeze every weight outside these parts, and every weight that no gradient reaches."""
    _require_parts(parts)
    for name, weight in model.named_parameters():
        weight.requires_grad_(part_of(name) in parts and is_reached(model, name))


def add_adapter(
    model: PreTrainedModel, parts: Collection[str], *, rank: int, alpha: int, dropout: float, seed: int
) -> PeftModel:
    """Put fresh adapters, which change nothing yet, on these parts; a tower must be among them."""
    _require_parts(parts)
    towers = set(parts) - {"projector"}
    assert towers, "an adapter needs a tower; the projector alone is trained without"
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=_pattern(name for name in linear_layers(model) if part_of(name) in towers),
        modules_to_save=_projectors(model) if "projector" in parts else None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = get_peft_model(model, config)
    for module in adapted.modules():
        if isinstance(module, LoraLayer):
            # peft would turn every input into float32 first, which autocast turns back.
            module.cast_input_dtype_enabled = False
    return adapted


def train_adapter_parts(adapted: PeftModel, parts: Collection[str]) -> None:
    """Freeze the adapters of all other parts; a frozen adapter drops nothing out."""
    _require_parts(parts)
    for name, weight in adapted.named_parameters():
        if weight.requires_grad and part_of(name) not in parts:
            weight.requires_grad_(False)
    for name, module in adapted.named_modules():
        if isinstance(module, LoraLayer) and part_of(name) not in parts:
            module.lora_dropout["default"] = nn.Identity()


def save_adapter(adapted: PeftModel, folder: Path) -> None:
    """Write the adapter in peft's format, without the model card and the path that peft would add."""
    adapted.peft_config["default"].base_model_name_or_path = None
    adapted.peft_config["default"].inference_mode = True
    adapted.peft_config["default"].save_pretrained(folder)
    weights = {name: weight.contiguous().cpu() for name, weight in _adapter_state(adapted).items()}
    save_file(weights, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Put the adapter of a folder on the model it was made for; every weight must find its place."""
    try:
        adapted = get_peft_model(model, adapter_config(folder))
    except ValueError as error:  # not one of its places is there
        raise _misfit(folder, model, "none of its layers are in it") from error
    missing = restore_adapter(adapted, folder)
    if missing:
        raise AddressVLMError(f"the adapter {folder} lacks {missing[0]} (and {len(missing) - 1} more)")
    return adapted


def restore_adapter(adapted: PeftModel, folder: Path) -> list[str]:
    """Load stored weights into an adapter that may reach further; returns the names that were not stored."""
    require_safe_folder(folder, ADAPTER_CONFIG, ADAPTER_WEIGHTS)
    stored, expected = load_file(folder / ADAPTER_WEIGHTS), _adapter_state(adapted)
    strangers = [n for n in stored if n not in expected or stored[n].shape != expected[n].shape]
    if strangers:
        raise _misfit(folder, adapted.get_base_model(), sorted(strangers)[0])
    set_peft_model_state_dict(adapted, expected | stored)
    return sorted(expected.keys() - stored.keys())


def _misfit(folder: Path, model: PreTrainedModel, what: str) -> AddressVLMError:
    config = model.config
    kind = f"{config.vision_config.model_type} and {config.get_text_config().model_type}"
    return AddressVLMError(
        f"the adapter {folder} does not fit this model ({config.model_type}: {kind}): {what}; "
        "it was made for another backbone"
    )


def adapter_config(folder: Path) -> LoraConfig:
    """Rank, alpha, dropout and places of a stored adapter."""
    require_safe_folder(folder, ADAPTER_CONFIG, ADAPTER_WEIGHTS)
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = False
    return config


def adapter_parts(folder: Path) -> tuple[Part, ...]:
    """The parts of the model that a stored adapter touches."""
    config = adapter_config(folder)
    touched = f"{config.target_modules} {config.modules_to_save}"
    return tuple(
        part for part in PARTS if any(m in touched for m, p in _PARTS_BY_MODULE.items() if p == part)
    )


def part_of(name: str) -> Part | None:
    """The part that a module or weight belongs to, by its dotted name."""
    found = _PARTS_BY_MODULE.keys() & set(name.split("."))
    return _PARTS_BY_MODULE[found.pop()] if found else None


def is_reached(model: nn.Module, name: str) -> bool:
    """Whether the module or weight of this name can change what the model says."""
    if part_of(name) != "vision":
        return True
    layer = _LAYER.fullmatch(name)
    if layer:
        return int(layer[2]) < vision_layers_used(model)
    if not hasattr(model.config, "vision_feature_layer"):
        return True
    return not re.search(r"\.(post_layernorm|head)\b", name)


def vision_layers_used(model: nn.Module) -> int:
    """How many layers of the vision tower lie before the features that the projector reads."""
    config: Any = model.config
    layers = config.vision_config.num_hidden_layers
    wanted = getattr(config, "vision_feature_layer", None)
    if wanted is None:  # of the others, the projector reads what comes out at the end
        return int(layers)
    indices: list[int] = [wanted] if isinstance(wanted, int) else wanted
    # hidden_states[0] is the embedding, so index i lies behind i layers and -1 behind all.
    return max(index if index >= 0 else layers + 1 + index for index in indices)


def linear_layers(model: nn.Module) -> list[str]:
    """Names of the linear layers of both towers that gradients reach; the output head is none of them."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and part_of(name) in ("vision", "language")
        and not name.endswith("lm_head")
        and is_reached(model, name)
    ]


def _pattern(names: Iterable[str]) -> str:
    """One expression for names in numbered layers; a set would be stored in another order each time."""
    names = list(names)
    alone = sorted(re.escape(name) for name in names if not _LAYER.fullmatch(name))
    towers: dict[str, tuple[set[int], set[str]]] = {}
    for match in filter(None, map(_LAYER.fullmatch, names)):
        numbers, layers = towers.setdefault(match[1], (set(), set()))
        numbers.add(int(match[2]))
        layers.add(match[3])
    in_layers = [
        rf"{re.escape(tower)}\.({_either(sorted(numbers))})\.({_either(sorted(layers))})"
        for tower, (numbers, layers) in sorted(towers.items())
    ]
    pattern = "|".join([*in_layers, *alone])
    assert all(re.fullmatch(pattern, name) for name in names)
    return pattern


def _projectors(model: nn.Module) -> list[str]:
    """The modules of the projector, as peft matches them: by the end of their name."""
    whole = [name for name, _ in model.named_modules() if name.split(".")[-1] in _PROJECTOR_NAMES]
    # A tower may have a `vit_merger` of its own.
    return [name if name.endswith(".merger") else name.split(".")[-1] for name in whole]


def _either(values: Iterable[int | str]) -> str:
    return "|".join(re.escape(str(value)) for value in values)


def _adapter_state(adapted: PeftModel) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    return state


def _require_parts(parts: Collection[str]) -> None:
    strangers = sorted(set(parts) - set(PARTS))
    if strangers or not parts:
        raise UsageError(
            f"cannot train {strangers or 'nothing'}; the parts of a model are {', '.join(PARTS)}"
        )

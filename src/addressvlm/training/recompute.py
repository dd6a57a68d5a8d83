"""How many layers of the language model are computed again in the backward, because memory is short.

Computing a layer twice costs a third more of its time, so only as many are as must be. What a layer keeps is
not estimated but measured, on one sample. The results do not depend on it.
"""

import math
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

# Of the free memory; the rest is for what a backward needs beside what is kept, and for fragments.
_USABLE = 0.85
_BYTES_A_TRAINED_WEIGHT = 12  # its gradient and both moments of AdamW


def recompute_layers(loss: nn.Module, count: int) -> None:
    """Let the first `count` layers of the language model be computed again in the backward, no others."""
    for number, layer in enumerate(_layers(loss)):
        layer.gradient_checkpointing = number < count
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


def layers_to_recompute(kept: list[int], free: float) -> int:
    """How many layers must be recomputed, when what is kept anyway and by each layer (bytes) must fit."""
    anyway, *by_layer = kept
    over = anyway + sum(by_layer) - free
    if over <= 0:
        return 0
    most = max(by_layer)
    # The backward has one recomputed layer whole at a time.
    return min(len(by_layer), math.ceil((over + most) / most))


def fit_into_memory(loss: nn.Module, batch: dict[str, Any], samples: int) -> int:
    """Choose for batches like this one, of `samples` conversations, by the GPU's free memory; the number."""
    device = batch["input_ids"].device
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    trained = sum(weight.numel() for weight in loss.parameters() if weight.requires_grad)
    kept = kept_bytes(loss, batch)
    count = layers_to_recompute(
        [samples * one for one in kept], _USABLE * free - _BYTES_A_TRAINED_WEIGHT * trained
    )
    recompute_layers(loss, count)
    return count


def kept_bytes(loss: nn.Module, batch: dict[str, Any]) -> list[int]:
    """Bytes kept for the backward of this batch: outside the layers of the language model, and by each.

    Nothing changes: no gradient is computed, and the dice of the dropout fall as if this had not been.
    """
    layers = _layers(loss)
    seen: dict[int, tuple[int, int]] = {}  # address → (layer, bytes)
    now = [0]

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen.setdefault(storage.data_ptr(), (now[0], storage.nbytes()))
        return tensor

    def enter(number: int, *_: Any) -> None:
        now[0] = number

    hooks = []
    for number, layer in enumerate(layers, start=1):
        hooks.append(layer.register_forward_pre_hook(partial(enter, number)))
        hooks.append(layer.register_forward_hook(partial(enter, 0)))
    devices = [batch["input_ids"].device] if batch["input_ids"].is_cuda else []
    try:
        with torch.random.fork_rng(devices=devices), saved_tensors_hooks(pack, lambda tensor: tensor):
            held = loss(**batch)  # what is kept lives as long as this, so no address comes twice
    finally:
        for hook in hooks:
            hook.remove()
    del held
    kept = [0] * (len(layers) + 1)
    for weight in loss.parameters():
        seen.pop(weight.untyped_storage().data_ptr(), None)
    for number, size in seen.values():
        kept[number] += size
    return kept


def _layers(loss: nn.Module) -> list[Any]:
    model: Any = loss.model
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    return list(base.base_model.language_model.layers)

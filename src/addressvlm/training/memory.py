"""How much memory a micro-batch takes, known before the first step, and the largest one that fits.

What a forward pass would keep for the way back is counted and dropped at once, for one conversation and for
two of them: the difference is what each takes, whatever the model, its adapters and its precision are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch.multiprocessing.reductions import StorageWeakRef
from transformers import PreTrainedModel

from addressvlm.errors import AddressVLMError
from addressvlm.model.memory import free_bytes, gigabytes
from addressvlm.model.pictures import picture_px
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.stages import Stage

# On the way back, gradients of what is kept come and go; see docs/experiment-log.md.
_WAY_BACK = 1.15
_FLOAT32 = 4


@dataclass(frozen=True)
class Need:
    """Bytes of a training beside its weights: once, and for each conversation of a micro-batch."""

    fixed: int
    per_sample: int

    def of(self, samples: int) -> int:
        """Bytes of a micro-batch of so many conversations."""
        return self.fixed + samples * self.per_sample

    def largest(self, free: int) -> int:
        """How many conversations fit into so many bytes; 0 if none does."""
        return max(0, (free - self.fixed) // self.per_sample)


def require_memory(
    loss: AnswerLoss, stage: Stage, batch_of: Callable[[int], dict[str, Any]], free: int | None = None
) -> Need:
    """Refuse a micro-batch that will not fit, with the largest that does; returns what it needs.

    `batch_of(n)` is a batch of the longest conversation, n times, on the device of `loss`. `free` are the
    bytes to stay in (default: those that are free).
    """
    need = estimate(loss, stage, batch_of)
    wanted = stage.per_device_train_batch_size
    free = free_bytes() if free is None else free
    if need.of(wanted) <= free:
        return need
    fits = need.largest(free)
    out = f"at most {fits} fit: set per_device_train_batch_size = {fits}" if fits else "not even one fits"
    less = "" if stage.gradient_checkpointing else ", or set gradient_checkpointing, which needs far less"
    raise AddressVLMError(
        f"a micro-batch of {wanted} conversations needs about {gigabytes(need.of(wanted))}, but "
        f"{gigabytes(free)} are free; {out}{less}"
    )


def estimate(loss: AnswerLoss, stage: Stage, batch_of: Callable[[int], dict[str, Any]]) -> Need:
    """What training with this loss needs; the loss itself is left as it was."""
    one, two = (_kept(loss, batch_of(count)) for count in (1, 2))
    each = two - one
    if stage.gradient_checkpointing:
        base = loss.model.get_base_model() if isinstance(loss.model, PeftModel) else loss.model
        each = _with_checkpointing(base, each, batch_of(1)["input_ids"].shape[1])
    trained = sum(weight.numel() for weight in loss.parameters() if weight.requires_grad)
    gradients_and_moments = 3 * _FLOAT32 * trained
    return Need(gradients_and_moments + max(0, 2 * one - two), max(1, int(_WAY_BACK * each)))


def _kept(loss: AnswerLoss, batch: dict[str, Any]) -> int:
    """Bytes that a forward pass would keep for the way back, beside weights; none of them is kept."""
    # A storage's reference outlives its bytes, so no other storage gets its number.
    seen: dict[int, tuple[StorageWeakRef, int]] = {}

    def drop(tensor: torch.Tensor) -> None:
        reference = _reference(tensor)
        seen.setdefault(reference.cdata, (reference, tensor.untyped_storage().nbytes()))

    def never(_: None) -> torch.Tensor:
        raise AssertionError("there is no way back")

    device = batch["input_ids"].device
    before = loss.training
    loss.train()
    try:
        with (
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            torch.autograd.graph.saved_tensors_hooks(drop, never),
        ):
            loss(**batch)
    except torch.cuda.OutOfMemoryError as error:
        raise AddressVLMError(f"not even one conversation fits into the memory of {device}") from error
    finally:
        loss.train(before)
    # Only now, for the first pass lets weights of several layers lie together.
    weights = {_reference(weight).cdata for weight in (*loss.parameters(), *loss.buffers())}
    return sum(size for number, (_, size) in seen.items() if number not in weights)


def _reference(tensor: torch.Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def _with_checkpointing(model: PreTrainedModel, each: int, tokens: int) -> int:
    """What is left to keep of a conversation: the inputs of all layers, and the inside of one."""
    text, vision = model.config.get_text_config(), model.config.vision_config
    inputs = tokens * text.hidden_size * text.num_hidden_layers
    patches = (picture_px(model.config) // vision.patch_size) ** 2
    inputs += patches * vision.hidden_size * vision.num_hidden_layers
    return int(_FLOAT32 * inputs + each // text.num_hidden_layers)

"""One training in several processes, a device each, as `accelerate launch` and `torchrun` start them.

The first process alone writes; the others follow it from step to step. A single process is the first.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from addressvlm.errors import UsageError
from addressvlm.folders import Step, open_step

T = TypeVar("T")
_SHARDING = "ADDRESSVLM_FSDP"  # whether it was asked for


def count() -> int:
    """Processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that writes."""
    return os.environ.get("RANK", "0") == "0"


def share(items: Sequence[T]) -> Sequence[T]:
    """Those of the items that fall to this process."""
    return items[int(os.environ.get("RANK", "0")) :: count()]


@contextmanager
def open_together(folder: Path, step: str, config: Mapping[str, Any]) -> Iterator[Step]:
    """`open_step` for all processes: the first owns the folder, the others come when it does."""
    if count() == 1:
        with open_step(folder, step, config) as opened:
            yield opened
        return
    _take_over()
    state = PartialState(cpu=not torch.cuda.is_available())
    if state.is_main_process:
        with open_step(folder, step, config) as opened:
            state.wait_for_everyone()
            yield opened
            state.wait_for_everyone()
    else:
        state.wait_for_everyone()
        yield Step(folder, dict(config))
        state.wait_for_everyone()


def are_sharding() -> bool:
    """Whether each process keeps a part of the weights only (FSDP; see `training/sharding.py`)."""
    return count() > 1 and os.environ.get(_SHARDING) == "true"


def first_before_others() -> Any:
    """A block that the first process runs before the others do: they find what it wrote."""
    return nullcontext() if count() == 1 else PartialState().main_process_first()


def wait_for_others() -> None:
    """Until all processes are here."""
    if count() > 1:
        PartialState().wait_for_everyone()


def any_of_all(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    return flag if count() == 1 else any(gather_object([flag]))


def from_all(value: Any) -> list[Any]:
    """The value of every process, in their order."""
    return [value] if count() == 1 else list(gather_object([value]))


def _take_over() -> None:
    """Do here what accelerate was asked to do with the weights, and refuse what is not done here."""
    if _is_set("ACCELERATE_USE_DEEPSPEED"):
        raise UsageError(
            "DeepSpeed cannot be used; start the processes by `accelerate launch --multi_gpu` or --use_fsdp"
        )
    if not _is_set("ACCELERATE_USE_FSDP"):
        return
    for option, instead in (
        ("OFFLOAD_PARAMS", "use more processes"),
        ("ACTIVATION_CHECKPOINTING", "set gradient_checkpointing"),
    ):
        if _is_set(f"FSDP_{option}"):
            raise UsageError(f"--fsdp_{option.lower()} cannot be used; {instead} instead")
    del os.environ["ACCELERATE_USE_FSDP"]
    os.environ[_SHARDING] = "true"


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() == "true"

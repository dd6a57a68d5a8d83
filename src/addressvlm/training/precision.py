"""On which device and in which precision a stage computes."""

import os

import torch

from addressvlm.environment import has_bf16
from addressvlm.training.stages import Stage


def device() -> torch.device:
    """Where this process trains."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def frozen_dtype(stage: Stage) -> torch.dtype:
    """In which precision weights under adapters are kept: as the GPU computes with them, else float32."""
    return torch.bfloat16 if torch.cuda.is_available() and computes_in_bf16(stage) else torch.float32


def computes_in_bf16(stage: Stage) -> bool:
    """Whether the stage computes in bfloat16 here: on a GPU, or on a CPU with instructions for it."""
    return has_bf16() if stage.bf16 == "auto" else stage.bf16 == "true"

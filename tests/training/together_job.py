"""One process of a training in several: what `accelerate launch` sets up, without its start-up time."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from train_job import QUICK, register_tiny

from addressvlm.training import trainer
from addressvlm.training.train import train

# As many conversations to a step with one process as with two.
WHOLE = replace(
    QUICK, tuning="full", num_train_epochs=2, gradient_accumulation_steps=None, effective_batch_size=4
)
ADAPTERS = replace(WHOLE, tuning="lora", lora_dropout=0.0)


def run(
    rank: int,
    processes: int,
    port: int,
    out: Path,
    data: Path,
    dies_at: int | None,
    options: Any,
    environment: dict[str, str],
) -> None:
    os.environ |= environment | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    register_tiny()
    clip = trainer._RunTrainer._clip_grad_norm

    def watch(self: Any, model: Any) -> torch.Tensor:
        if self.state.global_step + 1 == dies_at:
            os._exit(9)
        shared = all(isinstance(weight, DTensor) for weight in self.model.parameters())
        assert shared == ("ACCELERATE_USE_FSDP" in environment)
        return clip(self, model)

    trainer._RunTrainer._clip_grad_norm = watch  # type: ignore[method-assign]
    train(options, data, "tiny", out)

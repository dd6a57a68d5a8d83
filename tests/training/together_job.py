"""One process of a training in several: what `accelerate launch` sets up, without its start-up time."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from train_job import QUICK, register_tiny

from addressvlm.training import trainer
from addressvlm.training.train import train


def stage(processes: int, **changes: Any) -> Any:
    """As many conversations to a step with one process as with two."""
    return replace(
        QUICK, tuning="full", num_train_epochs=2, gradient_accumulation_steps=2 // processes, **changes
    )


def run(
    rank: int, processes: int, port: int, out: Path, data: Path, dies_at: int | None, options: Any
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    register_tiny()
    if dies_at is not None:
        clip = trainer._RunTrainer._clip_grad_norm

        def die(self: Any, model: Any) -> torch.Tensor:
            if self.state.global_step + 1 == dies_at:
                os._exit(9)
            return clip(self, model)

        trainer._RunTrainer._clip_grad_norm = die  # type: ignore[method-assign]
    train(options, data, "tiny", out)

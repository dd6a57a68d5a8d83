"""A training run in a process of its own, to be killed: `python train_job.py RUN DATA TUNING`."""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from addressvlm.model import presets
from addressvlm.model.presets import Preset, Tower
from addressvlm.training.stages import LOCALIZATION, Stage
from addressvlm.training.train import train

TINY = Preset(
    vision=Tower("clip", width=8, layers=2, heads=2, mlp=16),
    text=Tower("phi3", width=8, layers=1, heads=2, mlp=16),
    image_px=28,
    patch_px=14,
    vision_feature_layer=-2,
)
QUICK = replace(
    LOCALIZATION,
    learning_rate=1e-2,
    lora_rank=4,
    lora_alpha=8,
    lora_dropout=0.3,
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    num_train_epochs=5,
    save_steps=2,
    logging_steps=3,
)


def register_tiny() -> None:
    """Make the preset `tiny` known to this process."""
    presets.PRESETS["tiny"] = TINY


def stage(tuning: str) -> Stage:
    return replace(QUICK, tuning=tuning)


if __name__ == "__main__":
    torch.set_num_threads(1)
    register_tiny()
    train(stage(sys.argv[3]), Path(sys.argv[2]), "tiny", Path(sys.argv[1]))

"""What a frozen vision tower makes of the pictures, computed once and read in every later epoch.

A stage that does not train the tower (every row of Table 4 but the last has one) computes the same numbers
for a picture each time it comes. Where it comes at least twice, they are kept in the run folder until the run
is complete.
Groups of pictures are always the same, so that a continued run, or one in several processes, reads the same
numbers to the bit. The projector is trained, so it is not part of them.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from addressvlm.model.embedding import has_known_tower
from addressvlm.model.memory import gigabytes
from addressvlm.training import processes
from addressvlm.training.batches import Conversations
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.precision import device
from addressvlm.training.rowfiles import Row, RowFiles
from addressvlm.training.stages import Stage
from addressvlm.training.trainer import loader_processes
from addressvlm.work import say, track

_AT_ONCE = 16  # pictures that the tower reads together
_WORTH_VISITS = 2.0
_SHARE_OF_DISK = 0.5  # of what is free
_FILE_BYTES = 64 << 20  # several processes share the files


@dataclass(frozen=True)
class Features:
    """Kept features, by the file of their picture."""

    rows: RowFiles
    places: dict[Path, int]

    def of(self, file: Path) -> torch.Tensor:
        """Those of a picture, (picture tokens, width of the tower), in the precision of their making."""
        found = torch.from_numpy(self.rows.read(self.places[file]))
        return found.view(torch.bfloat16) if found.dtype == torch.int16 else found


def keep_features(
    loss: AnswerLoss, stage: Stage, conversations: Conversations, folder: Path
) -> Features | None:
    """Compute what is still missing, each process its share; None where it would not pay or cannot be done.

    It does not pay below two visits of a picture, or where the disk of `folder` is too small.
    """
    if not (has_known_tower(loss.base) and is_fixed(loss.base)):
        return None
    if visits(stage, conversations) < _WORTH_VISITS:
        return None
    files = conversations.files
    rows = _rows(loss, folder, len(files))
    if not processes.from_all(_has_room(rows))[0]:
        return None
    _compute(loss, rows, conversations, loader_processes(stage))
    processes.wait_for_others()
    return Features(rows, {file: place for place, file in enumerate(files)})


def is_fixed(model: Any) -> bool:
    """Whether the model's tower gives the same for a picture throughout: nothing trained, nothing dropped."""
    tower: nn.Module = model.base_model.vision_tower
    if any(weight.requires_grad for weight in tower.parameters()):
        return False
    if any(isinstance(module, nn.Dropout) and module.p > 0 for module in tower.modules()):
        return False
    return not getattr(model.config.vision_config, "attention_dropout", 0)


def visits(stage: Stage, conversations: Conversations) -> float:
    """How often a picture comes in the whole run, on average."""
    epochs = stage.num_train_epochs
    if stage.max_steps > 0:
        devices = processes.count()
        step = stage.per_device_train_batch_size * stage.accumulation(devices) * devices
        epochs = stage.max_steps * step / len(conversations)
    return epochs * conversations.pictures / len(conversations.files)


def _rows(loss: AnswerLoss, folder: Path, count: int) -> RowFiles:
    """The files, by a look at what the tower makes of a black picture; numpy has no bfloat16."""
    size = loss.preprocessing.size_px
    seen = loss.features_of(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=device()))
    dtype = "int16" if seen.dtype == torch.bfloat16 else "float32"
    return RowFiles(folder, count, tuple(seen.shape[1:]), dtype, _FILE_BYTES)


def _has_room(rows: RowFiles) -> bool:
    """Whether what is missing fits with as much left free; the first process decides and makes the folder."""
    if not processes.is_first():
        return True
    rows.folder.mkdir(exist_ok=True)
    missing = sum(len(rows.rows(number)) for number in range(rows.files) if not rows.is_whole(number))
    needed, free = missing * rows.row_bytes, shutil.disk_usage(rows.folder).free
    if needed <= _SHARE_OF_DISK * free:
        return True
    say(
        f"the frozen tower is computed in every epoch: to keep what it makes of the pictures takes "
        f"{gigabytes(needed)}, and {gigabytes(free)} are free"
    )
    return False


def _compute(loss: AnswerLoss, rows: RowFiles, conversations: Conversations, workers: int) -> None:
    """Write the missing files that fall to this process."""
    missing = [number for number in processes.share(range(rows.files)) if not rows.is_whole(number)]
    groups = [group for number in missing for group in _groups(rows.rows(number))]
    loaded = iter(
        DataLoader(
            _Pixels(conversations),
            batch_sampler=groups,
            num_workers=workers,
            collate_fn=_stacked,
            generator=torch.Generator(),  # nothing is drawn, but the loader would draw a seed of its own
        )
    )

    def made(number: int) -> Iterator[Row]:
        for _ in _groups(rows.rows(number)):
            found = loss.features_of(next(loaded).to(device()))
            yield from (found.view(torch.int16) if found.dtype == torch.bfloat16 else found).cpu().numpy()

    shown = track(missing, "pictures through the frozen tower") if processes.is_first() else missing
    for number in shown:
        rows.write(number, made(number))


def _groups(rows: range) -> list[list[int]]:
    return [list(rows[first : first + _AT_ONCE]) for first in range(0, len(rows), _AT_ONCE)]


class _Pixels(Dataset[Row]):
    """The pictures of conversations by their number."""

    def __init__(self, conversations: Conversations):
        self._conversations = conversations

    def __getitem__(self, number: int) -> Row:
        return self._conversations.pixels(self._conversations.files[number])


def _stacked(pictures: Sequence[Row]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures))

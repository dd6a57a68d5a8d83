"""A small convolutional classifier of streets and districts: what one would do without a language model.

It sees the same training photos as stage 2 and nothing else. Its settings are the plainest that work and were
never tuned on a standard city.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from addressvlm.dataset.answers import LETTERS, joint_answer
from addressvlm.dataset.questions import asks_for
from addressvlm.dataset.tables import read_questions, read_table
from addressvlm.evaluation.metrics import known_from_training, score
from addressvlm.work import keep_freed_memory, track

LEVELS = ("district", "street")
_CHANNELS = (32, 64, 96, 128)


@dataclass(frozen=True)
class ClassifierOptions:
    """How the classifier is trained."""

    size_px: int = 112
    epochs: int = 30
    batch: int = 64
    learning_rate: float = 2e-3
    shift_px: int = 6  # photos are moved by up to this much
    seed: int = 0


class AddressClassifier(nn.Module):
    """Four convolutions, the mean and the maximum over the picture, and a linear layer for each level."""

    def __init__(self, districts: int, streets: int):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *_CHANNELS), _CHANNELS, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleList(nn.Linear(2 * _CHANNELS[-1], count) for count in (districts, streets))

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """uint8 (n, 3, size, size) → logits of districts and of streets."""
        features = self.trunk(pixels.float() / 127.5 - 1)
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        return [head(pooled) for head in self.heads]


def classify(
    dataset: Path, *, split: str = "test", options: ClassifierOptions | None = None
) -> dict[str, Any]:
    """Train on the photos of a data set, answer the questions of a split, and score the answers."""
    options = options or ClassifierOptions()
    train = read_table(dataset, "train", ["photo", "images", "district", "street"]).to_pandas()
    questions = read_questions(dataset, split)
    names = {level: sorted(set(train[level])) for level in LEVELS}
    model = train_classifier(dataset, train, names, options)
    photos = questions.drop_duplicates("photo")
    beliefs = _beliefs(model, _pictures(dataset, photos["images"], options.size_px))
    known = {
        photo: dict(zip(LEVELS, rows, strict=True))
        for photo, *rows in zip(photos["photo"], *beliefs, strict=True)
    }
    answers = [_answer(row, known[row["photo"]], names) for row in questions.to_dict("records")]
    scored = score(questions.assign(answer=answers), known=known_from_training(train))
    return {**scored.to_json(), "options": asdict(options)}


def train_classifier(
    dataset: Path, train: pd.DataFrame, names: dict[str, list[str]], options: ClassifierOptions
) -> AddressClassifier:
    """The classifier after some epochs over the photos of `train`; the same weights for the same seed."""
    keep_freed_memory()
    pictures = _pictures(dataset, train["images"], options.size_px)
    truths = [torch.tensor([names[level].index(name) for name in train[level]]) for level in LEVELS]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = AddressClassifier(*(len(names[level]) for level in LEVELS))
    dice = np.random.default_rng(options.seed)
    steps = options.epochs * -(-len(pictures) // options.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, total_steps=steps)
    model.train()
    for _ in track(range(options.epochs), "train classifier", total=options.epochs):
        for rows in np.array_split(dice.permutation(len(pictures)), steps // options.epochs):
            logits = model(_moved(pictures[rows], options.shift_px, dice))
            losses = [
                functional.cross_entropy(logit, truth[rows])
                for logit, truth in zip(logits, truths, strict=True)
            ]
            optimizer.zero_grad()
            torch.autograd.backward(torch.stack(losses).sum())
            optimizer.step()
            schedule.step()
    return model.eval()


def _pictures(dataset: Path, images: Iterable[Sequence[str]], size_px: int) -> torch.Tensor:
    """The first picture of every photo, (n, 3, size, size) uint8."""
    found = []
    for files in images:
        with Image.open(dataset / files[0]) as image:
            found.append(
                np.asarray(image.convert("RGB").resize((size_px, size_px), Image.Resampling.BICUBIC))
            )
    return torch.from_numpy(np.stack(found).transpose(0, 3, 1, 2).copy())


def _moved(pixels: torch.Tensor, most_px: int, dice: np.random.Generator) -> torch.Tensor:
    """All pictures of a batch moved by the same few pixels; the edge is repeated."""
    down, right = (int(value) for value in dice.integers(0, 2 * most_px + 1, 2))
    size = pixels.shape[-1]
    wider = functional.pad(pixels.float(), (most_px,) * 4, mode="replicate")
    return wider[:, :, down : down + size, right : right + size]


@torch.inference_mode()
def _beliefs(model: AddressClassifier, pictures: torch.Tensor) -> list[npt.NDArray[np.float32]]:
    """Probabilities of districts and of streets, (n, names) each."""
    parts = [[logit.softmax(dim=1) for logit in model(chunk)] for chunk in torch.split(pictures, 256)]
    return [torch.cat(level).numpy() for level in zip(*parts, strict=True)]


def _answer(
    row: dict[Any, Any], belief: dict[str, npt.NDArray[np.float32]], names: dict[str, list[str]]
) -> str:
    """The most probable answer to a question of any kind."""
    best = {level: names[level][int(belief[level].argmax())] for level in LEVELS}
    level = row["level"]
    if row["kind"] == "joint":
        return joint_answer(best["district"], best["street"])
    if row["kind"] == "judgment":
        return "Yes" if asks_for(row["question"], best[level], names[level]) else "No"
    if row["kind"] == "multiple_choice":
        chances = [
            float(belief[level][names[level].index(option)]) if option in names[level] else -1.0
            for option in row["options"]
        ]
        return LETTERS[int(np.argmax(chances))]
    return best[level]

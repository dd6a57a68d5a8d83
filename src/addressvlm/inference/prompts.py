"""What is asked, as the model reads it: token ids, and the pixels of the pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from addressvlm.errors import UsageError
from addressvlm.imagery.opening import open_image
from addressvlm.model.backbone import Backbone
from addressvlm.model.conversation import Turn, encode_conversation

Picture = Path | Image.Image
Pixels = npt.NDArray[np.uint8]  # (pictures, 3, size, size), or of one picture

# What a token sees is a row of a square; with more questions it would grow beyond measure.
_QUESTIONS_OF_A_SIGHT = 64


class Asked(Protocol):
    """Anything with pictures and a question; `Request` is one."""

    @property
    def images(self) -> Sequence[Picture]:
        """The pictures, files or opened, that the question is about."""

    @property
    def question(self) -> str:
        """The words of the question."""


@dataclass(frozen=True)
class Request:
    """One question about one or more pictures (files, or opened RGB images)."""

    images: tuple[Picture, ...]
    question: str


@dataclass(frozen=True)
class Sight:
    """Questions about the same pictures: the token ids of each, and the pixels of the pictures."""

    prompts: tuple[tuple[int, ...], ...]
    pixels: Pixels

    @cached_property
    def stem(self) -> int:
        """How many tokens all questions begin with, the pictures' among them; each keeps one to itself."""
        most = min(map(len, self.prompts)) - 1
        alike = (len(set(tokens)) == 1 for tokens in zip(*self.prompts, strict=False))
        return next((place for place, same in enumerate(alike) if not same or place == most), most)

    @property
    def tokens(self) -> int:
        """How many tokens are to be read when the stem is read once."""
        return self.stem + sum(len(prompt) - self.stem for prompt in self.prompts)


def sights(requests: Sequence[Asked], backbone: Backbone, room: int) -> Iterator[Sight]:
    """The requests in their order, those that follow one another about the same pictures together.

    `room` is the number of tokens that an answer may have. A picture is opened once for all questions that
    follow one another about it. Raises `UsageError` for an empty or too long question and for none without a
    picture, `AddressVLMError` for a picture that cannot be opened.
    """
    # Only what these pictures share with the ones before is kept: questions of a photo come together.
    recent: dict[Path, Pixels] = {}
    for _, asked in groupby(requests, key=_identity):
        while together := list(islice(asked, _QUESTIONS_OF_A_SIGHT)):
            images = together[0].images
            recent = {path: recent[path] for path in images if isinstance(path, Path) and path in recent}
            yield sight(images, [request.question for request in together], backbone, room, recent)


def sight(
    images: Sequence[Picture],
    questions: Sequence[str],
    backbone: Backbone,
    room: int,
    opened: dict[Path, Pixels] | None = None,
) -> Sight:
    """Some questions about the same pictures; the errors are those of `sights`.

    `opened` holds the pixels of pictures, and what is opened here is added.
    """
    if not images:
        raise UsageError(f"there is no picture to the question {questions[0]!r}; give at least one")
    prompts = tuple(_prompt(question, len(images), backbone, room) for question in questions)
    opened = {} if opened is None else opened
    return Sight(prompts, np.stack([_pixels(image, backbone, opened) for image in images]))


def _prompt(question: str, images: int, backbone: Backbone, room: int) -> tuple[int, ...]:
    """The tokens of a question with its pictures, up to where the answer begins."""
    if not question.strip():
        raise UsageError("the question is empty; ask something like 'Which street is this?'")
    encoded = encode_conversation(
        backbone.tokenizer, [Turn(question, None)], image_tokens=backbone.image_tokens, images=images
    )
    most = backbone.model.config.text_config.max_position_embeddings - room
    if len(encoded.ids) > most:
        raise UsageError(
            f"the question has {len(encoded.ids)} tokens with its pictures; at most {most} can be read"
        )
    return tuple(encoded.ids)


def normalised(pixels: Pixels, backbone: Backbone) -> torch.Tensor:
    """Pixels (n, 3, size, size) as the tower takes them, on the device and in the precision of the model."""
    model = backbone.model
    images = backbone.preprocessing.normalise(torch.from_numpy(pixels).to(model.device))
    return images.to(model.dtype)


def _identity(request: Asked) -> tuple[Path | int, ...]:
    # Opened pictures are compared by identity: comparing their pixels would cost more than it saves.
    return tuple(image if isinstance(image, Path) else id(image) for image in request.images)


def _pixels(picture: Picture, backbone: Backbone, opened: dict[Path, Pixels]) -> Pixels:
    if not isinstance(picture, Path):
        return backbone.preprocessing.pixels(picture)
    if picture not in opened:
        opened[picture] = backbone.preprocessing.pixels(open_image(picture))
    return opened[picture]

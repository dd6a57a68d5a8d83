"""Small pictures for a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from addressvlm.errors import AddressVLMError
from addressvlm.imagery.opening import data_uri, open_image

_QUALITY = 80
T = TypeVar("T")


@dataclass(frozen=True)
class Thumbnail:
    """A picture as text for a page, with its size and what it shows in words."""

    source: str
    width: int
    height: int
    words: str


def thumbnail(image: Image.Image, longest_px: int, words: str) -> Thumbnail:
    """The picture made small, never larger."""
    small = image if max(image.size) <= longest_px else ImageOps.contain(image, (longest_px, longest_px))
    return Thumbnail(data_uri(small, quality=_QUALITY), small.width, small.height, words)


def thumbnail_of_file(path: Path, longest_px: int, words: str) -> Thumbnail | None:
    """The picture of a file made small; None if it cannot be opened."""
    try:
        return thumbnail(open_image(path), longest_px, words)
    except AddressVLMError:
        return None


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, evenly spread."""
    if not items:
        return []
    return [items[place] for place in np.unique(np.linspace(0, len(items) - 1, most).astype(int))]

"""Names set level on a picture, each letter in a cell of a grid, as on the screen of a terminal.

Small pictures have their street names so, and so have the pages on which a mini model learns to read. A
vision tower cuts a picture into patches and must know every letter wherever it may lie in one; set freely, a
letter of 10 px has 144 such places in a patch of 12 px, and a small tower reads nine of ten after half an
hour. In cells of 6 x 12 px it has two (docs/experiment-log.md, 2026-11-29).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from addressvlm.imagery.fonts import MONOSPACED

# A letter's number is its place in here, from 1 on; 0 is none.
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-'."
Box = tuple[int, int, int, int]  # left, top, right, bottom

_CELL = (0.6, 1.2)  # width and height of a cell, over the height of the font
_BASELINE = 0.9  # where letters stand in a cell, below its top, over the height of the font
_ATTEMPTS = 4
_FINE = 4  # letters are drawn so many times larger and shrunk: small ones would be bent to the grid of pixels


@dataclass(frozen=True)
class Written:
    """A name on a picture: its box (left, top, right, bottom), and the middle of each of its characters.

    All in pixels of the picture.
    """

    word: str
    box: Box
    middles: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Lettered:
    """A picture with names on it.

    `letters` (height, width, uint8) tells for every pixel in the cell of which letter of `ALPHABET` it lies.
    """

    image: Image.Image
    words: tuple[Written, ...]
    letters: npt.NDArray[np.uint8]


class Lettering:
    """A picture on which names are being set; a new one never touches an earlier one, or what is reserved.

    `cell_px` is the size of a cell, (width, height); the first lies in the upper left corner.
    """

    def __init__(self, image: Image.Image, *, font_px: float):
        self.cell_px = (max(1, round(_CELL[0] * font_px)), max(1, round(_CELL[1] * font_px)))
        self._font_px = font_px
        self._image = image.convert("RGB")
        self._letters = np.zeros((image.height, image.width), np.uint8)
        self._words: list[Written] = []
        self._taken: list[Box] = []

    def reserve(self, box: Box) -> None:
        """Keep this box free."""
        self._taken.append(box)

    def extent(self, word: str) -> tuple[int, int]:
        """Width and height of a word, one line for each of its parts, in pixels."""
        lines = word.split(" ")
        return max(map(len, lines)) * self.cell_px[0], len(lines) * self.cell_px[1]

    def write(self, word: str, column: int, row: int) -> Written | None:
        """Set a word with its first letter in this cell; None where there is no room for it."""
        width, height = self.extent(word)
        left, top = column * self.cell_px[0], row * self.cell_px[1]
        if left < 0 or top < 0 or left + width > self._image.width or top + height > self._image.height:
            return None
        halo = _halo_px(self._font_px)
        box = (
            max(0, left - halo),
            max(0, top - halo),
            min(self._image.width, left + width + halo),
            min(self._image.height, top + height + halo),
        )
        if any(overlap(box, other) for other in self._taken):
            return None
        middles: list[tuple[float, float]] = []
        for number, line in enumerate(word.split(" ")):
            if number:
                middles.append(middles[-1])  # the space at which the line was broken
            for place, letter in enumerate(line):
                x, y = left + place * self.cell_px[0], top + number * self.cell_px[1]
                self._letters[y : y + self.cell_px[1], x : x + self.cell_px[0]] = ALPHABET.find(letter) + 1
                middles.append((x + self.cell_px[0] / 2, y + self.cell_px[1] / 2))
        for plane, colour in zip(_planes(word, self._font_px, self.cell_px), ("#fff", "#111"), strict=True):
            self._image.paste(colour, (left - halo, top - halo), plane)
        written = Written(word, box, tuple(middles))
        self._words.append(written)
        self._taken.append(box)
        return written

    def done(self) -> Lettered:
        """The picture as it is now."""
        return Lettered(self._image, tuple(self._words), self._letters)


def write_words(
    image: Image.Image, words: Sequence[str], rng: np.random.Generator, *, font_px: float
) -> Lettered:
    """Write the words at random places of the picture; those that find no room are left out."""
    lettering = Lettering(image, font_px=font_px)
    for word in words:
        width, height = lettering.extent(word)
        columns = (image.width - width) // lettering.cell_px[0] + 1
        rows = (image.height - height) // lettering.cell_px[1] + 1
        for _ in range(_ATTEMPTS if min(columns, rows) > 0 else 0):
            if lettering.write(word, int(rng.integers(columns)), int(rng.integers(rows))):
                break
    return lettering.done()


def _halo_px(font_px: float) -> int:
    """How far halos reach around a word, in whole pixels."""
    return math.ceil(max(1.0, font_px / 8))


@lru_cache(maxsize=4096)
def _planes(word: str, font_px: float, cell_px: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """Halo and ink of a word, larger than it by the halo on every side."""
    font = ImageFont.truetype(str(MONOSPACED), _FINE * font_px)
    halo = _halo_px(font_px)
    lines = word.split(" ")
    size = (max(map(len, lines)) * cell_px[0] + 2 * halo, len(lines) * cell_px[1] + 2 * halo)
    around, ink = (Image.new("L", (_FINE * size[0], _FINE * size[1])) for _ in range(2))
    stroke_px = round(_FINE * max(1.0, font_px / 8))
    for number, line in enumerate(lines):
        for place, letter in enumerate(line):
            x = halo + (place + 0.5) * cell_px[0]
            y = halo + number * cell_px[1] + round(_BASELINE * font_px)
            at = (_FINE * x, _FINE * y)
            ImageDraw.Draw(around).text(at, letter, 255, font, "ms", stroke_width=stroke_px, stroke_fill=255)
            ImageDraw.Draw(ink).text(at, letter, 255, font, "ms")
    return around.resize(size, Image.Resampling.BOX), ink.resize(size, Image.Resampling.BOX)


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes share more than an edge."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

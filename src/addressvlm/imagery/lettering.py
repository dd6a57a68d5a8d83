"""Words written anywhere on a picture, with the place of every letter: copy-book pages for learning to read.

Street names on maps are set by Mapnik (`labelling`), which tells the box of a name but not always of its
letters. Here words stand level or aslant, on one line or two, in the same face and with the same halo.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from addressvlm.imagery.fonts import FONT

# A letter's number is its place in here, from 1 on; 0 is none.
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-'."
Box = tuple[int, int, int, int]  # left, top, right, bottom

_ATTEMPTS = 4
_FINE = 4  # words are drawn so many times larger: letters of 8 px would be bent to the grid of pixels
_LEVEL = 0.9  # share of the words that stand level, as on small maps


@dataclass(frozen=True)
class Written:
    """A word on a picture: its box (left, top, right, bottom), and the middle of each of its characters.

    All in pixels of the picture.
    """

    word: str
    box: Box
    middles: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Lettered:
    """A picture with words on it.

    `letters` (height, width, uint8) tells for every pixel in the cell of which letter of `ALPHABET` it lies.
    """

    image: Image.Image
    words: tuple[Written, ...]
    letters: npt.NDArray[np.uint8]


def write_words(
    image: Image.Image, words: Sequence[str], rng: np.random.Generator, *, font_px: float
) -> Lettered:
    """Write the words at random places of the picture; those that find no room are left out."""
    page, cells = image.convert("RGB"), Image.new("L", image.size)
    found: list[Written] = []
    for word in words:
        ink, halo, letters, middles = _set(word, font_px, rng)
        free = (image.width - ink.width, image.height - ink.height)
        for _ in range(_ATTEMPTS if min(free) >= 0 else 0):
            left, top = int(rng.integers(free[0] + 1)), int(rng.integers(free[1] + 1))
            box = (left, top, left + ink.width, top + ink.height)
            if not any(overlap(box, other.box) for other in found):
                page.paste("#fff", box, halo)
                page.paste("#111", box, ink)
                cells.paste(letters, (left, top))
                moved = (middles + (left, top)).round(1).tolist()
                found.append(Written(word, box, tuple((x, y) for x, y in moved)))
                break
    return Lettered(page, tuple(found), np.array(cells, np.uint8))


def _set(
    word: str, font_px: float, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image, Image.Image, npt.NDArray[np.float64]]:
    """The ink of a word, its halo, the cells of its letters, and the middles of its characters (n, 2)."""
    font = ImageFont.truetype(str(FONT), _FINE * font_px)
    level = rng.random() < _LEVEL
    lines = word.split(" ") if level and rng.random() < 0.9 else [word]
    align = float(rng.choice([0.0, 0.5, 1.0]))
    halo_px = round(_FINE * max(1.0, font_px / 8))
    widths = [font.getlength(line) for line in lines]
    height = round(_FINE * 1.2 * font_px)
    # Whole pixels in the end; words begin anywhere in one.
    lengths = (max(widths) + 2 * halo_px, height * len(lines) + 2 * halo_px)
    across, down = (_FINE * (math.ceil(length / _FINE) + 1) for length in lengths)
    left, top = (halo_px + int(value) for value in rng.integers(_FINE, size=2))
    ink, halo, cells = (Image.new("L", (across, down)) for _ in range(3))
    pens = [ImageDraw.Draw(plane) for plane in (ink, halo, cells)]
    middles: list[tuple[float, float]] = []
    for number, (line, width) in enumerate(zip(lines, widths, strict=True)):
        x, y = left + align * (max(widths) - width), top + number * height
        pens[0].text((x, y), line, font=font, fill=255)
        pens[1].text((x, y), line, font=font, fill=255, stroke_width=halo_px, stroke_fill=255)
        ends = [font.getlength(line[:index]) for index in range(len(line) + 1)]
        for letter, start, end in zip(line, ends, ends[1:], strict=False):
            pens[2].rectangle((x + start, y, x + end - 1, y + height), fill=ALPHABET.find(letter) + 1)
            middles.append((x + (start + end) / 2, y + height / 2))
        if number < len(lines) - 1:
            middles.append(middles[-1])  # the space at which the line was broken
    angle_deg = 0.0 if level else float(rng.uniform(-90, 90))
    letters = _turned(cells, angle_deg, Image.Resampling.NEAREST, Image.Resampling.NEAREST)
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    turn = np.array([[cos, -sin], [sin, cos]])  # counter-clockwise to the eye, with y downwards
    points = (np.array(middles) - (across / 2, down / 2)) @ turn / _FINE + (
        letters.width / 2,
        letters.height / 2,
    )
    return (
        _turned(ink, angle_deg, Image.Resampling.BILINEAR, Image.Resampling.BOX),
        _turned(halo, angle_deg, Image.Resampling.BILINEAR, Image.Resampling.BOX),
        letters,
        points,
    )


def _turned(
    plane: Image.Image, angle_deg: float, turning: Image.Resampling, shrinking: Image.Resampling
) -> Image.Image:
    """The plane turned, in pixels of the page."""
    if angle_deg:
        plane = plane.rotate(angle_deg, turning, expand=True)
    return plane.resize((math.ceil(plane.width / _FINE), math.ceil(plane.height / _FINE)), shrinking)


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes share more than an edge."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

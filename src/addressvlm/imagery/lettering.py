"""Words written anywhere on a picture, with the place of every letter: copy-book pages for learning to read.

Street names on maps are set by Mapnik (`labelling`), which tells the box of a name but not always of its
letters. Here words stand level or aslant, on one line or two, in the same face and with the same halo.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from addressvlm.imagery.fonts import FONT

# A letter's number is its place in here, from 1 on; 0 is none.
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-'."
_ATTEMPTS = 4
_LEVEL = 0.78  # share of the words that stand level, as on our maps


@dataclass(frozen=True)
class Lettered:
    """A picture with words on it.

    `letters` (height, width, uint8) tells for every pixel in the cell of which letter of `ALPHABET` it lies;
    `boxes` (left, top, right, bottom in pixels) belong to `words`.
    """

    image: Image.Image
    words: tuple[str, ...]
    boxes: tuple[tuple[int, int, int, int], ...]
    letters: npt.NDArray[np.uint8]


def write_words(
    image: Image.Image, words: Sequence[str], rng: np.random.Generator, *, font_px: float
) -> Lettered:
    """Write the words at random places of the picture; those that find no room are left out."""
    page, cells = image.convert("RGB"), Image.new("L", image.size)
    found: list[tuple[str, tuple[int, int, int, int]]] = []
    for word in words:
        patch, patch_cells = _set(word, font_px, rng)
        free = (image.width - patch.width, image.height - patch.height)
        for _ in range(_ATTEMPTS if min(free) >= 0 else 0):
            left, top = int(rng.integers(free[0] + 1)), int(rng.integers(free[1] + 1))
            box = (left, top, left + patch.width, top + patch.height)
            if not any(_overlap(box, other) for _, other in found):
                page.paste(patch, (left, top), patch)
                cells.paste(patch_cells, (left, top))
                found.append((word, box))
                break
    return Lettered(
        page,
        tuple(word for word, _ in found),
        tuple(box for _, box in found),
        np.array(cells, np.uint8),
    )


def _set(word: str, font_px: float, rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """A word on a transparent patch, and the cells of its letters."""
    font = ImageFont.truetype(str(FONT), font_px)
    level = rng.random() < _LEVEL
    lines = word.split(" ") if level and rng.random() < 0.9 else [word]
    align = float(rng.choice([0.0, 0.5, 1.0]))
    halo = max(1, round(font_px / 8))
    widths = [font.getlength(line) for line in lines]
    height = round(1.2 * font_px)
    size = (int(np.ceil(max(widths))) + 2 * halo, height * len(lines) + 2 * halo)
    patch, cells = Image.new("RGBA", size, (255, 255, 255, 0)), Image.new("L", size)
    pen, marker = ImageDraw.Draw(patch), ImageDraw.Draw(cells)
    for number, (line, width) in enumerate(zip(lines, widths, strict=True)):
        x, y = halo + align * (max(widths) - width), halo + number * height
        pen.text((x, y), line, font=font, fill="#111", stroke_width=halo, stroke_fill="#fff")
        for index, letter in enumerate(line):
            cell = (
                x + font.getlength(line[:index]),
                y,
                x + font.getlength(line[: index + 1]) - 1,
                y + height,
            )
            marker.rectangle(cell, fill=ALPHABET.find(letter) + 1)
    if level:
        return patch, cells
    angle_deg = float(rng.uniform(-90, 90))
    turned = patch.rotate(angle_deg, Image.Resampling.BICUBIC, expand=True)
    return turned, cells.rotate(angle_deg, Image.Resampling.NEAREST, expand=True)


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

"""Lettering: texts drawn once into an atlas of grey values, with smaller copies for the distance."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

LINE_PX = 32
CAPITAL = 0.62  # height of a capital letter as a share of its line
_FONT_PX = 27
_LEVELS = 5
_SQUEEZE = 0.74  # DejaVu Bold is broad; sign writers like narrower letters


@dataclass(frozen=True)
class Sign:
    """A board with a text: its lower left corner, its right and upward edge vectors in metres."""

    text: str
    kind: str  # "shop" or "street"
    corner: tuple[float, float, float]
    right: tuple[float, float, float]
    up: tuple[float, float, float]
    lines: tuple[str, ...]  # the text as it is written


@dataclass(frozen=True)
class Atlas:
    """Grey values of all texts in all sizes, flat; `table` (texts, 3 * levels) has start, width, height."""

    pixels: npt.NDArray[np.uint8]
    table: npt.NDArray[np.int64]


def street_lines(name: str) -> tuple[str, ...]:
    """A street's name in two lines, as on its plate: "Ashworth" over "Avenue", "Kurahara" over "-dori"."""
    cut = max(name.rfind(" "), name.rfind("-"))
    return (name[:cut].strip(), name[cut:].strip()) if cut > 0 else (name,)


def board_aspect(lines: Sequence[str]) -> float:
    """Width over height of the board for a text."""
    return (max(map(_width_px, lines)) + 14) / (LINE_PX * len(lines))


def draw_atlas(texts: Sequence[Sequence[str]]) -> Atlas:
    """Draw each text, given as its lines, once."""
    chunks: list[npt.NDArray[np.uint8]] = []
    table = np.zeros((max(1, len(texts)), 3 * _LEVELS), np.int64)
    start = 0
    for row, lines in zip(table, texts, strict=False):
        picture = _drawn(lines)
        for level in range(_LEVELS):
            picture = _halved(picture) if level else picture
            row[3 * level : 3 * level + 3] = start, picture.shape[1], picture.shape[0]
            chunks.append(picture.reshape(-1))
            start += picture.size
    return Atlas(np.concatenate([*chunks, np.zeros(1, np.uint8)]), table)


@cache
def load_font(size_px: int, file: str = "DejaVuSans-Bold.ttf") -> ImageFont.FreeTypeFont:
    """A font that comes with matplotlib, so that lettering is the same everywhere."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file
    return ImageFont.truetype(path, size_px, layout_engine=ImageFont.Layout.BASIC)


def _width_px(line: str) -> float:
    return float(load_font(_FONT_PX).getlength(line)) * _SQUEEZE


def _drawn(lines: Sequence[str]) -> npt.NDArray[np.uint8]:
    width = -(-int(max(map(_width_px, lines)) + 14) // 16) * 16
    board = Image.new("L", (width, LINE_PX * len(lines)))
    for number, line in enumerate(lines):
        full = Image.new("L", (int(load_font(_FONT_PX).getlength(line)) + 2, LINE_PX))
        ImageDraw.Draw(full).text((1, LINE_PX // 2), line, fill=255, font=load_font(_FONT_PX), anchor="lm")
        narrow = full.resize((max(1, round(full.width * _SQUEEZE)), LINE_PX), Image.Resampling.BOX)
        board.paste(narrow, ((width - narrow.width) // 2, number * LINE_PX))
    return np.asarray(board)


def _halved(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = picture.shape
    quads = picture.reshape(height // 2, 2, width // 2, 2).astype(np.uint16)
    return np.asarray((quads.sum(axis=(1, 3)) + 2) // 4, np.uint8)

"""Street names written on a satellite picture, along their streets (Sec. 3.2) or level in cells."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from matplotlib.ft2font import FT2Font
from PIL import Image
from shapely.geometry.base import BaseGeometry

from addressvlm.errors import UsageError
from addressvlm.imagery.canvas import Box, Canvas, in_pixels, mapnik
from addressvlm.imagery.fonts import FONT, MONOSPACED
from addressvlm.imagery.frames import Frame
from addressvlm.imagery.lettering import Lettering, Written

_STYLES = """
<Style name="along"><Rule>
  <TextSymbolizer {look} margin="{margin}" minimum-padding="{halo}" placement="line"
    max-char-angle-delta="20" label-position-tolerance="{size_px}">[name]</TextSymbolizer>
</Rule></Style>
<Style name="beside"><Rule>
  <TextSymbolizer {look} margin="{level_margin}" minimum-padding="{level_margin}" placement="point"
    wrap-width="1" placement-type="simple" placements="X,E,W" dx="2">[name]</TextSymbolizer>
</Rule></Style>
"""
_LOOK = (
    'face-name="{face}" size="{size}" fill="#111" halo-fill="#fff" halo-radius="{halo}" avoid-edges="true"'
)
_KINDS = ("along", "beside")
# How far letters hang below the box that Mapnik gives a level name, over the font's size.
_DESCENT = 0.25


@dataclass(frozen=True)
class Label:
    """A street name as it stands on the picture, complete and with nothing over it.

    `box` (left, top, right, bottom in pixels) holds all of it; `letters` are the boxes of its letters, or one
    box for a level name. `angle_deg` in (-90, 90] is how steeply it rises to the right. `middles` are those
    of the characters of a name in cells.
    """

    name: str
    box: tuple[int, int, int, int]
    angle_deg: float
    letters: tuple[Box, ...]
    middles: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class LabelledMap:
    """A picture with street names, and those names, the street nearest to the centre first."""

    image: Image.Image
    labels: tuple[Label, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The street names that can be read on the picture."""
        return tuple(label.name for label in self.labels)


def draw_street_names(
    image: Image.Image,
    frame: Frame,
    streets: gpd.GeoDataFrame,
    *,
    reserved: tuple[int, int, int, int] | None = None,
    font_px: float,
    level: bool = False,
    font: Path | None = None,
) -> LabelledMap:
    """Write the names of the streets (`name`, `geometry` in WGS84) in the frame on its picture, each once.

    A name follows its street, curves included; where the street is too short or too crooked for it, it stands
    level and wrapped beside the street. With `level` all names stand so, in cells (`lettering`), in another
    face. Names keep clear of each other, of the picture's edges and of the box `reserved` (left, top, right,
    bottom in pixels) for the grafted photo. Where not all of them fit, streets near the centre go first. A
    name is left out rather than cut, and so is one whose letters `font` lacks.
    """
    if image.size != (frame.size_px, frame.size_px):
        raise UsageError(f"the picture has {image.width} x {image.height} px, its frame {frame.size_px}")
    if not font_px > 0:
        raise UsageError(f"font_px is {font_px}; letters must be above 0 px high")
    assert streets["name"].is_unique, "one row a street, as `street_map` makes them"
    visible = dict(_visible_parts(streets, frame, reserved, min_px=2 * font_px))
    lacking = unwritable(visible, level=level, font=font)
    parts = {name: found for name, found in visible.items() if name not in lacking}
    if level:
        return _set_level(image, parts, reserved, font_px)
    canvas = Canvas(frame.size_px, _styles(frame.size_px, font_px, _register(font or FONT)))
    if reserved:
        canvas.reserve(reserved)
    labels: dict[str, Label] = {}
    for style, name in _attempts(list(parts)):
        if name in labels:
            continue
        for shape in _places(style, parts[name]):
            letters = _write(canvas, style, name, shape, font_px)
            if letters:
                labels[name] = _label(name, style, letters)
                break
    return LabelledMap(canvas.over(image), tuple(labels[name] for name in parts if name in labels))


def unwritable(names: Iterable[str], *, level: bool = False, font: Path | None = None) -> list[str]:
    """The names that `draw_street_names` leaves out because its font, or `font`, lacks some of their letters.

    Raises `UsageError` where `font` is no font file.
    """
    known = _characters(font or (MONOSPACED if level else FONT))
    return [name for name in names if not known.issuperset(map(ord, name))]


def _set_level(
    image: Image.Image,
    parts: dict[str, list[BaseGeometry]],
    reserved: tuple[int, int, int, int] | None,
    font_px: float,
) -> LabelledMap:
    """The names in cells, each over its street or just beside it."""
    lettering = Lettering(image, font_px=font_px)
    if reserved:
        lettering.reserve(reserved)
    labels = []
    for name, found in parts.items():
        spots = shapely.get_coordinates(list(_places("beside", found)))
        tries = (_set_at(lettering, name, x, y) for x, y in spots)
        written = next((one for one in tries if one), None)
        if written:
            labels.append(Label(name, written.box, 0.0, (written.box,), written.middles))
    return LabelledMap(lettering.done().image, tuple(labels))


def _set_at(lettering: Lettering, name: str, x: float, y: float) -> Written | None:
    """A name in the cells over a spot, or else in those to its right or to its left."""
    (across, down), (width, height) = lettering.cell_px, lettering.extent(name)
    row = round((y - height / 2) / down)
    columns = (
        round((x - width / 2) / across),
        math.ceil(x / across),
        math.floor((x - width) / across),
    )
    tries = (lettering.write(name, column, row) for column in columns)
    return next((one for one in tries if one), None)


def _write(canvas: Canvas, style: str, name: str, shape: BaseGeometry, font_px: float) -> list[Box]:
    """Write a name; the boxes of its letters, of the whole if it is level, none if there is no room."""
    letters = canvas.draw(style, [(shape, {"name": name})])
    if letters and style == "beside":
        left, top, right, bottom = letters[0]
        letters = [(left, top, right, bottom + _DESCENT * font_px)]
        canvas.reserve(letters[0])
    return letters


def _attempts(names: list[str]) -> Iterator[tuple[str, str]]:
    """(style, name) in the order of trying: the photo's own street is written even where it costs others."""
    yield from ((style, name) for name in names[:1] for style in _KINDS)
    yield from ((style, name) for style in _KINDS for name in names[1:])


def _places(style: str, parts: list[BaseGeometry]) -> Iterator[BaseGeometry]:
    """Where on a street's visible parts its name may go in this style, the best first."""
    for part in parts:
        if style == "along":
            yield shapely.simplify(part, 1)  # letters shall not dance on every node
        else:
            yield from (part.interpolate(share, normalized=True) for share in (0.5, 0.3, 0.7, 0.1, 0.9))


def _visible_parts(
    streets: gpd.GeoDataFrame, frame: Frame, reserved: tuple[int, int, int, int] | None, min_px: float
) -> list[tuple[str, list[BaseGeometry]]]:
    """Streets from the centre outwards, each with its visible parts of `min_px` or more, longest first."""
    size = frame.size_px
    centre = shapely.Point(size / 2, size / 2)
    free: BaseGeometry = shapely.box(0, 0, size, size)
    if reserved:
        free = free.difference(shapely.box(*reserved))
    outwards = sorted(in_pixels(streets, frame), key=lambda street: (street[1].distance(centre), street[0]))
    visible = []
    for name, shape in outwards:
        # Merged twice: what short side arms had divided is whole without them.
        parts = _parts(_parts(shapely.intersection(shape, free), min_px), min_px)
        if parts:
            visible.append((name, sorted(parts, key=lambda part: -part.length)))
    return visible


def _parts(lines: BaseGeometry | list[BaseGeometry], min_px: float) -> list[BaseGeometry]:
    merged = shapely.line_merge(shapely.union_all(lines))
    return [part for part in shapely.get_parts(merged) if part.length >= min_px]


def _label(name: str, style: str, letters: list[Box]) -> Label:
    boxes = np.array(letters)
    left, top = np.floor(boxes[:, :2].min(axis=0)).astype(int).tolist()
    right, bottom = np.ceil(boxes[:, 2:].max(axis=0)).astype(int).tolist()
    angle_deg = _direction_deg(boxes) if style == "along" else 0.0
    return Label(name, (left, top, right, bottom), angle_deg, tuple(letters))


def _direction_deg(boxes: npt.NDArray[np.float64]) -> float:
    """The direction in which the middles of the letters (n, 4) spread most, in (-90, 90]."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, -(boxes[:, 1] + boxes[:, 3]) / 2
    (x_x, x_y), (_, y_y) = np.cov(x, y, ddof=0)
    return math.degrees(math.atan2(2 * x_y, x_x - y_y)) / 2


def _styles(size_px: int, font_px: float, face: str) -> str:
    halo = max(1.0, font_px / 8)
    look = _LOOK.format(face=escape(face), size=font_px, halo=halo)
    level_margin = halo + max(1.0, _DESCENT * font_px)
    return _STYLES.format(look=look, halo=halo, margin=halo + 1, level_margin=level_margin, size_px=size_px)


@lru_cache
def _register(font: Path) -> str:
    """Tell Mapnik of a font file; the name it goes by."""
    if not mapnik.FontEngine.register_font(str(font)):
        raise UsageError(f"Mapnik cannot read the font {font}")
    face = FT2Font(str(font))
    return f"{face.family_name} {face.style_name}"


@lru_cache
def _characters(font: Path) -> frozenset[int]:
    try:
        return frozenset(FT2Font(str(font)).get_charmap())
    except (RuntimeError, OSError):
        raise UsageError(f"{font} is not a font file") from None

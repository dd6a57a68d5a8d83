"""The map of the report: streets as SVG shapes, and where their photos were believed to be."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely

from addressvlm.evaluation.breakdown import Group
from addressvlm.geo.places import Bounds, Projection

LONGER_SIDE = 1000
BELIEFS_SHOWN = 8
# Ends of the colour bands in percent; few, so that they can be told apart.
BANDS = (0, 10, 25, 40, 60, 80, 100)

_SIMPLER_THAN = 0.4  # SVG units: less than what a screen shows
_MARGIN = 0.04


@dataclass(frozen=True)
class Shape:
    """A named street or district: SVG path data, and where its label goes."""

    name: str
    path: str
    label_x: float
    label_y: float


@dataclass(frozen=True)
class Drawing:
    """A north-up map of `width` x `height` units, the longer `LONGER_SIDE`; a unit is `unit_m` metres."""

    width: int
    height: int
    unit_m: float
    streets: tuple[Shape, ...]
    districts: tuple[Shape, ...]


def belief_map(
    gazetteer: gpd.GeoDataFrame, asked: Sequence[Group], believed: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """What the template draws: shapes with colour and words, and the beliefs about each street.

    A belief is (number of the believed street or -1, its name, share, photos).
    """
    groups = {group.name: group for group in asked}
    drawing = draw(gazetteer, shown=set(groups))
    places = {shape.name: place for place, shape in enumerate(drawing.streets)}
    told = {name: _in_words(groups.get(name)) for name in places}
    bar_m = _round_length(drawing.unit_m * drawing.width / 5)
    return {
        "drawing": drawing,
        "places": places,
        "told": told,
        "colours": {name: _colour(groups.get(name)) for name in places},
        "legend": [(f"q{band}", f"{BANDS[band]} to {BANDS[band + 1]} %") for band in range(len(BANDS) - 1)],
        "bar_units": round(bar_m / drawing.unit_m),
        "bar_words": f"{bar_m:g} m" if bar_m < 1000 else f"{bar_m / 1000:g} km",
        "beliefs": [
            {"name": name, "told": told[name], "beliefs": _shares(believed.get(name, {}), places)}
            for name in places
        ],
    }


def draw(gazetteer: gpd.GeoDataFrame, shown: set[str]) -> Drawing:
    """Draw all of a gazetteer, framed around the streets in `shown` (all, if none of them is drawn)."""
    present = gazetteer[~(gazetteer.geometry.is_empty | gazetteer.geometry.isna())]
    streets, districts = (present[present["level"] == level] for level in ("street", "district"))
    framed = streets[streets["name"].isin(shown)]
    frame = Bounds(*(float(value) for value in (framed if len(framed) else present).total_bounds))
    projection = Projection(frame.centre)
    x, y = projection.to_xy([frame.south, frame.north] * 2, [frame.west] * 2 + [frame.east] * 2)
    wide_m, high_m = float(x.max() - x.min()), float(y.max() - y.min())
    pad_m = _MARGIN * max(wide_m, high_m, 1.0)
    left, top = x.min() - pad_m, y.max() + pad_m
    unit_m = (max(wide_m, high_m) + 2 * pad_m) / LONGER_SIDE

    def to_svg(lonlat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        east_m, north_m = projection.to_xy(lonlat[:, 1], lonlat[:, 0])
        return np.column_stack([(east_m - left) / unit_m, (top - north_m) / unit_m])

    width, height = (round((side_m + 2 * pad_m) / unit_m) for side_m in (wide_m, high_m))
    return Drawing(width, height, unit_m, _shapes(streets, to_svg), _shapes(districts, to_svg))


def _shapes(
    frame: gpd.GeoDataFrame, to_svg: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
) -> tuple[Shape, ...]:
    shapes = []
    for name, geometry in zip(frame["name"], frame.geometry, strict=True):
        drawn = shapely.simplify(shapely.transform(geometry, to_svg), _SIMPLER_THAN)
        label = shapely.point_on_surface(drawn)
        shapes.append(Shape(name, _path(drawn), round(label.x, 1), round(label.y, 1)))
    return tuple(shapes)


def _path(geometry: shapely.Geometry) -> str:
    lines = []
    for part in shapely.get_parts(geometry):
        rings = [part.exterior, *part.interiors] if part.geom_type == "Polygon" else [part]
        lines += [
            "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in shapely.get_coordinates(ring)) for ring in rings
        ]
    return "".join(lines)


def _shares(counts: Mapping[str, int], places: Mapping[str, int]) -> list[tuple[int, str, float, int]]:
    ranked = list(counts.items())
    shown = [(places.get(belief, -1), belief, photos) for belief, photos in ranked[:BELIEFS_SHOWN]]
    if others := sum(photos for _, photos in ranked[BELIEFS_SHOWN:]):
        shown.append((-1, "others", others))
    total = sum(counts.values())
    return [(place, belief, round(photos / total, 3), photos) for place, belief, photos in shown]


def _colour(group: Group | None) -> str:
    if group is None or "s_G" not in group.right:
        return "unasked"
    return f"q{min(int(np.searchsorted(BANDS, group.right['s_G'], side='right')), len(BANDS) - 1) - 1}"


def _in_words(group: Group | None) -> str:
    if group is None or "s_G" not in group.right:
        return "no photo asked"
    return f"{group.right['s_G']:.0f} % of {group.photos} photos named rightly"


def _round_length(length_m: float) -> float:
    """The largest of 1, 2, 5, 10, … metres that is not above `length_m`."""
    power = 10.0 ** math.floor(math.log10(length_m))
    return power * max(step for step in (1, 2, 5) if step * power <= length_m * (1 + 1e-9))

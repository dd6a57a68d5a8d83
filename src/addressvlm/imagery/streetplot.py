"""A share for every street as a map: a distribution over streets (Fig. 5), or accuracy by street."""

import math
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import geopandas as gpd
import matplotlib
import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from shapely.geometry.base import BaseGeometry

from addressvlm.errors import UsageError
from addressvlm.folders import write_atomically
from addressvlm.geo.places import Bounds, LatLon, Projection

Shapes = dict[str, BaseGeometry]  # by name, in metres

# Equal steps look equal; the palest part is left out, as it would drown in the grey of the other streets.
COLOURS = ListedColormap(matplotlib.colormaps["magma_r"](np.linspace(0.2, 0.88, 256)), "streets")
GREY = "#bfbfbf"

_WIDTH_IN, _DPI = 8.0, 150
_TITLE_IN, _FOOT_IN, _MARGIN_IN = 0.5, 0.75, 0.12
_NAMES = 12
_LEAST_NAMED = 0.005  # nobody wants to read of 0 %
_LETTERS: dict[str, Any] = {
    "fontsize": 9,
    "fontweight": "bold",
    "color": "#222222",
    "path_effects": [withStroke(linewidth=3, foreground="white")],
    "zorder": 8,
    "parse_math": False,
}


def plot_streets(
    streets: gpd.GeoDataFrame,
    values: Mapping[str, float],
    path: Path,
    *,
    title: str,
    point: LatLon | None = None,
    point_name: str = "true place",
    districts: gpd.GeoDataFrame | None = None,
    attribution: str = "",
) -> None:
    """Write a PNG of all streets, those with a value coloured and broadened by it, the highest ones named.

    `streets` and `districts` have `name` and `geometry` in WGS84; of a gazetteer (a column `level`) the rows
    of level "street" are the streets and, unless given, the others the districts. `values` are shares of one;
    `point` is marked and explained as `point_name`. Equal input gives equal bytes.

    Raises `UsageError` for a value of an unknown street.
    """
    if districts is None and "level" in streets:
        districts = streets[streets["level"] == "district"]
    streets = _only_streets(streets, values)
    plane = _plane(streets)
    shapes = _in_metres(streets, plane)
    figure, axes = _empty_map(list(shapes.values()), title)
    if districts is not None:
        _draw_borders(axes, list(_in_metres(districts, plane).values()))
    _draw_streets(axes, shapes, values)
    if point is not None:
        x, y = plane.to_xy(point.lat, point.lon)
        axes.plot(x, y, "*", ms=18, mfc="#18a05e", mec="white", mew=1.5, zorder=9, label=point_name)
        axes.legend(loc="upper right", framealpha=0.8, edgecolor="none", fontsize=9)
    _write_names(figure, axes, shapes, values)
    _draw_scale_bar(axes)
    _draw_foot(figure, values, attribution)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def streets_svg(streets: gpd.GeoDataFrame, values: Mapping[str, float], width_px: int) -> str:
    """The same map as an inline SVG element for a page; pointing at a street shows its name and share."""
    streets = _only_streets(streets, values)
    shapes = _in_metres(streets, _plane(streets))
    left, bottom, right, top = _limits(list(shapes.values()))
    scale = width_px / (right - left)
    height_px = math.ceil((top - bottom) * scale)
    colours = street_colours(values)
    paths = []
    for name in _lowest_first(shapes, values):
        pixels = shapely.transform(shapes[name], lambda xy: (xy - (left, top)) * (scale, -scale))
        lines = shapely.get_parts(shapely.simplify(pixels, 0.3))
        route = "".join("M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in line.coords) for line in lines)
        share = f": {100 * values[name]:.1f} %" if name in values else ""
        stroke = f'stroke="{colours.get(name, GREY)}" stroke-width="{_line_width(name, shapes, values):.1f}"'
        paths.append(f'<path d="{route}" {stroke}><title>{escape(name)}{share}</title></path>')
    size = f'viewBox="0 0 {width_px} {height_px}" width="{width_px}" height="{height_px}"'
    look = 'fill="none" stroke-linecap="round" stroke-linejoin="round"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {look}>{"".join(paths)}</svg>'


def street_colours(values: Mapping[str, float]) -> dict[str, str]:
    """The colour of every street with a value, as #rrggbb: the darker, the nearer to the highest value."""
    scale = _scale(values)
    return {name: to_hex(COLOURS(scale(value))) for name, value in values.items()}


def _only_streets(streets: gpd.GeoDataFrame, values: Mapping[str, float]) -> gpd.GeoDataFrame:
    if "level" in streets:
        streets = streets[streets["level"] == "street"]
    unknown = sorted(values.keys() - set(streets["name"]))
    if unknown:
        raise UsageError(f"there is a value for {unknown[0]!r}, but no such street on the map")
    return streets


def _plane(streets: gpd.GeoDataFrame) -> Projection:
    return Projection(Bounds(*streets.total_bounds.tolist()).centre)


def _in_metres(places: gpd.GeoDataFrame, plane: Projection) -> Shapes:
    return dict(zip(places["name"], places.geometry.to_crs(plane.crs), strict=True))


def _limits(shapes: list[BaseGeometry]) -> tuple[float, float, float, float]:
    """Left, bottom, right, top of the map in metres: all shapes and some room, no narrow strip."""
    left, bottom, right, top = shapely.total_bounds(shapes)
    longer = max(right - left, top - bottom, 100)
    half_x, half_y = (max(side, 0.8 * longer) / 2 + 0.04 * longer for side in (right - left, top - bottom))
    x, y = (left + right) / 2, (bottom + top) / 2
    return float(x - half_x), float(y - half_y), float(x + half_x), float(y + half_y)


def _scale(values: Mapping[str, float]) -> Normalize:
    return Normalize(0, max(values.values(), default=0) or 1)


def _lowest_first(shapes: Shapes, values: Mapping[str, float]) -> list[str]:
    """The streets in the order of drawing, so that high values lie on top."""
    return sorted(shapes, key=lambda name: (values.get(name, -1.0), name))


def _line_width(name: str, shapes: Shapes, values: Mapping[str, float]) -> float:
    if name not in values:
        return 1.0 if len(shapes) < 300 else 0.6  # many streets shall stay pale
    return 1.4 + 4.6 * math.sqrt(_scale(values)(values[name]))


def _empty_map(shapes: list[BaseGeometry], title: str) -> tuple[Figure, Axes]:
    left, bottom, right, top = _limits(shapes)
    map_in = _WIDTH_IN - 2 * _MARGIN_IN
    map_height_in = map_in * (top - bottom) / (right - left)
    height_in = map_height_in + _TITLE_IN + _FOOT_IN
    figure = Figure((_WIDTH_IN, height_in), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    across, up = map_in / _WIDTH_IN, map_height_in / height_in
    axes = figure.add_axes((_MARGIN_IN / _WIDTH_IN, _FOOT_IN / height_in, across, up), facecolor="#f8f7f4")
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_edgecolor("#dddddd")
    heading = axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color="#222222")
    heading.set_parse_math(False)
    return figure, axes


def _draw_borders(axes: Axes, districts: list[BaseGeometry]) -> None:
    borders = shapely.get_parts(shapely.line_merge(shapely.union_all(shapely.boundary(districts))))
    lines = [shapely.get_coordinates(line) for line in borders]
    axes.add_collection(LineCollection(lines, colors="#8d6fa0", linewidths=1, linestyles="dashed", alpha=0.5))


def _draw_streets(axes: Axes, shapes: Shapes, values: Mapping[str, float]) -> None:
    colours = street_colours(values)
    parts = [
        (name, part) for name in _lowest_first(shapes, values) for part in shapely.get_parts(shapes[name])
    ]
    axes.add_collection(
        LineCollection(
            [shapely.get_coordinates(part) for _, part in parts],
            colors=[colours.get(name, GREY) for name, _ in parts],
            linewidths=[_line_width(name, shapes, values) for name, _ in parts],
            capstyle="round",
            joinstyle="round",
        )
    )


def _write_names(figure: Figure, axes: Axes, shapes: Shapes, values: Mapping[str, float]) -> None:
    """Write the highest streets with their shares beside them, covering each other never and them hardly."""
    pixels = {name: shapely.transform(shape, axes.transData.transform) for name, shape in shapes.items()}
    highest = [
        name for name in reversed(_lowest_first(shapes, values)) if values.get(name, 0) >= _LEAST_NAMED
    ]
    highest = highest[:_NAMES]
    coloured = shapely.union_all([pixels[name].buffer(8) for name in highest])
    frame = shapely.box(*axes.bbox.extents).buffer(-8)
    taken: list[BaseGeometry] = []
    for name in highest:
        words = f"{name}  {100 * values[name]:.0f} %"
        text = figure.text(0, 0, words, transform=None, **_LETTERS)
        size = text.get_window_extent().size
        places = [
            box
            for box in _boxes_beside(pixels[name], size[0], size[1])
            if frame.contains(box) and not any(box.intersects(other) for other in taken)
        ]
        if not places:
            text.remove()
            continue
        place = min(places, key=lambda box: coloured.intersection(box).area)
        text.set_position((place.bounds[0], place.bounds[1]))
        taken.append(place)


def _boxes_beside(street: BaseGeometry, width: float, height: float) -> Iterator[BaseGeometry]:
    """Where words of this size may stand beside a street, in pixels, likely places first."""
    longest = max(shapely.get_parts(street), key=shapely.length)
    for share in (0.5, 0.3, 0.7, 0.1, 0.9):
        point = longest.interpolate(share, normalized=True)
        for right, up in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            x, y = point.x + right * (width / 2 + 12), point.y + up * (height / 2 + 12)
            yield shapely.box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _draw_scale_bar(axes: Axes) -> None:
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    step = 10 ** math.floor(math.log10((right - left) / 4))
    length_m = max(step * times for times in (1, 2, 5) if step * times <= (right - left) / 4)
    words = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    x, y = right - 0.03 * (right - left), bottom + 0.025 * (top - bottom)
    axes.plot((x - length_m, x), (y, y), color="#444444", linewidth=2.5, solid_capstyle="butt", zorder=7)
    axes.annotate(
        words,
        (x - length_m / 2, y),
        (0, 3),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        color="#444444",
    )


def _draw_foot(figure: Figure, values: Mapping[str, float], attribution: str) -> None:
    inch = 1 / figure.get_figheight()
    if values:
        bar = figure.add_axes((0.035, 0.45 * inch, 0.4, 0.13 * inch))
        mappable = ScalarMappable(_scale(values), COLOURS)
        figure.colorbar(
            mappable,
            bar,
            orientation="horizontal",
            ticks=MaxNLocator(5),
            format=lambda x, _: f"{100 * x:g} %",
        ).outline.set_visible(False)
        bar.tick_params(labelsize=8, length=2, colors="#444444")
    figure.text(0.985, 0.12 * inch, attribution, ha="right", fontsize=7, color="#777777", parse_math=False)

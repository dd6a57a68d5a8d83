"""A small door to Mapnik: shapes and names in pixel coordinates, drawn on a transparent square.

Mapnik never learns where on earth it is: `Frame` projects, so that vectors and imagery agree.
"""

import importlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from PIL import Image
from shapely.geometry.base import BaseGeometry

from addressvlm.geo.places import Floats
from addressvlm.imagery.frames import Frame

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels
Shape = tuple[BaseGeometry, Mapping[str, str | float]]  # in pixels, y down, with the fields its style reads
_PLANE = "epsg:3857"  # the same for map and data, so that nothing is projected


def _import_mapnik() -> Any:
    """Mapnik, without what its import does to the environment.

    It points PROJ_LIB and GDAL_DATA of this process and its children to its own copies, which other PROJs and
    GDALs would then read. Here it needs neither.
    """
    before = {name: os.environ.get(name) for name in ("PROJ_LIB", "GDAL_DATA")}
    mapnik = importlib.import_module("mapnik")
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    return mapnik


mapnik = _import_mapnik()


class Canvas:
    """A transparent square of `size_px` that keeps track of where names are written.

    `styles` is Mapnik XML: `<Style name="…">` elements whose symbolizers see the fields given to `draw`.
    """

    def __init__(self, size_px: int, styles: str):
        self._map = mapnik.Map(size_px, size_px)
        mapnik.load_map_from_string(self._map, f'<Map srs="{_PLANE}">{styles}</Map>')
        self._map.zoom_to_box(mapnik.Box2d(0, -size_px, size_px, 0))
        self._image = mapnik.Image(size_px, size_px)
        self._taken = mapnik.LabelCollisionDetector(self._map)

    def reserve(self, box: Box) -> None:
        """Keep names out of a box."""
        self._taken.insert(mapnik.Box2d(*box))

    def draw(self, style: str, shapes: Iterable[Shape]) -> list[Box]:
        """Draw shapes in a style; return the boxes of the letters written."""
        before = self._letters()
        layer = mapnik.Layer("", _PLANE)
        layer.datasource = _datasource(shapes)
        layer.styles.append(style)
        self._map.layers.append(layer)
        mapnik.render_with_detector(self._map, self._image, self._taken)
        del self._map.layers[:]
        return sorted(self._letters() - before)

    def over(self, background: Image.Image) -> Image.Image:
        """What was drawn on top of `background`, as RGB."""
        size = (self._image.width(), self._image.height())
        drawn = Image.frombytes("RGBA", size, self._image.to_string())
        return Image.alpha_composite(background.convert("RGBA"), drawn).convert("RGB")

    def _letters(self) -> set[Box]:
        return {(box.minx, box.miny, box.maxx, box.maxy) for box in self._taken.boxes()}


def in_pixels(places: gpd.GeoDataFrame, frame: Frame, margin: float = 0) -> list[tuple[str, BaseGeometry]]:
    """Names and shapes of the places (WGS84) in the frame, cut to it, in its pixel coordinates.

    `margin` widens the cut on each side, in shares of the frame's side.
    """
    bounds = frame.bounds
    wider, higher = margin * (bounds.east - bounds.west), margin * (bounds.north - bounds.south)
    box = (bounds.west - wider, bounds.south - higher, bounds.east + wider, bounds.north + higher)
    rows = np.sort(places.sindex.query(shapely.box(*box)))
    cut = shapely.clip_by_rect(places.geometry.to_numpy()[rows], *box)

    def project(lon_lat: Floats) -> Floats:
        return np.column_stack(frame.to_pixels(lon_lat[:, 1], lon_lat[:, 0]))

    shapes = shapely.transform(cut, project)
    return [(name, shape) for name, shape in zip(places["name"].iloc[rows], shapes, strict=True) if shape]


def _datasource(shapes: Iterable[Shape]) -> Any:
    source = mapnik.MemoryDatasource()
    for number, (shape, fields) in enumerate(shapes, start=1):
        context = mapnik.Context()
        for field in fields:
            context.push(field)
        feature = mapnik.Feature(context, number)
        for field, value in fields.items():
            feature[field] = value
        up = shapely.transform(shape, lambda pixels: pixels * (1, -1))  # Mapnik's y points up
        feature.geometry = mapnik.Geometry.from_wkb(shapely.to_wkb(up))
        source.add_feature(feature)
    return source

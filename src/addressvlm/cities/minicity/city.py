"""The mini city as the rest of the project sees it: places, views and pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import geopandas as gpd
import mercantile
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from PIL import Image

from addressvlm.cities.minicity.config import MiniCityConfig
from addressvlm.cities.minicity.describing import describe, look_at
from addressvlm.cities.minicity.plan import Plan, draw_plan
from addressvlm.cities.minicity.render import Camera, Renderer
from addressvlm.cities.minicity.scene import Scene, build_scene
from addressvlm.cities.minicity.surfaces import surface_numbers
from addressvlm.cities.minicity.viewpoints import place_locations
from addressvlm.geo.places import Projection

TILE_PX = 256


@dataclass(frozen=True)
class View:
    """A street view with what it shows, in words, as a dict, and by pixel.

    `surfaces` (height, width, uint8) are numbers into `surfaces.SURFACES`.
    """

    image: Image.Image
    scene: str
    facts: dict[str, Any]
    surfaces: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Aerial:
    """A square of the city from above, north up; `surfaces` as in a view."""

    image: Image.Image
    surfaces: npt.NDArray[np.uint8]


class MiniCity:
    """A city from a config; plan and scene are made when first needed, and never travel between processes."""

    def __init__(self, config: MiniCityConfig):
        self.config = config
        self.projection = Projection(config.origin)

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["config"])  # type: ignore[misc]  # a fresh city of the same config

    @cached_property
    def plan(self) -> Plan:
        """Streets, districts, blocks and water in metres."""
        return draw_plan(self.config)

    @cached_property
    def scene(self) -> Scene:
        """The meshes of the city."""
        return build_scene(self.config, self.plan)

    @cached_property
    def _surfaces(self) -> npt.NDArray[np.uint8]:
        return surface_numbers(self.scene)

    @cached_property
    def _renderer(self) -> Renderer:
        return Renderer(self.scene)

    @property
    def streets(self) -> gpd.GeoDataFrame:
        """`name`, `geometry` (MultiLineString), EPSG:4326, one row a street, ordered by name."""
        streets = self.plan.streets
        lines = [shapely.MultiLineString(list(shapely.get_parts(street.path))) for street in streets]
        return self._table([street.name for street in streets], lines)

    @property
    def districts(self) -> gpd.GeoDataFrame:
        """`name`, `geometry` (Polygon), EPSG:4326, one row a district, ordered by name."""
        districts = sorted(self.plan.districts, key=lambda district: district.name)
        return self._table(
            [district.name for district in districts], [district.area for district in districts]
        )

    def _table(self, names: list[str], shapes: list[Any]) -> gpd.GeoDataFrame:
        def degrees(points: Any) -> Any:
            lat, lon = self.projection.to_latlon(points[:, 0], points[:, 1])
            return np.round(np.column_stack([lon, lat]), 8)

        geometry = [shapely.transform(shape, degrees) for shape in shapes]
        return gpd.GeoDataFrame({"name": names}, geometry=geometry, crs="EPSG:4326")

    @cached_property
    def views(self) -> pd.DataFrame:
        """One row a photo: photo, location, lat, lon, heading_deg, pitch_deg."""
        rows = []
        for number, place in enumerate(place_locations(self.config, self.plan)):
            lat, lon = self.projection.to_latlon(place.x, place.y)
            for turn in range(self.config.views):
                heading = round((place.heading_deg + 360 * turn / self.config.views) % 360, 2)
                for tilt, pitch in enumerate(self.config.pitches):
                    photo = f"{number:05d}-{turn:02d}" + (f"-{tilt}" if len(self.config.pitches) > 1 else "")
                    spot = (round(float(lat), 8), round(float(lon), 8))
                    rows.append((photo, f"{number:05d}", *spot, heading, float(pitch)))
        return pd.DataFrame(rows, columns=["photo", "location", "lat", "lon", "heading_deg", "pitch_deg"])

    def render(self, view: Mapping[str, Any]) -> View:
        """The photo of a row of `views` (or any dict with lat, lon, heading_deg, pitch_deg)."""
        config = self.config
        x, y = self.projection.to_xy(view["lat"], view["lon"])
        position = (float(x), float(y), config.camera_m)
        camera = Camera(position, float(view["heading_deg"]), float(view["pitch_deg"]), config.fov_deg)
        picture = self._renderer.photo(camera, config.view_px, config.samples)
        facts = look_at(self.scene, picture.tally, camera, config.view_px)
        surfaces = self._surfaces[picture.triangles]  # -1, the sky, is the last of them
        return View(Image.fromarray(picture.pixels), describe(facts), facts, surfaces)

    @property
    def tiles(self) -> list[tuple[int, int, int]]:
        """(z, x, y) of all tiles that the map of some place in the city may need."""
        west, south, east, north = self.plan.limit.buffer(self.config.map_side_m / 2 + 20).bounds
        lat, lon = self.projection.to_latlon([south, south, north, north], [west, east, west, east])
        box = (float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))
        return sorted(
            (tile.z, tile.x, tile.y) for tile in mercantile.tiles(*box, zooms=self.config.tile_zoom)
        )

    def render_tile(self, tile: tuple[int, int, int]) -> Image.Image:
        """The satellite picture of a Web Mercator tile (z, x, y), 256 px."""
        zoom, column, row = tile
        bounds = mercantile.xy_bounds(mercantile.Tile(column, row, zoom))
        share = (np.arange(TILE_PX) + 0.5) / TILE_PX
        east, north = np.meshgrid(
            bounds.left + share * (bounds.right - bounds.left),
            bounds.top - share * (bounds.top - bounds.bottom),
        )
        lat, lon = _unproject(north, east)
        x, y = self.projection.to_xy(lat, lon)
        return Image.fromarray(self._renderer.aerial(x, y, float(x[0, 1] - x[0, 0])).pixels)

    def aerial(self, x: float, y: float, side_m: float, side_px: int) -> Aerial:
        """The city from above: a square of `side_m` metres around a point of the city's plane."""
        metres = side_m / side_px
        steps = (np.arange(side_px) + 0.5) * metres - side_m / 2
        east, south = np.meshgrid(steps, steps)
        picture = self._renderer.aerial(x + east, y - south, metres)
        return Aerial(Image.fromarray(picture.pixels), self._surfaces[picture.triangles])


_EARTH_M = 6378137.0


def _unproject(north: Any, east: Any) -> tuple[Any, Any]:
    """Web Mercator metres to degrees."""
    return np.degrees(2 * np.arctan(np.exp(north / _EARTH_M)) - np.pi / 2), np.degrees(east / _EARTH_M)

"""A user's own city as a source: photos, vectors and tiles that a `city.toml` names."""

import hashlib
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from PIL import Image

from addressvlm.cities.city import TILES, About
from addressvlm.cities.cityfile import PATHS, CityFile
from addressvlm.cities.offering import cut_of, offered, photo_table, placed
from addressvlm.cities.panoramas import Cut, view_of
from addressvlm.cities.photos import Offer, shrunk, without_path
from addressvlm.cities.source import Tile, Written
from addressvlm.errors import AddressVLMError
from addressvlm.folders import sha256, write_atomically
from addressvlm.geo.places import LatLon, Projection
from addressvlm.geo.reading import read_districts, read_streets
from addressvlm.geo.tracks import gpx_files
from addressvlm.imagery.frames import Frame
from addressvlm.imagery.likeness import likeness
from addressvlm.imagery.opening import open_image, save_jpeg
from addressvlm.imagery.tiles import XYZTiles, tiles_covering
from addressvlm.work import Workers

# Tiles are kept that are fine enough for map pictures of these sizes.
_MAP_PX = (336, 672)
_TILE_ENDS = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class OwnWriter:
    """Copies photos (upright, smaller, without metadata) and tiles (as they are)."""

    photo_px: int
    satellite: str
    cut: Cut

    def photo(self, row: Mapping[str, Any], path: Path) -> Written:
        """Copy the photo of a row, or cut its view out of the panorama; or say why that cannot be."""
        try:
            image = self._image(row["path"], row["yaw_deg"])
        except AddressVLMError as error:
            return Written(reason=without_path(error, row["path"]))
        save_jpeg(image, path)
        return Written(likeness=likeness(image))

    def tile(self, tile: Tile, path: Path) -> None:
        """Copy a tile."""
        with write_atomically(path, durable=False) as temporary:
            shutil.copyfile(XYZTiles(self.satellite).path(tile), temporary)

    def _image(self, path: Path, yaw_deg: float) -> Image.Image:
        if math.isnan(yaw_deg):
            return shrunk(open_image(path), self.photo_px)
        return view_of(path, yaw_deg, self.cut, self.photo_px)


@dataclass(frozen=True)
class OwnSource:
    """What a `city.toml` names, offered to the build."""

    file: CityFile

    @property
    def about(self) -> About:
        """The keys that go into the city folder; its tiles lie in the folder itself."""
        satellite = self.file.satellite
        if satellite != "streets":
            kind = Path(satellite).suffix.lower()
            satellite = f"{TILES}/{{z}}/{{x}}/{{y}}{kind if kind in _TILE_ENDS else ''}"
        return About(
            self.file.name,
            self.file.levels,
            satellite,
            self.file.map_side_m,
            self.file.attribution,
            self.file.licence,
        )

    @property
    def radius_m(self) -> float:
        """The key of that name."""
        return self.file.radius_m

    @property
    def district_tolerance_m(self) -> float:
        """The key of that name."""
        return self.file.district_tolerance_m

    @cached_property
    def config(self) -> dict[str, Any]:
        """All keys, with digests in place of paths; of photos and tiles, the digest of their list."""
        values = {
            key: value
            for key, value in asdict(self.file).items()
            if key not in (*PATHS, "satellite", "annotations")
        }
        track = self.file.track
        listed = [_listed(offer) for offer in self._offers]
        return {
            "source": "own",
            **values,
            "photos_sha256": _digest(listed),
            "track_sha256": None if track is None else _digest([sha256(file) for file in gpx_files(track)]),
            "annotations": {split: sha256(path) for split, path in self.file.annotations.items()},
            "streets_sha256": sha256(self.file.streets),
            "districts_sha256": sha256(self.file.districts),
            "tiles_sha256": _digest(sorted(self._xyz.tiles)) if self._xyz else None,
        }

    @property
    def pictures(self) -> bool:
        """The key `images`."""
        return self.file.images

    @property
    def label_aliases(self) -> Mapping[str, str]:
        """The key of that name."""
        return self.file.label_aliases

    @property
    def repeats(self) -> bool:
        """The key `duplicates`."""
        return self.file.duplicates == "keep"

    @property
    def writer(self) -> OwnWriter:
        """Copies in any process."""
        return OwnWriter(self.file.photo_px, self.file.satellite, cut_of(self.file))

    def streets(self) -> gpd.GeoDataFrame:
        """The streets of the file."""
        return read_streets(self.file.streets, name_field=self.file.streets_name_field)

    def districts(self) -> gpd.GeoDataFrame:
        """The districts of the file, renamed as wished."""
        return read_districts(
            self.file.districts,
            name_field=self.file.districts_name_field,
            aliases=self.file.district_aliases,
            admin_level=self.file.districts_admin_level,
        )

    def photos(self, workers: Workers) -> pd.DataFrame:
        """The photos that the file names; ids count them in their order."""
        return photo_table(placed(self.file, self._offers, workers), self.file.place_m)

    def tiles(self, photos: pd.DataFrame) -> dict[str, list[Tile]] | None:
        """Those of the user's tiles that the maps of the photos' locations need."""
        xyz = self._xyz
        if xyz is None:
            return None
        return {
            str(location): _tiles_around(xyz, places, self.file.map_side_m)
            for location, places in photos.groupby("location")
        }

    @cached_property
    def _offers(self) -> list[Offer]:
        return offered(self.file)

    @cached_property
    def _xyz(self) -> XYZTiles | None:
        return None if self.file.satellite == "streets" else XYZTiles(self.file.satellite)


def _tiles_around(xyz: XYZTiles, places: pd.DataFrame, side_m: float) -> list[Tile]:
    """The tiles for a map around the middle of any of the places, in the sizes maps are made in."""
    south, north = float(places["lat"].min()), float(places["lat"].max())
    west, east = float(places["lon"].min()), float(places["lon"].max())
    middle = LatLon((south + north) / 2, (west + east) / 2)
    x, y = Projection(middle).to_xy([south, north], [west, east])
    wide_m = side_m + float(max(np.ptp(x), np.ptp(y)))
    tiles: set[Tile] = set()
    for size_px in _MAP_PX:
        frame = Frame(middle, wide_m, round(size_px * wide_m / side_m))
        tiles.update(tile for tile in tiles_covering(frame, xyz.zoom_for(frame)) if tile in xyz.tiles)
    return sorted(tiles)


def _listed(offer: Offer) -> tuple[Any, ...]:
    """What decides the photo's bytes and row, without its path; of the file itself, the size must do."""
    size = offer.path.stat().st_size if offer.path and not offer.reason else None
    place = (
        offer.lat,
        offer.lon,
        offer.heading_deg,
        offer.location,
        offer.time,
        offer.projection,
        offer.split,
    )
    return offer.source, *place, offer.reason, size


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()

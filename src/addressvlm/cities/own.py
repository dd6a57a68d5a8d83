"""A user's own city as a source: photos, vectors and tiles that a `city.toml` names."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
from PIL import Image

from addressvlm.cities.city import TILES, About
from addressvlm.cities.cityfile import PATHS, CityFile
from addressvlm.cities.offering import cut_of, offered, photo_table, placed
from addressvlm.cities.panoramas import Cut, view_of
from addressvlm.cities.photos import Offer, shrunk, without_path
from addressvlm.cities.source import Around, Written
from addressvlm.cities.surroundings import tiles_around
from addressvlm.errors import AddressVLMError
from addressvlm.folders import sha256, write_atomically
from addressvlm.geo.reading import read_districts, read_streets
from addressvlm.geo.tracks import gpx_files
from addressvlm.imagery.likeness import likeness
from addressvlm.imagery.opening import image_of, open_image, save_jpeg
from addressvlm.imagery.satellite import DRAWN
from addressvlm.imagery.stores import Imagery, is_web, open_store
from addressvlm.imagery.tilegrid import Tile, TileStore
from addressvlm.imagery.webtiles import WebAccess
from addressvlm.work import Workers, track

_WEB = ("satellite_max_zoom",)
# Keys that decide nothing, or whose content does: a digest stands for it.
_ELSEWHERE = (*PATHS, "satellite", "satellite_cache", "satellite_per_second", "annotations")

_END_BYTES = 128 * 1024  # the EXIF of a JPEG ends within its first 64 KiB, its XMP within the next


@dataclass(frozen=True)
class OwnWriter:
    """Copies photos (upright, smaller, without metadata) and tiles (as they are)."""

    photo_px: int
    cut: Cut
    imagery: Imagery
    imagery_sha256: str | None

    def photo(self, row: Mapping[str, Any], path: Path) -> Written:
        """Copy the photo of a row, or cut its view out of the panorama; or say why that cannot be."""
        try:
            image = self._image(row["path"], row["yaw_deg"])
        except AddressVLMError as error:
            return Written(reason=without_path(error, row["path"]))
        save_jpeg(image, path)
        return Written(likeness=likeness(image))

    def tile(self, tile: Tile, path: Path) -> Written:
        """Copy a tile, unless it is no picture."""
        try:
            data = _opened_once(self.imagery, self.imagery_sha256).read(tile)
            image_of(data, "the tile")
        except AddressVLMError:
            return Written(reason="is cut, damaged or no picture")
        with write_atomically(path, durable=False) as temporary:
            temporary.write_bytes(data)
        return Written()

    def _image(self, path: Path, yaw_deg: float) -> Image.Image:
        if math.isnan(yaw_deg):
            return shrunk(open_image(path), self.photo_px)
        return view_of(path, yaw_deg, self.cut, self.photo_px)


@lru_cache(maxsize=2)
def _opened_once(imagery: Imagery, sha256: str | None) -> TileStore:
    """The tiles, opened once in a process unless they have changed."""
    return open_store(imagery)


@dataclass(frozen=True)
class OwnSource:
    """What a `city.toml` names, offered to the build."""

    file: CityFile

    @property
    def about(self) -> About:
        """The keys that go into the city folder; its tiles lie in the folder itself."""
        satellite, attribution = DRAWN, self.file.attribution
        if self._store:
            satellite = f"{TILES}/{{z}}/{{x}}/{{y}}{self._store.ending}"
            theirs = self._store.attribution
            if theirs and theirs not in attribution:
                attribution = f"{attribution}, {theirs} (imagery)" if attribution else theirs
        return About(
            self.file.name, self.file.levels, satellite, self.file.map_side_m, attribution, self.file.licence
        )

    @property
    def radius_m(self) -> float:
        """The key of that name."""
        return self.file.radius_m

    @property
    def district_tolerance_m(self) -> float:
        """The key of that name."""
        return self.file.district_tolerance_m

    @property
    def street_language(self) -> str | None:
        """The key of that name."""
        return self.file.street_language

    @cached_property
    def config(self) -> dict[str, Any]:
        """All keys, with digests in place of paths.

        Digests are of contents, never of times, so that a copy of the inputs goes on with the same folder.
        """
        values = {key: value for key, value in asdict(self.file).items() if key not in _ELSEWHERE}
        gpx = self.file.track
        listed = [_listed(offer) for offer in track(self._offers, "digest of the photos")]
        return {
            "source": "own",
            **values,
            "photos_sha256": _digest(listed),
            "track_sha256": None if gpx is None else _digest([sha256(file) for file in gpx_files(gpx)]),
            "annotations": {split: sha256(path) for split, path in self.file.annotations.items()},
            "streets_sha256": sha256(self.file.streets),
            "districts_sha256": sha256(self.file.districts),
            "tiles_sha256": self._store.fingerprint if self._store else None,
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
        fingerprint = self._store.fingerprint if self._store else None
        return OwnWriter(self.file.photo_px, cut_of(self.file), self._imagery, fingerprint)

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
            from_points_m=self.file.districts_from_points_m,
        )

    def photos(self, workers: Workers) -> pd.DataFrame:
        """The photos that the file names; ids count them in their order."""
        return photo_table(placed(self.file, self._offers, workers), self.file.place_m)

    def tiles(self, photos: pd.DataFrame) -> dict[str, Around] | None:
        """Those of the user's tiles that the maps of the photos' locations need."""
        store = self._store
        if store is None:
            return None
        places = photos.groupby("location")
        return {
            str(location): tiles_around(store, some, self.file.map_side_m)
            for location, some in track(places, "tiles", len(places))
        }

    @property
    def imagery_origin(self) -> dict[str, Any] | None:
        """The address (without a key) or the name of the file, and the digest that tells it from others."""
        if self._store is None:
            return None
        where = self.file.satellite
        web = {key: getattr(self.file, key) for key in _WEB} if is_web(where) else {}
        source = where if is_web(where) else Path(where).name
        return {"source": source, **web, "sha256": self._store.fingerprint, "tile_px": self._store.tile_px}

    @cached_property
    def _offers(self) -> list[Offer]:
        return offered(self.file)

    @property
    def _imagery(self) -> Imagery:
        file = self.file
        cache = Path(file.satellite_cache) if file.satellite_cache else None
        access = WebAccess(file.satellite_per_second, file.satellite_max_zoom, file.satellite_tile_px, cache)
        return Imagery(file.satellite, access if file.satellite_fetch else None)

    @cached_property
    def _store(self) -> TileStore | None:
        return None if self.file.satellite == DRAWN else open_store(self._imagery)


def _listed(offer: Offer) -> tuple[Any, ...]:
    """What decides the photo's bytes and row, without its path."""
    tells_its_place = math.isnan(offer.lat)
    content = _content(offer.path, ends=tells_its_place) if offer.path and not offer.reason else None
    place = (
        offer.lat,
        offer.lon,
        offer.heading_deg,
        offer.location,
        offer.time,
        offer.projection,
        offer.split,
    )
    return offer.source, *place, offer.reason, content


def _content(path: Path, *, ends: bool) -> tuple[int, str] | None:
    """Size of a photo and digest of its `ends`; None if it cannot be read: that is told when it is opened.

    There stand EXIF and XMP, where a place may be corrected without another size. Whole photos would be
    hundreds of gigabytes; what changes in their middle changes their size. Where the place is told elsewhere,
    a million photos need not be opened for this.
    """
    try:
        if not ends:
            return path.stat().st_size, ""
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _END_BYTES))
            end = file.read()
            file.seek(0)
            return size, hashlib.sha256(file.read(_END_BYTES) + end).hexdigest()
    except OSError:
        return None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()

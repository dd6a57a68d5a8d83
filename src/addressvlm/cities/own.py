"""A user's own city as a source: photos, vectors and tiles that a `city.toml` names."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from addressvlm.cities.city import TILES, About
from addressvlm.cities.cityfile import PATHS, CityFile
from addressvlm.cities.photocsv import photos_in_csv
from addressvlm.cities.photojson import photos_in_json
from addressvlm.cities.photos import Offer, copy_photo, located, photos_in_folder
from addressvlm.cities.source import Around, Written
from addressvlm.cities.surroundings import tiles_around
from addressvlm.cities.vprnames import has_vpr_name, is_list_of_names, names_in_list, offer_of_name
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import sha256, write_atomically
from addressvlm.geo.reading import read_districts, read_streets
from addressvlm.imagery.opening import image_of
from addressvlm.imagery.satellite import DRAWN
from addressvlm.imagery.stores import Imagery, is_web, open_store
from addressvlm.imagery.tilegrid import Tile, TileStore
from addressvlm.imagery.webtiles import WebAccess
from addressvlm.work import track

_WEB = ("satellite_max_zoom",)
# Keys that decide nothing, or whose content does: a digest stands for it.
_ELSEWHERE = (*PATHS, "satellite", "satellite_cache", "satellite_per_second")
_PLACE_DECIMALS = 5  # degrees: photos within about a metre are at one location


@dataclass(frozen=True)
class OwnWriter:
    """Copies photos (upright, smaller, without metadata) and tiles (as they are)."""

    photo_px: int
    imagery: Imagery
    imagery_sha256: str | None

    def photo(self, row: Mapping[str, Any], path: Path) -> Written:
        """Copy the photo of a row, or say why that cannot be."""
        return Written(reason=copy_photo(row["path"], path, self.photo_px))

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
        """All keys, with digests in place of paths; of photos and tiles, the digest of their list."""
        values = {key: value for key, value in asdict(self.file).items() if key not in _ELSEWHERE}
        listed = [_listed(offer) for offer in self._offers]
        return {
            "source": "own",
            **values,
            "photos_sha256": _digest(listed),
            "streets_sha256": sha256(self.file.streets),
            "districts_sha256": sha256(self.file.districts),
            "tiles_sha256": self._store.fingerprint if self._store else None,
        }

    @property
    def pictures(self) -> bool:
        """The key `images`."""
        return self.file.images

    @property
    def writer(self) -> OwnWriter:
        """Copies in any process."""
        return OwnWriter(self.file.photo_px, self._imagery, self._store.fingerprint if self._store else None)

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

    def photos(self, workers: int | None) -> pd.DataFrame:
        """The photos of the CSV or the folder; ids count them in their order."""
        offers = self._offers
        if self.file.photos.is_dir() and not _in_names(offers):
            offers = located(offers, workers)
        places = [offer.location or _rounded(offer) for offer in offers]
        numbers = {place: number for number, place in enumerate(dict.fromkeys(places), start=1)}
        return pd.DataFrame(
            {
                "photo": [f"p{number:06d}" for number in range(1, len(offers) + 1)],
                "location": [f"l{numbers[place]:06d}" for place in places],
                "source": [offer.source for offer in offers],
                "lat": np.array([offer.lat for offer in offers], np.float64),
                "lon": np.array([offer.lon for offer in offers], np.float64),
                "heading_deg": np.array([offer.heading_deg for offer in offers], np.float64),
                "pitch_deg": np.array([offer.pitch_deg for offer in offers], np.float64),
                "time": [offer.time for offer in offers],
                "reason": [offer.reason for offer in offers],
                "path": [offer.path for offer in offers],
            }
        )

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
        photos = self.file.photos
        if photos.is_dir():
            if self.file.columns or not self.file.images:
                raise UsageError(
                    f"photos = {photos.name!r} is a folder: columns and images = false are for a CSV"
                )
            found = photos_in_folder(photos)
            return [offer_of_name(one.source, one.path) for one in found] if _in_names(found) else found
        if is_list_of_names(photos):
            if self.file.images:
                raise UsageError(f"photos = {photos.name!r} lists names alone: set images = false")
            return [offer_of_name(name) for name in names_in_list(photos)]
        if photos.suffix.lower() in (".csv", ".tsv", ".txt"):
            return photos_in_csv(photos, self.file.columns, images=self.file.images)
        if photos.suffix.lower() in (".json", ".geojson"):
            if self.file.columns:
                raise UsageError(f"photos = {photos.name!r} is no CSV: columns are for a CSV")
            return photos_in_json(photos, images=self.file.images)
        raise AddressVLMError(
            f"photos = {photos.name!r} is neither a folder nor a CSV (.csv, .tsv, .txt) nor JSON "
            "(.json, .geojson)"
        )

    @property
    def _imagery(self) -> Imagery:
        file = self.file
        cache = Path(file.satellite_cache) if file.satellite_cache else None
        access = WebAccess(file.satellite_per_second, file.satellite_max_zoom, file.satellite_tile_px, cache)
        return Imagery(file.satellite, access if file.satellite_fetch else None)

    @cached_property
    def _store(self) -> TileStore | None:
        return None if self.file.satellite == DRAWN else open_store(self._imagery)


def _in_names(offers: list[Offer]) -> bool:
    """Whether the names of photos tell where they were taken; those of one data set all do."""
    return bool(offers) and all(has_vpr_name(offer.source) for offer in offers)


def _rounded(offer: Offer) -> tuple[float, float]:
    return round(offer.lat, _PLACE_DECIMALS), round(offer.lon, _PLACE_DECIMALS)


def _listed(offer: Offer) -> tuple[Any, ...]:
    """What decides the photo's bytes and row, without its path; of the file itself, the size must do."""
    size = offer.path.stat().st_size if offer.path and not offer.reason else None
    place = (offer.lat, offer.lon, offer.heading_deg, offer.location, offer.time)
    return offer.source, *place, offer.reason, size


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()

"""A city: photos with addresses, streets, districts and imagery, in one folder that needs nothing else."""

import json
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyarrow

from addressvlm.errors import AddressVLMError
from addressvlm.folders import inside, require_complete, write_atomically
from addressvlm.geo.streets import StreetMap
from addressvlm.imagery.satellite import DRAWN, SatelliteSource, open_satellite
from addressvlm.imagery.tilegrid import TILE_ENDS

CITY = "city.toml"
PHOTOS = "photos.parquet"
STREETS = "streets.parquet"
DISTRICTS = "districts.parquet"
SPELLINGS = "spellings.csv"
REJECTED = "rejected.csv"
TAKEN = "taken.csv"
IMAGES = "images"
TILES = "tiles"
# All that a build writes as `satellite`. A folder may come from anybody, and tiles are written by this text.
_SATELLITES = (DRAWN, *(f"{TILES}/{{z}}/{{x}}/{{y}}{ending}" for ending in ("", *TILE_ENDS)))


@dataclass(frozen=True)
class About:
    """What `city.toml` in a city folder says, one key a field."""

    name: str
    levels: tuple[str, str] = ("district", "street")
    satellite: str = "streets"
    map_side_m: float = 305.0
    attribution: str = ""
    licence: str = ""


@dataclass(frozen=True)
class City:
    """A complete city folder, as docs/formats.md describes it; read it with `load_city`."""

    folder: Path
    name: str
    levels: tuple[str, str]
    photos: pd.DataFrame
    streets: gpd.GeoDataFrame
    districts: gpd.GeoDataFrame
    satellite: str
    map_side_m: float
    attribution: str
    licence: str

    @cached_property
    def street_map(self) -> StreetMap:
        """The streets and districts as `geo` takes them."""
        return StreetMap(self.streets, self.districts)

    def photo_path(self, file: str) -> Path:
        """The picture that a row of `photos` names; raises `AddressVLMError` where that leads elsewhere."""
        return inside(self.folder, file)

    @cached_property
    def satellite_source(self) -> SatelliteSource:
        """The imagery, or the plain map drawn from the vectors where the city brings none."""
        return open_satellite(
            self.satellite, folder=self.folder, street_map=self.street_map, attribution=self.attribution
        )


def load_city(folder: Path) -> City:
    """Read a city folder; raises `AddressVLMError` where it is incomplete or damaged."""
    require_complete(folder)
    about = read_about(folder / CITY)
    try:
        photos = pd.read_parquet(folder / PHOTOS)
        streets, districts = gpd.read_parquet(folder / STREETS), gpd.read_parquet(folder / DISTRICTS)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise AddressVLMError(f"the city {folder} is damaged: {error}; build it again") from error
    return City(folder, about.name, about.levels, photos, streets, districts, *_rest(about))


def read_about(path: Path) -> About:
    """Read the `city.toml` of a city folder; raises `AddressVLMError` where no build wrote it so."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
        about = About(**{**values, "levels": tuple(values["levels"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AddressVLMError(f"{path} is missing or damaged ({error}); build the city again") from error
    if about.satellite not in _SATELLITES:
        raise AddressVLMError(
            f"{path}: satellite = {about.satellite!r}, but the maps of a city folder are {DRAWN!r} or its "
            f"own tiles, such as {_SATELLITES[2]!r}; build the city again"
        )
    return about


def write_about(about: About, path: Path) -> None:
    """Write the `city.toml` of a city folder."""
    levels = ", ".join(_toml(level) for level in about.levels)
    lines = (
        f"name = {_toml(about.name)}",
        f"levels = [{levels}]",
        f"satellite = {_toml(about.satellite)}",
        f"map_side_m = {float(about.map_side_m)!r}",
        f"attribution = {_toml(about.attribution)}",
        f"licence = {_toml(about.licence)}",
    )
    with write_atomically(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", "utf-8")


def _rest(about: About) -> tuple[str, float, str, str]:
    return about.satellite, about.map_side_m, about.attribution, about.licence


def _toml(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, only that TOML also escapes DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")

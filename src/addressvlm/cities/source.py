"""What every source of a city gives to the build, be it photos of a user or a mini city."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import geopandas as gpd
import pandas as pd

from addressvlm.cities.city import About
from addressvlm.imagery.tilegrid import Tile
from addressvlm.work import Workers


@dataclass(frozen=True)
class Written:
    """What became of one picture: why it could not be written, or what is seen in it (None: unknown).

    `likeness` is a fingerprint of how it looks, "" where there is none.
    """

    reason: str = ""
    scene: str | None = None
    sha256: str = ""
    likeness: str = ""


@dataclass(frozen=True)
class Around:
    """The tiles that show the surroundings of a location, and those that would but are not to be had."""

    tiles: Sequence[Tile]
    missing: Sequence[Tile] = ()


class Writer(Protocol):
    """Makes the files of a city; small enough to be sent to other processes."""

    def photo(self, row: Mapping[str, Any], path: Path) -> Written:
        """Write the photo of a row of `Source.photos` as JPEG, atomically."""

    def tile(self, tile: Tile, path: Path) -> Written:
        """Write a satellite tile, atomically."""


class Source(Protocol):
    """Where a city comes from."""

    @property
    def about(self) -> About:
        """Name, levels and the like."""

    @property
    def config(self) -> Mapping[str, Any]:
        """What decides the bytes of the city folder, as JSON; digests stand for input files."""

    @property
    def radius_m(self) -> float:
        """How far a photo's street may be."""

    @property
    def district_tolerance_m(self) -> float:
        """How far outside of a district a photo may be."""

    @property
    def street_language(self) -> str | None:
        """The language of the abbreviations in street names; None to find it from the names."""

    @property
    def pictures(self) -> bool:
        """Whether the photos have pictures, or are but places."""

    @property
    def label_aliases(self) -> Mapping[str, str]:
        """How the vectors call what labels of the user call otherwise."""

    @property
    def repeats(self) -> bool:
        """Whether one picture may stand in the city several times."""

    @property
    def writer(self) -> Writer:
        """What makes the pictures."""

    def streets(self) -> gpd.GeoDataFrame:
        """Columns `name` and `geometry`; `attrs["dropped"]` may count what was left out."""

    def districts(self) -> gpd.GeoDataFrame:
        """Columns `name` and `geometry`; `attrs["dropped"]` may count what was left out."""

    def photos(self, workers: Workers) -> pd.DataFrame:
        """Every photo offered.

        Columns: `photo` and `location` (ids), `source` (what the user calls it), `lat`, `lon`, `heading_deg`,
        `pitch_deg` (degrees, NaN where unknown), `time` and `split` (or None), `label_district` and
        `label_street` (addresses of the user, "" for none), `reason` ("" or why it cannot be taken), and
        whatever else the writer needs.
        """

    def tiles(self, photos: pd.DataFrame) -> dict[str, Around] | None:
        """The tiles around each location, or None for a map drawn from the vectors."""

    @property
    def imagery_origin(self) -> Mapping[str, Any] | None:
        """What the blueprint says of where the tiles come from; None where there is nothing to get again."""

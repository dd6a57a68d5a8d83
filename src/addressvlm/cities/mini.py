"""The mini city as a source: its photos and tiles are rendered instead of copied."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from addressvlm.cities.city import TILES, About
from addressvlm.cities.minicity.city import MiniCity
from addressvlm.cities.minicity.config import MiniCityConfig, mini_city
from addressvlm.cities.photos import shrunk
from addressvlm.cities.source import Around, Written
from addressvlm.folders import write_atomically
from addressvlm.imagery.opening import save_jpeg
from addressvlm.imagery.tilegrid import Tile
from addressvlm.work import Workers


@dataclass(frozen=True)
class MiniWriter:
    """Renders views and tiles; every process builds the city once."""

    config: MiniCityConfig
    photo_px: int

    def photo(self, row: Mapping[str, Any], path: Path) -> Written:
        """Write the view of a row."""
        view = _city(self.config).render(row)
        save_jpeg(shrunk(view.image, self.photo_px), path)
        return Written(scene=view.scene)

    def tile(self, tile: Tile, path: Path) -> Written:
        """Write a tile as PNG."""
        with write_atomically(path, durable=False) as temporary:
            _city(self.config).render_tile(tile).save(temporary, "PNG")
        return Written()


def mini_source(name: str, *, radius_m: float = 30.0, photo_px: int = 768, **overrides: Any) -> "MiniSource":
    """The mini city of that name as a source; `overrides` replace fields of its config."""
    return MiniSource(mini_city(name, **overrides), radius_m, photo_px)


@dataclass(frozen=True)
class MiniSource:
    """A mini city offered to the build."""

    mini: MiniCityConfig
    radius_m: float
    photo_px: int
    district_tolerance_m: float = 50.0
    street_language: str | None = "en"
    pictures: bool = True
    label_aliases: Mapping[str, str] = field(default_factory=dict)
    repeats: bool = True  # an empty view may look like another, but no house stands in two places
    imagery_origin: None = None  # the name of the city is enough

    @property
    def about(self) -> About:
        """Nobody's rights are touched by what is rendered."""
        first, second = self.mini.levels
        return About(
            self.mini.name,
            (first, second),
            f"{TILES}/{{z}}/{{x}}/{{y}}.png",
            self.mini.map_side_m,
            "Rendered by addressvlm",
            "CC0-1.0",
        )

    @property
    def config(self) -> dict[str, Any]:
        """The mini city's own config and what the build adds."""
        return {"source": "mini", **asdict(self.mini), "radius_m": self.radius_m, "photo_px": self.photo_px}

    @property
    def writer(self) -> MiniWriter:
        """Renders in any process."""
        return MiniWriter(self.mini, self.photo_px)

    def streets(self) -> gpd.GeoDataFrame:
        """The streets of the plan."""
        return self._city.streets

    def districts(self) -> gpd.GeoDataFrame:
        """The districts of the plan."""
        return self._city.districts

    def photos(self, workers: Workers) -> pd.DataFrame:
        """The views, which nothing speaks against."""
        views: pd.DataFrame = self._city.views
        return views.assign(
            source=views["photo"], time=None, split=None, label_district="", label_street="", reason=""
        )

    def tiles(self, photos: pd.DataFrame) -> dict[str, Around]:
        """All tiles of the city for every location."""
        return dict.fromkeys(photos["location"], Around(list(self._city.tiles)))

    @cached_property
    def _city(self) -> MiniCity:
        return _city(self.mini)


@lru_cache(maxsize=1)
def _city(config: MiniCityConfig) -> MiniCity:
    return MiniCity(config)

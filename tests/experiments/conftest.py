from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest

from addressvlm.cities.build import build_city

LOCATIONS, VIEWS = 15, 2

BuildCity = Callable[..., None]


@pytest.fixture(scope="session")
def ready_city(tmp_path_factory: pytest.TempPathFactory) -> BuildCity:
    """In place of `build_city`: puts a small `mini:3` there, 15 locations of 2 views, built once for all."""
    built = tmp_path_factory.mktemp("city") / "built"
    build_city("mini:3", built, locations=LOCATIONS, views=VIEWS, workers=1, size_m=450.0, streets=12)

    def place(city: str, folder: Path, *, locations: int, views: int, workers: int | None) -> None:
        assert (city, locations, views) == ("mini:3", LOCATIONS, VIEWS)
        if not folder.exists():
            copytree(built, folder)

    return place

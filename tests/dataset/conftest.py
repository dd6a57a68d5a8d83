"""A town of eight streets and three districts, written as a city folder; a block is 111 m wide and high.

Streets run north ("1st Street" …) and avenues east ("Oak Avenue" …), near 0 degrees, where a thousandth of
a degree is 111 m both ways. The districts are strips of longitude.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
from PIL import Image
from shapely import LineString, MultiLineString, box

from addressvlm.cities.city import About, City, load_city, write_about
from addressvlm.folders import write_json

SHARED = Path(__file__).resolve().parents[3] / "shared"
STREETS = ("1st Street", "2nd Street", "3rd Street", "4th Street")
AVENUES = ("Elm Avenue", "Fir Avenue", "Oak Avenue", "Pine Avenue")
DISTRICTS = ("Harbour", "Midtown", "Old Town")
BLOCK = 0.001


def street_lines() -> gpd.GeoDataFrame:
    along = {name: [(BLOCK * k, 0), (BLOCK * k, 5 * BLOCK)] for k, name in enumerate(STREETS, start=1)}
    across = {name: [(0, BLOCK * k), (5 * BLOCK, BLOCK * k)] for k, name in enumerate(AVENUES, start=1)}
    lines = [MultiLineString([LineString(points)]) for points in (along | across).values()]
    return gpd.GeoDataFrame({"name": [*along, *across]}, geometry=lines, crs="EPSG:4326")


def district_areas() -> gpd.GeoDataFrame:
    strips = [box(0, 0, 0.0015, 0.005), box(0.0015, 0, 0.0035, 0.005), box(0.0035, 0, 0.005, 0.005)]
    return gpd.GeoDataFrame({"name": DISTRICTS}, geometry=strips, crs="EPSG:4326")


def photo_rows(views: int) -> list[dict[str, Any]]:
    """Five locations on each street: 55 m north of an avenue, but the first only 11 m (a corner)."""
    rows = []
    for k, street in enumerate(STREETS, start=1):
        for block in range(5):
            location = f"{k}-{block}"
            north = 0.0011 if block == 0 else BLOCK * block + 0.0005
            for view in range(views):
                photo = f"{location}-{view}"
                rows.append(
                    {
                        "photo": photo,
                        "location": location,
                        "file": f"images/{photo}.jpg",
                        "lat": north,
                        "lon": BLOCK * k,
                        "heading_deg": 360.0 * view / views,
                        "pitch_deg": 0.0,
                        "time": f"20{10 + k}-0{block + 1}-01T00:00:00",
                        "district": DISTRICTS[(k > 1) + (k > 3)],
                        "street": street,
                        "street_m": 0.0,
                        "runner_up": "Elm Avenue" if block == 0 else None,
                        "margin_m": 11.1 if block == 0 else None,
                        "scene": f"a wall of colour {view}",
                    }
                )
    return rows


def write_town(folder: Path, *, views: int = 2, levels: tuple[str, str] = ("district", "street")) -> Path:
    (folder / "images").mkdir(parents=True)
    photos = pd.DataFrame(photo_rows(views))
    for number, file in enumerate(photos["file"]):
        Image.new("RGB", (64, 48), (number * 7 % 256, number * 13 % 256, 90)).save(folder / file)
    photos.to_parquet(folder / "photos.parquet")
    street_lines().to_parquet(folder / "streets.parquet")
    district_areas().to_parquet(folder / "districts.parquet")
    write_about(About("Gridville", levels, "streets", 250.0, "(c) nobody", "CC0-1.0"), folder / "city.toml")
    write_json(folder / "config.json", {"step": "city", "source": "by hand"})
    write_json(folder / "summary.json", {"photos": len(photos), "levels": levels})
    return folder


@pytest.fixture(scope="session")
def photos_of_town() -> Callable[[int], pd.DataFrame]:
    """The town's table of photos, by the number of views a location."""
    return lambda views: pd.DataFrame(photo_rows(views))


@pytest.fixture(scope="session")
def make_town() -> Callable[..., Path]:
    """Writes a town into a folder, with `views` photos a location and `levels`."""
    return write_town


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the town, 20 locations with two photos each. Tests must not change it."""
    return write_town(tmp_path_factory.mktemp("city") / "town")


@pytest.fixture
def own_town(tmp_path: Path) -> Path:
    """A town that a test may change, with one photo a location."""
    return write_town(tmp_path / "town", views=1)


@pytest.fixture
def city(town: Path) -> City:
    return load_city(town)


@pytest.fixture
def shared() -> Path:
    """Material outside the repository, where there is any."""
    if not SHARED.is_dir():
        pytest.skip("the folder `shared` beside the repository is absent")
    return SHARED

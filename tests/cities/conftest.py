import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from smalltown import DISTRICTS, STREETS, feature, picture, ring, write_features, write_toml

Row = Mapping[str, object]


@pytest.fixture
def town(tmp_path: Path) -> Path:
    """A folder with the vectors and ten photos, 0.jpg to 9.jpg."""
    folder = tmp_path / "town"
    folder.mkdir()
    write_features(folder / "streets.geojson", [feature(n, "LineString", c) for n, c in STREETS.items()])
    write_features(
        folder / "districts.geojson", [feature(n, "Polygon", ring(*c)) for n, c in DISTRICTS.items()]
    )
    for number in range(10):
        picture(number).save(folder / f"{number}.jpg")
    return folder


@pytest.fixture
def write_city(town: Path) -> Callable[..., Path]:
    """Write a `city.toml` with these rows in its CSV and these lines in addition; returns its path."""

    def write(rows: Sequence[Row], *lines: str) -> Path:
        with (town / "photos.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        return write_toml(town, 'photos = "photos.csv"', *lines)

    return write

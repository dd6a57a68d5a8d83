"""A town of two streets and two districts, and photos to offer in it."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

# First Street runs north at 9.000 E in West, Second Street at 9.001 E in East (79 m apart).
STREETS = {
    "First Street": [[9.0, 45.0], [9.0, 45.01]],
    "Second Street": [[9.001, 45.0], [9.001, 45.01]],
}
DISTRICTS = {"West": [8.99, 9.0005], "East": [9.0005, 9.02]}

Row = Mapping[str, object]


def feature(name: str, kind: str, coordinates: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": {"name": name}, "geometry": geometry}


def ring(west: float, east: float) -> list[list[list[float]]]:
    return [[[west, 44.99], [east, 44.99], [east, 45.02], [west, 45.02], [west, 44.99]]]


def write_features(path: Path, features: Sequence[Mapping[str, Any]]) -> None:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def picture(seed: int, size: tuple[int, int] = (60, 40)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


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


def write_toml(town: Path, *lines: str) -> Path:
    usual = ('name = "Town"', 'streets = "streets.geojson"', 'districts = "districts.geojson"')
    (town / "city.toml").write_text("\n".join((*usual, *lines)))
    return town / "city.toml"


def row(number: int, lat: float, lon: float = 9.0, **more: object) -> dict[str, object]:
    return {"file": f"{number}.jpg", "lat": lat, "lon": lon, **more}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder but the lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }

"""A town of three streets and two districts whose names are markup, built from a user's files.

Near (45 N, 9 E) a thousandth of a degree is 111 m north and 79 m east. Script Lane runs north at 9.000 E,
its rival at 9.002 E, Meiji-dori crosses both at 45.005 N. West ends at 9.001 E.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SCRIPT = "</script><script>alert(1)</script>"
QUOTES = "\"><img src=x onerror=alert(2)> & 'Co'"
JAPANESE = "明治通り"
STREETS = {
    SCRIPT: [[9.0, 45.0], [9.0, 45.01]],
    QUOTES: [[9.002, 45.0], [9.002, 45.01]],
    JAPANESE: [[8.999, 45.005], [9.003, 45.005]],
}
DISTRICTS = {"<b>West</b>": (8.99, 9.001), "East": (9.001, 9.01)}
CITY = "Town <script>alert(3)</script>"


def photo_rows() -> list[dict[str, Any]]:
    """Ten locations with two photos each, then three that will be rejected.

    On each of the two streets that run north there are five: at 45.001 to 45.004, and one 8 m south of
    Meiji-dori (2 m from its own street), which is a corner.
    """
    rows = []
    for street, lon in enumerate((9.0, 9.002)):
        for place in range(1, 6):
            corner = place == 5
            lat, shifted = (45.005 - 0.00007, lon + 0.00003) if corner else (45 + place / 1000, lon)
            for view in range(2):
                name = f"{street}-{place}-{view}.jpg"
                rows.append({"file": name, "lat": lat, "lon": shifted, "heading": 180 * view})
    return [
        *rows,
        {"file": "missing<script>.jpg", "lat": 45.001, "lon": 9.0, "heading": 0},
        {"file": "0-1-0.jpg", "lat": 45.001, "lon": 9.0, "heading": 0},
        {"file": "far.jpg", "lat": 46.5, "lon": 9.0, "heading": 0},
    ]


def write_files(folder: Path) -> Path:
    """What the user has; returns the `city.toml`."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for row in photo_rows():
        if "<" not in row["file"]:
            pixels = generator.integers(0, 256, (48, 64, 3), np.uint8)
            Image.fromarray(pixels).save(folder / row["file"])
    with (folder / "photos.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["file", "lat", "lon", "heading"])
        table.writeheader()
        table.writerows(photo_rows())
    lines = [_feature(name, "LineString", points) for name, points in STREETS.items()]
    areas = [_feature(name, "Polygon", _ring(*ends)) for name, ends in DISTRICTS.items()]
    for name, features in (("streets", lines), ("districts", areas)):
        (folder / f"{name}.geojson").write_text(
            json.dumps({"type": "FeatureCollection", "features": features})
        )
    keys = {
        "name": CITY,
        "photos": "photos.csv",
        "streets": "streets.geojson",
        "districts": "districts.geojson",
        "attribution": "© <i>nobody</i>",
        "licence": "CC0-1.0",
    }
    toml = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    (folder / "city.toml").write_text(toml)
    return folder / "city.toml"


def _feature(name: str, kind: str, coordinates: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": {"name": name}, "geometry": geometry}


def _ring(west: float, east: float) -> list[list[list[float]]]:
    return [[[west, 44.99], [east, 44.99], [east, 45.02], [west, 45.02], [west, 44.99]]]

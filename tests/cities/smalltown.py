"""A town of two streets and two districts, and photos to offer in it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

# First Street runs north at 9.000 E in West, Second Street at 9.001 E in East (79 m apart).
STREETS = {
    "First Street": [[9.0, 45.0], [9.0, 45.01]],
    "Second Street": [[9.001, 45.0], [9.001, 45.01]],
}
DISTRICTS = {"West": [8.99, 9.0005], "East": [9.0005, 9.02]}


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


def save_with_gps(path: Path, lat: float, lon: float, heading_deg: float | None = None) -> None:
    exif = Image.Exif()
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLatitude] = "N", (lat, 0.0, 0.0)
    gps[ExifTags.GPS.GPSLongitudeRef], gps[ExifTags.GPS.GPSLongitude] = "E", (lon, 0.0, 0.0)
    if heading_deg is not None:
        gps[ExifTags.GPS.GPSImgDirection] = heading_deg
    picture(1).save(path, exif=exif)

"""Cities made of real files, one for every format; docs/real-cities.md says where the files are from."""

import csv
import gzip
import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import mercantile
import numpy as np
import pandas as pd

from addressvlm.errors import AddressVLMError
from addressvlm.geo.places import Bounds
from addressvlm.imagery.tiles import XYZTiles


@dataclass(frozen=True)
class RealCity:
    """One city: what its parts are, and `prepare(data, folder)`, which returns the keys of its city.toml."""

    name: str
    places: str
    streets: str
    districts: str
    imagery: str
    prepare: Callable[[Path, Path], dict[str, Any]]


def _existing(*paths: Path) -> list[str]:
    for path in paths:
        if not path.exists():
            raise AddressVLMError(f"there is no {path}")
    return [str(path.resolve()) for path in paths]


def _unpacked(packed: Path, path: Path) -> str:
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return str(path.resolve())


def _grid(path: Path, box: Bounds, side: int) -> str:
    """A CSV of side x side places, evenly spread in a box."""
    rows = [
        (lat, lon)
        for lat in _between(box.south, box.north, side)
        for lon in _between(box.west, box.east, side)
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("lat", "lon"))
        table.writerows((round(lat, 7), round(lon, 7)) for lat, lon in rows)
    return path.name


def _between(low: float, high: float, number: int) -> list[float]:
    return [float(value) for value in low + (np.arange(number) + 0.5) / number * (high - low)]


def _features(path: Path, kind: str, shapes: Mapping[str, Any]) -> str:
    features = [
        {"type": "Feature", "properties": {"name": name}, "geometry": {"type": kind, "coordinates": points}}
        for name, points in shapes.items()
    ]
    path.write_text(
        json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False), "utf-8"
    )
    return path.name


def _made_streets(folder: Path, box: Bounds, rows: int = 9) -> str:
    """Lines from west to east, as many as rows of places."""
    lines = {
        f"Row {number} Street": [[box.west, lat], [box.east, lat]]
        for number, lat in enumerate(_between(box.south, box.north, rows), start=1)
    }
    return _features(folder / "streets.geojson", "LineString", lines)


def _made_districts(folder: Path, box: Bounds) -> str:
    middle = box.centre.lon
    areas = {}
    for name, west, east in (("West", box.west, middle), ("East", middle, box.east)):
        ring = [(west, box.south), (east, box.south), (east, box.north), (west, box.north), (west, box.south)]
        areas[name] = [[list(point) for point in ring]]
    return _features(folder / "districts.geojson", "Polygon", areas)


def _stuttgart(data: Path, folder: Path) -> dict[str, Any]:
    source = data / "stuttgart_streetscapes"
    photos, streets, districts = _existing(
        source / "views.csv",
        source / "osm_streets_stuttgart.geojson",
        Path("examples/stuttgart/districts.geojson"),
    )
    columns = {"location": "location_uuid"}
    return {
        "name": "Stuttgart", "photos": photos, "streets": streets, "districts": districts, "columns": columns,
        "attribution": "Mapillary contributors, Global Streetscapes, OpenStreetMap contributors",
    }  # fmt: skip


def _berlin(data: Path, folder: Path) -> dict[str, Any]:
    source = data / "berlin_vectors"
    (districts,) = _existing(source / "click_that_hood_berlin.geojson")
    streets = _unpacked(source / "berlin_checkpoint_charlie.osm.gz", folder / "berlin.osm")
    box = Bounds(13.3857, 52.5056, 13.4002, 52.5130)
    return {**_places(folder, box), "name": "Berlin", "streets": streets, "districts": districts}


def _sofia(data: Path, folder: Path) -> dict[str, Any]:
    streets = _unpacked(data / "berlin_vectors" / "sofia_center.osm.gz", folder / "sofia.osm")
    box = Bounds(23.31681, 42.69587, 23.32701, 42.70048)
    more = {"districts_from_points_m": 3000, "streets_name_field": "name:en | name"}
    return {**_places(folder, box), **more, "name": "Sofia", "streets": streets, "districts": streets}


def _san_francisco(
    streets: str, districts: str, *, converted: bool = False
) -> Callable[[Path, Path], dict[str, Any]]:
    """The places of SF-XL; `converted`: its vectors as GeoPackage and GeoParquet."""

    def prepare(data: Path, folder: Path) -> dict[str, Any]:
        lists = data / "vpr_name_lists"
        names = [
            name
            for part in ("val_database", "val_queries", "test_queries")
            for name in gzip.decompress((lists / f"sf_xs_{part}.txt.gz").read_bytes()).decode().splitlines()
        ]
        (folder / "names.txt").write_text("\n".join(names) + "\n", "utf-8")
        lines, areas = _existing(data / "sf_vectors" / streets, data / "sf_vectors" / districts)
        if converted:
            if not (folder / "districts.parquet").exists():  # a GeoPackage holds the time it was written
                gpd.read_file(lines).to_file(folder / "streets.gpkg")
                gpd.read_file(areas).to_parquet(folder / "districts.parquet")
            lines, areas = "streets.gpkg", "districts.parquet"
        return {
            "name": "San Francisco", "photos": "names.txt", "images": False,
            "streets": lines, "districts": areas,
        }  # fmt: skip

    return prepare


def _tokyo(data: Path, folder: Path) -> dict[str, Any]:
    """The chome of all wards as points; for lines, which are not at hand, the walks themselves."""
    source = data / "tokyo_vectors"
    walks = pd.read_csv(source / "geophotos" / "photos_db.csv").sort_values("timestamp")
    lines = {
        str(name): [[[lon, lat] for lon, lat in zip(walk["lon"], walk["lat"], strict=True)]]
        for name, walk in walks.groupby("neighborhood_name_ja")
    }
    points = [
        {"ward": file.stem, **row}
        for file in sorted((source / "chome_points").glob("*.json"))
        for row in json.loads(file.read_text("utf-8"))
    ]
    pd.DataFrame(points).to_csv(folder / "chome.csv", index=False)
    walks[["lat", "lon", "timestamp"]].to_csv(folder / "places.csv", index=False)
    return {
        "name": "Tokyo", "photos": "places.csv", "images": False, "levels": ["chome", "street"],
        "streets": _features(folder / "walks.geojson", "MultiLineString", lines), "districts": "chome.csv",
        "districts_name_field": "ward + town", "districts_from_points_m": 600,
    }  # fmt: skip


def _pittsburgh(data: Path, folder: Path) -> dict[str, Any]:
    (districts,) = _existing(data / "pittsburgh_vectors" / "click_that_hood_pittsburgh.geojson")
    box = Bounds(-80.02, 40.43, -79.93, 40.47)
    aliases = {"Central Business District": "Downtown", "Bluff": "Uptown"}
    streets = _made_streets(folder, box, 30)
    return {
        **_places(folder, box), "name": "Pittsburgh", "streets": streets, "districts": districts,
        "district_aliases": aliases,
    }  # fmt: skip


def _vegas(data: Path, folder: Path) -> dict[str, Any]:
    source = data / "aerial_samples" / "spacenet_vegas"
    streets, picture = _existing(
        source / "AOI_2_Vegas_img0_roads.geojson", source / "RGB-PanSharpen_AOI_2_Vegas_img0.tif"
    )
    box = Bounds(-115.1706, 36.2371, -115.1671, 36.2406)
    return {
        **_places(folder, box), "name": "Las Vegas", "streets": streets, "streets_name_field": "road_id",
        "districts": _made_districts(folder, box), "satellite": picture, "map_side_m": 150,
        "attribution": "SpaceNet, Maxar (CC BY-SA 4.0)",
    }  # fmt: skip


def _kampala(data: Path, folder: Path) -> dict[str, Any]:
    template = str((data / "aerial_samples" / "oam_kampala_xyz").resolve() / "OAM-{x}-{y}-{z}.png")
    tile = mercantile.bounds(619226, 523265, 20)
    box = Bounds(tile.west - 0.0003, tile.south - 0.0003, tile.east + 0.0003, tile.north + 0.0003)
    return {
        **_places(folder, box, 5), "name": "Kampala", "streets": _made_streets(folder, box, 5),
        "districts": _made_districts(folder, box), "satellite": template, "map_side_m": 60,
        "attribution": "OpenAerialMap contributors (CC BY 4.0)",
    }  # fmt: skip


def _kampala_mbtiles(data: Path, folder: Path) -> dict[str, Any]:
    """The same tiles in one file."""
    keys = _kampala(data, folder)
    tiles = XYZTiles(keys["satellite"])
    path = folder / "kampala.mbtiles"
    if not path.exists():
        file = sqlite3.connect(path)
        with file:
            file.execute("CREATE TABLE metadata (name text, value text)")
            file.execute("INSERT INTO metadata VALUES ('format', 'png')")
            file.execute(
                "CREATE TABLE tiles (zoom_level integer, tile_column integer, tile_row integer, tile_data)"
            )
            rows = ((z, x, 2**z - 1 - y, tiles.read((z, x, y))) for z, x, y in sorted(tiles.tiles))
            file.executemany("INSERT INTO tiles VALUES (?, ?, ?, ?)", rows)
        file.close()
    return {**keys, "satellite": path.name}


def _whitney(data: Path, folder: Path) -> dict[str, Any]:
    (tiles,) = _existing(data / "aerial_samples" / "usgs-mt-whitney-8-15-webp-512.pmtiles")
    box = Bounds(-118.31, 36.57, -118.27, 36.59)
    return {
        **_places(folder, box, 9), "name": "Mount Whitney", "streets": _made_streets(folder, box),
        "districts": _made_districts(folder, box), "satellite": tiles, "map_side_m": 1200,
        "attribution": "USGS (public domain)",
    }  # fmt: skip


def _places(folder: Path, box: Bounds, side: int = 30) -> dict[str, Any]:
    return {"photos": _grid(folder / "places.csv", box, side), "images": False, "radius_m": 30}


_GRID, _LINES = "grid of places", "made-up lines"
_SF = "file names of SF-XL"
CITIES = (
    RealCity("stuttgart", "118 photos, CSV", "OSM, GeoJSON", "5 areas by hand, GeoJSON", "drawn", _stuttgart),
    RealCity("berlin", _GRID, "OSM, .osm", "97 official areas, GeoJSON", "drawn", _berlin),
    RealCity("sofia", _GRID, "OSM, .osm, Cyrillic", "points of the same .osm", "drawn", _sofia),
    RealCity(
        "san-francisco", _SF, "official centre lines, GeoJSON", "37 planning areas, GeoJSON", "drawn",
        _san_francisco("sf_street_centerlines.geojson", "click_that_hood_san-francisco.geojson"),
    ),
    RealCity(
        "san-francisco-117", _SF, "the same, GeoPackage", "117 neighbourhoods, GeoParquet", "drawn",
        _san_francisco(
            "sf_street_centerlines.geojson", "SF_Neighborhoods_with_wikipedia.geojson", converted=True
        ),
    ),
    RealCity(
        "mission-osm", _SF, "OSM, .osm (a corner of the city)", "37 planning areas, GeoJSON", "drawn",
        _san_francisco("sf_mission_sample.osm", "click_that_hood_san-francisco.geojson"),
    ),
    RealCity("tokyo", "1,832 places of walks", "the walks themselves", "chome points, CSV", "drawn", _tokyo),
    RealCity("pittsburgh", _GRID, _LINES, "90 official areas, GeoJSON", "drawn", _pittsburgh),
    RealCity("las-vegas", _GRID, "SpaceNet roads, GeoJSON, ids for names", "two halves", "GeoTIFF", _vegas),
    RealCity("kampala", _GRID, _LINES, "two halves", "XYZ folder with holes", _kampala),
    RealCity("kampala-mbtiles", _GRID, _LINES, "two halves", "MBTiles", _kampala_mbtiles),
    RealCity("mount-whitney", _GRID, _LINES, "two halves", "PMTiles", _whitney),
)  # fmt: skip

"""Reverse geocoding side by side with `geopandas.sjoin_nearest`: points a second, and the same answers."""

import resource
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely

from addressvlm.environment import environment
from addressvlm.experiments.results import publish
from addressvlm.folders import write_atomically
from addressvlm.geo.geocoding import Geocoder
from addressvlm.geo.reading import read_districts, read_streets
from addressvlm.geo.streets import StreetMap, street_map
from addressvlm.work import track

Floats = npt.NDArray[np.float64]

_AT_ONCE = 1_000_000
_RADIUS_M = 30.0
_SPREAD_M = 12.0  # how far points lie from their streets: some have no street within the radius
_SAME_M = 0.02  # distances that differ less are a tie


def bench_geocoding(
    streets: Path, districts: Path, *, points: int = 10_000_000, compared: int = 50_000, seed: int = 0
) -> dict[str, Any]:
    """Geocode random points near the streets of a map, and some of them by geopandas, too.

    Rates are of one core. `memory_growth_mb` is how much the process grew from the first million points on.
    """
    city = street_map(read_streets(streets), read_districts(districts))
    begun = time.perf_counter()
    geocoder = Geocoder(city, radius_m=_RADIUS_M)
    prepared_s = time.perf_counter() - begun
    geocoder.codes(*next(_points(city, 1000, seed)))  # compiled before anything is timed
    seconds = 0.0
    found = corners = done = 0
    peak_mb: list[float] = []
    for lat, lon in track(_points(city, points, seed), "millions of points", -(-points // _AT_ONCE)):
        begun = time.perf_counter()
        codes = geocoder.codes(lat, lon)
        seconds += time.perf_counter() - begun
        done += len(lat)
        found += int((codes.reason == 0).sum())
        corners += int((codes.margin_m < 10.0).sum())
        peak_mb.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return {
        "streets": len(city.streets),
        "pieces": int(shapely.get_num_geometries(city.streets.geometry.to_numpy()).sum()),
        "districts": len(city.districts),
        "points": done,
        "prepared_s": prepared_s,
        "points_a_second": done / seconds,
        "with_an_address": found / done,
        "within_10_m_of_a_second_street": corners / done,
        "memory_growth_mb": peak_mb[-1] - peak_mb[0],
        "geopandas": _compared(city, geocoder, compared, seed),
        **environment(),
    }


def bench_geo_table(result: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    other = result["geopandas"]
    return "\n".join(
        [
            f"{result['points']:,} points, {result['streets']} streets of {result['pieces']} pieces, "
            f"{result['districts']} districts; one core, prepared in {result['prepared_s']:.1f} s.",
            "",
            "| | points a second |",
            "|---|---|",
            f"| street, second street and district | {result['points_a_second']:,.0f} |",
            f"| the same points as geopandas got | {other['ours_a_second']:,.0f} |",
            f"| `geopandas.sjoin_nearest`, the nearest street alone | {other['points_a_second']:,.0f} |",
            "",
            f"Faster by {other['ours_a_second'] / other['points_a_second']:.0f}; {100 * other['same']:.3f} % "
            f"of {other['points']:,} nearest streets are the same, ties aside. Memory grew by "
            f"{result['memory_growth_mb']:.0f} MB after the first million points.",
            "",
        ]
    )


def publish_bench_geo(result: Mapping[str, Any], folder: Path, command: str) -> None:
    """Write bench-geocode.json and bench-geocode.md into a folder."""
    publish(dict(result), folder / "bench-geocode.json", command)
    with write_atomically(folder / "bench-geocode.md") as temporary:
        temporary.write_text(bench_geo_table(result), "utf-8")


def _points(city: StreetMap, number: int, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """Random points near streets, as lat and lon, a million at a time."""
    dice = np.random.default_rng(seed)
    lines = city.streets.geometry.to_crs(city.projection.crs).to_numpy()
    along = shapely.get_coordinates(shapely.segmentize(lines, 10.0))
    for begin in range(0, number, _AT_ONCE):
        size = min(_AT_ONCE, number - begin)
        near = along[dice.integers(0, len(along), size)] + dice.normal(0, _SPREAD_M, (size, 2))
        yield city.projection.to_latlon(near[:, 0], near[:, 1])


def _compared(city: StreetMap, geocoder: Geocoder, number: int, seed: int) -> dict[str, Any]:
    """The nearest street by geopandas: single pieces of street, one row each, which is its fastest way."""
    lat, lon = next(_points(city, number, seed + 1))
    begun = time.perf_counter()
    codes = geocoder.codes(lat, lon)
    ours_s = time.perf_counter() - begun
    plane = city.projection.crs
    pieces = city.streets[["name", "geometry"]].explode(index_parts=False).to_crs(plane)
    begun = time.perf_counter()
    points = gpd.GeoDataFrame(geometry=gpd.points_from_xy(lon, lat), crs="EPSG:4326").to_crs(plane)
    joined = points.sjoin_nearest(pieces, max_distance=_RADIUS_M, distance_col="m")
    theirs_s = time.perf_counter() - begun
    nearest = joined.sort_values(["m", "name"], kind="stable")
    nearest = nearest[~nearest.index.duplicated()].reindex(range(number))
    names = np.array([*city.streets["name"], None], object)[codes.street]
    same = (names == nearest["name"].to_numpy(object)) | (np.abs(codes.street_m - nearest["m"]) < _SAME_M)
    neither = (codes.street < 0) & nearest["m"].isna().to_numpy()
    return {
        "points": number,
        "points_a_second": number / theirs_s,
        "ours_a_second": number / ours_s,
        "same": float((same.to_numpy() | neither).mean()),
    }

import gzip
import json
from pathlib import Path

import pytest

from addressvlm.cities.cityfile import read_city_file
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.experiments.realcities import (
    publish_real_cities,
    real_cities_table,
    run_real_cities,
    write_toml,
)

# A street of 1.1 km along a meridian; file names 8 m beside it, at its corner, far out at sea, and spoilt.
NAMES = [
    "database/@0550000.00@4180000.00@10@S@037.76000@-122.43009@@@90@@@@201311@@.jpg",
    "database/@0550000.00@4180000.00@10@S@037.76299@-122.43000@@@180@@@@201311@@.jpg",
    "queries/@0550000.00@4180000.00@10@S@037.76000@-122.60000@@@@@@@@@.jpg",
    "queries/@x@@@.jpg",
]


def feature(name: str, kind: str, points: object) -> dict[str, object]:
    return {
        "type": "Feature",
        "properties": {"name": name},
        "geometry": {"type": kind, "coordinates": points},
    }


def with_utm(name: str) -> str:
    """The same name with the UTM fields that belong to its degrees."""
    import pyproj

    fields = name.split("@")
    if len(fields) < 7:
        return name
    to_utm = pyproj.Transformer.from_crs(4326, 32610, always_xy=True)
    east, north = to_utm.transform(float(fields[6]), float(fields[5]))
    return "@".join([fields[0], f"{east:.2f}", f"{north:.2f}", *fields[3:]])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The files of San Francisco, of a single crossing."""
    folder = tmp_path / "data"
    lines = {
        "03RD ST": [[-122.43, 37.755], [-122.43, 37.765]],
        "PENN AVE": [[-122.44, 37.763], [-122.42, 37.763]],
    }
    area = [[[-122.5, 37.7], [-122.4, 37.7], [-122.4, 37.8], [-122.5, 37.8], [-122.5, 37.7]]]
    streets = [feature(name, "LineString", line) for name, line in lines.items()]
    for path, features in (
        ("sf_vectors/sf_street_centerlines.geojson", streets),
        ("sf_vectors/click_that_hood_san-francisco.geojson", [feature("Mission", "Polygon", area)]),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    (folder / "vpr_name_lists").mkdir()
    for part, names in (("val_database", NAMES[:2]), ("val_queries", NAMES[2:]), ("test_queries", [])):
        text = "\n".join(with_utm(name) for name in names)
        (folder / "vpr_name_lists" / f"sf_xs_{part}.txt.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def test_a_city_of_real_files_is_measured(data: Path, tmp_path: Path) -> None:
    result = run_real_cities(data, tmp_path / "out", names=["san-francisco", "berlin"], workers=1)
    city = result["cities"]["san-francisco"]
    assert (city["offered"], city["photos"]) == (4, 2)
    assert (city["streets"], city["streets_with_photos"]) == (2, 1)
    assert city["median_street_m"] == pytest.approx((7.9 + 0.0) / 2, abs=0.1)
    assert city["corners_percent"] == 50
    assert result["absent"].keys() == {"berlin"}
    publish_real_cities(result, tmp_path / "results", "addressvlm reproduce cities")
    assert "| san-francisco |" in (tmp_path / "results" / "cities.md").read_text()
    assert "Not built: berlin" in real_cities_table(result)


def test_seconds_are_those_of_the_build_and_not_of_looking_again(data: Path, tmp_path: Path) -> None:
    first, second = (
        run_real_cities(data, tmp_path / "out", names=["san-francisco"], workers=1)["cities"]
        for _ in range(2)
    )
    assert first == second


def test_a_city_that_does_not_exist_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no real city 'atlantis'; there are stuttgart, berlin"):
        run_real_cities(data, tmp_path / "out", names=["atlantis"])


def test_a_folder_without_any_of_the_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match="holds the files of none of"):
        run_real_cities(tmp_path, tmp_path / "out", names=["berlin"])


def test_keys_are_written_as_toml(data: Path, tmp_path: Path) -> None:
    for name in ("streets.geojson", "districts.geojson", "photos.csv"):
        (tmp_path / name).touch()
    keys = {
        "name": "Tôkyô \"東京\"", "photos": "photos.csv", "streets": "streets.geojson",
        "districts": "districts.geojson", "images": False, "levels": ["chome", "street"], "radius_m": 12.5,
        "columns": {"location": "place id"},
    }  # fmt: skip
    write_toml(tmp_path / "city.toml", keys)
    file = read_city_file(tmp_path / "city.toml")
    assert (file.name, file.images, file.radius_m) == ('Tôkyô "東京"', False, 12.5)
    assert (file.levels, file.columns) == (("chome", "street"), {"location": "place id"})

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from smalltown import picture, write_toml

from addressvlm.cities.build import build_city
from addressvlm.cities.photojson import photos_in_json
from addressvlm.cities.photos import Offer
from addressvlm.errors import AddressVLMError, UsageError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "mapillary_florianopolis"

# As mapillary_tools writes them.
DESCRIPTION = {
    "filename": "1.jpg",
    "filetype": "image",
    "MAPLatitude": 45.0025,
    "MAPLongitude": 9.0001,
    "MAPCaptureTime": "2021_02_13_13_24_41_140",
    "MAPCompassHeading": {"TrueHeading": 271.5, "MagneticHeading": 270.0},
    "md5sum": "0",
}
FAILED = {"error": {"type": "MapillaryGeoTaggingError", "message": "no GPS"}, "filename": "2.jpg"}
# As the API gives them.
METADATA = {
    "id": "498",
    "geometry": {"type": "Point", "coordinates": [9.0, 45.0]},
    "computed_geometry": {"type": "Point", "coordinates": [9.0001, 45.0025]},
    "compass_angle": 10.0,
    "computed_compass_angle": 12.5,
    "captured_at": 1562347868720,
}
FEATURE = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [9.0001, 45.0025]},
    "properties": {"file": "1.jpg", "heading": 90, "location": "corner", "time": "2020-01-01"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("1.jpg", "images/498.jpg"):
        picture(0).save(tmp_path / name)
    return tmp_path


def read(folder: Path, content: Any, **options: bool) -> list[Offer]:
    (folder / "photos.json").write_text(json.dumps(content), "utf-8")
    return photos_in_json(folder / "photos.json", **options)


def test_an_image_description_tells_place_heading_and_time(folder: Path) -> None:
    (offer,) = read(folder, [DESCRIPTION])
    assert offer.path == folder / "1.jpg"
    assert (offer.lat, offer.lon, offer.heading_deg) == (45.0025, 9.0001, 271.5)
    assert (offer.time, offer.reason) == ("2021-02-13T13:24:41.140", "")


def test_the_magnetic_heading_is_better_than_none(folder: Path) -> None:
    (offer,) = read(folder, [{**DESCRIPTION, "MAPCompassHeading": {"MagneticHeading": 270.0}}])
    assert offer.heading_deg == 270


def test_what_mapillary_could_not_read_is_rejected_with_its_reason(folder: Path) -> None:
    failed = read(folder, [DESCRIPTION, FAILED])[1]
    assert (failed.source, failed.reason) == ("2.jpg", "mapillary_tools could not read it: no GPS")


@pytest.mark.parametrize("content", [[METADATA], {"data": [METADATA]}, {"sequence": [METADATA]}])
def test_metadata_of_the_api_is_read_in_every_wrapping(folder: Path, content: Any) -> None:
    (offer,) = read(folder, content)
    assert offer.path == folder / "images" / "498.jpg"
    assert (offer.lat, offer.lon, offer.heading_deg) == (45.0025, 9.0001, 12.5)
    assert (offer.time, offer.reason) == ("2019-07-05T17:31:08.720+00:00", "")


def test_without_computed_places_those_of_the_camera_are_taken(folder: Path) -> None:
    raw = {key: value for key, value in METADATA.items() if not key.startswith("computed")}
    (offer,) = read(folder, [raw])
    assert (offer.lat, offer.lon, offer.heading_deg) == (45.0, 9.0, 10.0)


def test_a_geojson_point_is_a_row(folder: Path) -> None:
    (offer,) = read(folder, {"type": "FeatureCollection", "features": [FEATURE]})
    assert (offer.source, offer.lat, offer.lon, offer.heading_deg) == ("1.jpg", 45.0025, 9.0001, 90)
    assert (offer.location, offer.time, offer.reason) == ("corner", "2020-01-01", "")


def test_entries_without_place_or_file_say_so(folder: Path) -> None:
    nowhere, gone, unnamed = read(
        folder,
        [
            {"filename": "1.jpg"},
            {**METADATA, "id": "499"},
            {"lat": 45, "lon": 9},
        ],
    )
    assert math.isnan(nowhere.lat)
    assert (gone.source, gone.reason) == ("499.jpg", "there is no such file")
    assert (unnamed.source, unnamed.reason) == ("photos.json:3", "no file is named")


def test_places_need_no_files(folder: Path) -> None:
    offers = read(folder, [{"lat": 45, "lon": 9}, {**METADATA, "id": "499"}], images=False)
    assert [offer.reason for offer in offers] == ["", ""]
    assert [offer.source for offer in offers] == ["photos.json:1", "499"]


@pytest.mark.parametrize(
    "content", [{}, [], 3, "text", [1, 2], {"features": []}, {"type": "Feature"}, {"data": ["x"]}]
)
def test_json_without_photos_is_an_error(folder: Path, content: Any) -> None:
    with pytest.raises(AddressVLMError, match=r"photos\.json holds no photos"):
        read(folder, content)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff"])
def test_what_is_no_json_is_an_error(folder: Path, text: str) -> None:
    (folder / "photos.json").write_text(text, "latin-1")
    with pytest.raises(AddressVLMError, match="cannot be read as JSON|holds no photos"):
        photos_in_json(folder / "photos.json")


def test_a_city_takes_photos_of_a_json(town: Path, tmp_path: Path) -> None:
    entries = [
        {**DESCRIPTION, "filename": f"{number}.jpg", "MAPLatitude": 45.0 + number / 1000}
        for number in range(3)
    ]
    (town / "photos.json").write_text(json.dumps([*entries, FAILED]))
    summary = build_city(write_toml(town, 'photos = "photos.json"'), tmp_path / "out", workers=1)
    assert (summary["photos"], summary["rejected"]) == (3, {"mapillary_tools could not read it": 1})
    assert pd.read_parquet(tmp_path / "out" / "photos.parquet")["heading_deg"].tolist() == [271.5] * 3


@pytest.mark.parametrize("key", ["filename", "MAPCaptureTime", "location"])
def test_a_text_that_cannot_be_written_rejects_its_photo_alone(town: Path, tmp_path: Path, key: str) -> None:
    good = {**DESCRIPTION, "filename": "0.jpg"}
    (town / "photos.json").write_text(json.dumps([good, {**DESCRIPTION, key: "half a letter: \ud83d"}]))
    summary = build_city(write_toml(town, 'photos = "photos.json"'), tmp_path / "out", workers=1)
    assert (summary["photos"], sum(summary["rejected"].values())) == (1, 1)


def test_columns_are_for_a_csv(town: Path, tmp_path: Path) -> None:
    (town / "photos.json").write_text(json.dumps([DESCRIPTION]))
    with pytest.raises(UsageError, match="columns are for a CSV"):
        build_city(write_toml(town, 'photos = "photos.json"', "[columns]", 'lat = "y"'), tmp_path / "out")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample data is not here")
def test_real_metadata_finds_its_pictures() -> None:
    offers = photos_in_json(SHARED / "metadata.json")
    assert len(offers) == 12
    assert [offer.reason for offer in offers] == [""] * 12
    assert all(-27.6 < offer.lat < -27.5 and offer.time for offer in offers)

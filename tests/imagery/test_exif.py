import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from addressvlm.errors import AddressVLMError
from addressvlm.geo.places import LatLon
from addressvlm.imagery.exif import ExifPlace, read_exif

GPS = ExifTags.GPS
NOTHING = ExifPlace(None, None, None)
STUTTGART = {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (48.0, 46.0, 12.0), GPS.GPSLongitudeRef: "E"}
STUTTGART |= {GPS.GPSLongitude: (9.0, 10.0, 30.0)}

Photo = Callable[..., Path]


@pytest.fixture
def photo(tmp_path: Path) -> Photo:
    """A small JPEG with these GPS and camera tags."""

    def write(gps: dict[int, Any] | None = None, camera: dict[int, Any] | None = None) -> Path:
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps or {})
        exif.get_ifd(ExifTags.IFD.Exif).update(camera or {})
        Image.new("RGB", (8, 8)).save(tmp_path / "photo.jpg", exif=exif)
        return tmp_path / "photo.jpg"

    return write


def test_degrees_minutes_and_seconds_become_degrees(photo: Photo):
    point = read_exif(photo(STUTTGART)).point
    assert point == LatLon(pytest.approx(48.77), pytest.approx(9.175))


def test_south_and_west_are_negative(photo: Photo):
    there = STUTTGART | {GPS.GPSLatitudeRef: "S", GPS.GPSLongitudeRef: "W"}
    assert read_exif(photo(there)).point == LatLon(pytest.approx(-48.77), pytest.approx(-9.175))


def test_zero_zero_is_a_point_and_left_to_the_caller(photo: Photo):
    zero = (0.0, 0.0, 0.0)
    assert read_exif(photo(STUTTGART | {GPS.GPSLatitude: zero, GPS.GPSLongitude: zero})).point == LatLon(0, 0)


@pytest.mark.parametrize(
    "broken",
    [
        {GPS.GPSLatitude: (IFDRational(0, 0), IFDRational(0, 0), IFDRational(0, 0))},
        {GPS.GPSLatitude: (90.0, 0.0, 1.0)},
        {GPS.GPSLongitude: (181.0, 0.0, 0.0)},
        {GPS.GPSLatitudeRef: ""},
        {GPS.GPSLatitudeRef: "X"},
        {GPS.GPSLongitudeRef: "N"},
    ],
    ids=["0/0", "above 90", "above 180", "no hemisphere", "unknown hemisphere", "wrong hemisphere"],
)
def test_a_broken_coordinate_is_no_point(photo: Photo, broken: dict[int, Any]):
    place = read_exif(photo(STUTTGART | broken | {GPS.GPSImgDirection: 10.0}))
    assert place == ExifPlace(None, 10.0, None)


@pytest.mark.parametrize("tag", list(STUTTGART))
def test_a_missing_part_of_a_coordinate_is_no_point(photo: Photo, tag: int):
    assert read_exif(photo({key: value for key, value in STUTTGART.items() if key != tag})).point is None


@pytest.mark.parametrize(
    ("written", "heading"),
    [(0.0, 0), (271.5, 271.5), (360.0, 0), (361.0, None), (IFDRational(7, 0), None)],
)
def test_a_heading_lies_between_north_and_north(photo: Photo, written: Any, heading: float | None):
    assert read_exif(photo({GPS.GPSImgDirection: written})).heading_deg == heading


def test_the_direction_of_movement_is_no_heading(photo: Photo):
    assert read_exif(photo({GPS.GPSTrack: 90.0})).heading_deg is None


@pytest.mark.parametrize(
    ("written", "offset", "time"),
    [
        ("2021:02:13 13:24:41", None, "2021-02-13T13:24:41"),
        ("2021:02:13 13:24:41.123", "+09:00", "2021-02-13T13:24:41+09:00"),
        ("2021:02:13 13:24:41", "   :  ", "2021-02-13T13:24:41"),
        ("0000:00:00 00:00:00", None, None),
        ("yesterday", None, None),
        ("    :  :     :  :  ", None, None),
    ],
)
def test_time_is_iso_8601(photo: Photo, written: str, offset: str | None, time: str | None):
    camera = {ExifTags.Base.DateTimeOriginal: written}
    if offset is not None:
        camera[ExifTags.Base.OffsetTimeOriginal] = offset
    assert read_exif(photo(camera=camera)).time == time


def test_a_photo_without_exif_has_nothing(tmp_path: Path):
    for name in ("a.jpg", "a.png", "a.webp"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
        assert read_exif(tmp_path / name) == NOTHING


def test_png_and_webp_carry_exif_too(photo: Photo, tmp_path: Path):
    with Image.open(photo(STUTTGART)) as image:
        exif = image.getexif()
    for name in ("a.png", "a.webp"):
        Image.new("RGB", (8, 8)).save(tmp_path / name, exif=exif)
        assert read_exif(tmp_path / name).point == LatLon(pytest.approx(48.77), pytest.approx(9.175))


def test_what_is_no_image_is_an_error(tmp_path: Path):
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(AddressVLMError, match="is not a JPEG, PNG or WebP image"):
        read_exif(tmp_path / "a.jpg")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wrong=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=12))
def test_corrupt_exif_never_raises(photo: Photo, wrong: list[tuple[int, int]]):
    path = photo(
        STUTTGART | {GPS.GPSImgDirection: 10.0}, {ExifTags.Base.DateTimeOriginal: "2021:02:13 13:24:41"}
    )
    data = bytearray(path.read_bytes())
    start = data.index(b"Exif\0\0") + 6
    (length,) = struct.unpack(">H", data[start - 8 : start - 6])
    for place, value in wrong:
        data[start + place % (length - 8)] = value
    path.write_bytes(data)
    place = read_exif(path)
    assert place.point is None or abs(place.point.lat) <= 90
    assert place.heading_deg is None or 0 <= place.heading_deg < 360


def test_real_specimens_are_read(shared: Path):
    folder = shared / "exif_samples"
    action_camera = read_exif(folder / "DSC00001.JPG")
    assert action_camera.point == LatLon(
        pytest.approx(45.516903, abs=1e-6), pytest.approx(-122.572765, abs=1e-6)
    )
    assert action_camera.time == "2018-06-08T13:24:10-07:00"
    assert read_exif(folder / "corrupt_exif.jpg") == read_exif(folder / "fixed_exif.jpg")
    assert read_exif(folder / "fixed_exif.jpg").heading_deg == pytest.approx(147.96, abs=0.01)
    assert read_exif(folder / "test_exif.jpg").point == LatLon(
        pytest.approx(35.91252), pytest.approx(14.49881)
    )
    assert read_exif(folder / "empty_exif.jpg") == NOTHING


XMP = '<x exif:GPSLatitude="{}" exif:GPSLongitude="34,22.91611E" exif:GPSImgDirection="1763/10"/>'


@pytest.mark.parametrize(("angle", "lat"), [("0,4.21601S", -0.0702668), ("45,30,36N", 45.51)])
def test_without_exif_the_place_of_the_xmp_counts(tmp_path: Path, angle: str, lat: float):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", xmp=XMP.format(angle).encode())
    place = read_exif(tmp_path / "a.jpg")
    assert place.point == LatLon(pytest.approx(lat), pytest.approx(34.3819352))
    assert place.heading_deg == 176.3


@pytest.mark.parametrize("angle", ["91,0.0N", "45,1.2.3N", "45,30E", "45.5", "x", ""])
def test_a_place_that_cannot_be_is_none(tmp_path: Path, angle: str):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", xmp=XMP.format(angle).encode())
    assert read_exif(tmp_path / "a.jpg") == NOTHING


def test_parts_of_a_second_are_kept(photo: Photo):
    camera = {ExifTags.Base.DateTimeOriginal: "2024:05:31 12:00:01", ExifTags.Base.SubsecTimeOriginal: "25"}
    assert read_exif(photo(camera=camera)).time == "2024-05-31T12:00:01.250"

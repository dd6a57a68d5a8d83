import math
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image
from smalltown import picture, write_toml

from addressvlm.cities.build import build_city
from addressvlm.cities.ontrack import Clock, placed_on_track
from addressvlm.cities.photos import NO_GPS, Offer
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.geo.tracks import Track

UTC = Clock(ZoneInfo("UTC"))
NOON = UTC.seconds("2024-05-01T12:00:00")
# Up First Street for 100 s, 11 m every second.
TRACK = Track(NOON + np.arange(101.0), 45 + 0.0001 * np.arange(101.0), np.full(101, 9.0))
GPX = """<?xml version="1.0"?><gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1">
<trk><trkseg>{}</trkseg></trk></gpx>"""


def place(offer: Offer, clock: Clock = UTC, camera_deg: float | None = 0.0) -> Offer:
    (placed,) = placed_on_track([offer], TRACK, clock, gap_s=30, camera_deg=camera_deg)
    return placed


def taken_at(time: str | None, **more: object) -> Offer:
    return Offer("a.jpg", time=time, reason=NO_GPS, **more)  # type: ignore[arg-type]


def test_a_photo_without_gps_gets_the_place_of_its_time() -> None:
    offer = place(taken_at("2024-05-01T12:00:10"))
    assert (offer.lat, offer.lon, offer.reason) == (pytest.approx(45.001), 9, "")
    assert offer.heading_deg == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("clock", "time"),
    [
        (UTC, "2024-05-01T14:00:10+02:00"),
        (UTC, "2024-05-01T12:00:10Z"),
        (Clock(ZoneInfo("Europe/Rome")), "2024-05-01T14:00:10"),
        (Clock(ZoneInfo("Europe/Rome")), "2024-05-01T12:00:10Z"),
        (Clock(ZoneInfo("UTC"), 3.5), "2024-05-01T12:00:13.500"),
        (Clock(ZoneInfo("UTC"), -60), "2024-05-01T11:59:10"),
    ],
)
def test_the_zone_and_the_clock_of_the_camera_count(clock: Clock, time: str) -> None:
    assert place(taken_at(time), clock).lat == pytest.approx(45.001)


@pytest.mark.parametrize(("camera_deg", "heading_deg"), [(90, 90), (-90, 270), (180, 180)])
def test_the_camera_may_look_to_the_side(camera_deg: float, heading_deg: float) -> None:
    assert place(taken_at("2024-05-01T12:00:10"), UTC, camera_deg).heading_deg == pytest.approx(heading_deg)


def test_a_hand_held_camera_has_no_heading() -> None:
    assert math.isnan(place(taken_at("2024-05-01T12:00:10"), UTC, None).heading_deg)


def test_the_heading_of_the_photo_itself_stays() -> None:
    assert place(taken_at("2024-05-01T12:00:10", heading_deg=200.0)).heading_deg == 200


@pytest.mark.parametrize(
    "offer",
    [Offer("a.jpg", lat=1.0, lon=2.0, time="2024-05-01T12:00:10"), Offer("a.jpg", reason="is empty")],
)
def test_what_has_a_place_or_another_fault_stays(offer: Offer) -> None:
    assert repr(place(offer)) == repr(offer)  # NaN is not equal to itself


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (None, "has no time for the track"),
        ("noon", "has no time for the track: noon"),
        ("2024-05-01", "has no time for the track: 2024-05-01"),
        ("0001-01-01T00:00:00+23:00", "is outside of the track: which begins 7390"),
        ("2024-05-01T11:59:59", "is outside of the track: which begins 1.0 s later"),
        ("2024-05-01T14:01:40", "is outside of the track: which ended 2.0 hours before"),
    ],
)
def test_what_the_track_does_not_tell_says_why(time: str | None, reason: str) -> None:
    assert place(taken_at(time)).reason.startswith(reason)


def test_a_gap_is_named() -> None:
    track = Track(NOON + np.array([0, 300.0]), np.array([45, 45.001]), np.array([9, 9.0]))
    (offer,) = placed_on_track([taken_at("2024-05-01T12:01:00")], track, UTC, gap_s=30, camera_deg=0)
    assert offer.reason == "is in a gap of the track: of 5.0 minutes"


@pytest.fixture
def ride(town: Path) -> Path:
    """The town with a track up First Street, 1 m every second for a minute, local time two hours ahead."""
    points = "".join(
        f'<trkpt lat="{45 + number / 1e5}" lon="9"><time>2024-05-01T12:00:{number:02}Z</time></trkpt>'
        for number in range(60)
    )
    (town / "ride.gpx").write_text(GPX.format(points))
    return town


def test_a_folder_of_photos_with_times_alone_is_a_city(ride: Path, tmp_path: Path) -> None:
    (ride / "photos").mkdir()
    for number, time in enumerate(("14:00:10", "14:00:40", "15:00:00")):
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"2024:05:01 {time}"
        picture(number).save(ride / "photos" / f"{number}.jpg", exif=exif)
    lines = ('photos = "photos"', 'track = "ride.gpx"', 'track_time_zone = "Europe/Rome"')
    summary = build_city(write_toml(ride, *lines), tmp_path / "out", workers=1)
    photos = pd.read_parquet(tmp_path / "out" / "photos.parquet")
    assert photos["lat"].tolist() == pytest.approx([45.0001, 45.0004])
    assert photos["heading_deg"].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert summary["rejected"] == {"is outside of the track": 1}
    assert "2.jpg,is outside of the track: which ended 59.0 minutes before" in (
        tmp_path / "out" / "rejected.csv"
    ).read_text("utf-8")


def test_a_csv_with_times_needs_no_places(ride: Path, tmp_path: Path) -> None:
    (ride / "photos.csv").write_text("file,time\n0.jpg,2024-05-01T12:00:30Z\n1.jpg,\n")
    toml = write_toml(ride, 'photos = "photos.csv"', 'track = "ride.gpx"')
    summary = build_city(toml, tmp_path / "out", workers=1)
    assert (summary["photos"], summary["rejected"]) == (1, {"has no time for the track": 1})


def test_a_csv_without_times_is_told_so(ride: Path, tmp_path: Path) -> None:
    (ride / "photos.csv").write_text("file,when\n0.jpg,2024-05-01T12:00:30Z\n")
    with pytest.raises(AddressVLMError, match="has no column time; it has file, when"):
        build_city(write_toml(ride, 'photos = "photos.csv"', 'track = "ride.gpx"'), tmp_path / "out")


def test_another_track_is_another_config(ride: Path, tmp_path: Path) -> None:
    (ride / "photos.csv").write_text("file,time\n0.jpg,2024-05-01T12:00:30Z\n")
    toml = write_toml(ride, 'photos = "photos.csv"', 'track = "ride.gpx"')
    build_city(toml, tmp_path / "out", workers=1)
    (ride / "ride.gpx").write_text((ride / "ride.gpx").read_text().replace("45.0001", "45.0002"))
    with pytest.raises(UsageError, match="track_sha256"):
        build_city(toml, tmp_path / "out", workers=1)


def test_a_zone_that_does_not_exist_is_refused(ride: Path, tmp_path: Path) -> None:
    toml = write_toml(ride, 'photos = "."', 'track = "ride.gpx"', 'track_time_zone = "../Rome"')
    with pytest.raises(UsageError, match='track_time_zone is a time zone such as "Europe/Berlin"'):
        build_city(toml, tmp_path / "out")

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from addressvlm.errors import AddressVLMError
from addressvlm.geo.tracks import Track, along, read_track

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "exif_samples" / "sf_30km_h.gpx"
NOON = 1_714_564_800.0  # 2024-05-01T12:00:00Z
HEAD = '<?xml version="1.0"?><gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1">'


def gpx(*segments: Sequence[tuple[float, float, str]]) -> str:
    points = (
        "".join(f'<trkpt lat="{lat}" lon="{lon}"><time>{time}</time></trkpt>' for lat, lon, time in segment)
        for segment in segments
    )
    return HEAD + "<trk>" + "".join(f"<trkseg>{some}</trkseg>" for some in points) + "</trk></gpx>"


def north(steps: Sequence[float], step_lat: float = 0.0001) -> Track:
    """A walk to the north: a point at each of the steps (seconds), 11 m a second."""
    seconds = np.array(steps, float)
    return Track(NOON + seconds, 45 + step_lat * seconds, np.full(len(seconds), 9.0))


def test_points_are_read_with_their_times_in_utc(tmp_path: Path) -> None:
    text = gpx([(45, 9, "2024-05-01T12:00:00Z"), (45.1, 9.1, "2024-05-01T14:00:10+02:00")])
    (tmp_path / "ride.gpx").write_text(text)
    track = read_track(tmp_path / "ride.gpx")
    assert (track.seconds - NOON).tolist() == [0, 10]
    assert (track.lat.tolist(), track.lon.tolist()) == ([45, 45.1], [9, 9.1])


def test_the_files_of_a_folder_are_one_track(tmp_path: Path) -> None:
    (tmp_path / "a.gpx").write_text(gpx([(45, 9, "2024-05-02T12:00:00Z")]))
    (tmp_path / "b.GPX").write_text(gpx([(45, 9, "2024-05-01T12:00:00Z")]))
    assert (read_track(tmp_path).seconds - NOON).tolist() == [0, 86_400]


def test_what_has_no_time_or_place_is_left_out(tmp_path: Path) -> None:
    text = gpx([(45, 9, "2024-05-01T12:00:00Z"), (95, 9, "2024-05-01T12:00:01Z")])
    (tmp_path / "ride.gpx").write_text(text.replace("</trkseg>", '<trkpt lat="1" lon="2"/></trkseg>'))
    assert len(read_track(tmp_path / "ride.gpx").seconds) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"ride\.gpx cannot be read as GPX"),
        ("<gpx", "cannot be read as GPX"),
        ('{"type": "FeatureCollection", "features": []}', "cannot be read as GPX|not GPX inside"),
        (HEAD + '<wpt lat="45" lon="9"><time>2024-05-01T12:00:00Z</time></wpt></gpx>', "no track points"),
        (HEAD + '<trk><trkseg><trkpt lat="45" lon="9"/></trkseg></trk></gpx>', "no track points with times"),
    ],
)
def test_what_is_no_track_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "ride.gpx").write_text(text)
    with pytest.raises(AddressVLMError, match=message):
        read_track(tmp_path / "ride.gpx")


def test_an_entity_that_names_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("2024-05-01T12:00:00Z")
    evil = f'<!DOCTYPE gpx [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]>'
    text = gpx([(45, 9, "&e;")]).replace("<gpx", evil + "<gpx", 1)
    (tmp_path / "ride.gpx").write_text(text)
    with pytest.raises(AddressVLMError):
        read_track(tmp_path / "ride.gpx")


def test_entities_that_grow_without_end_are_refused(tmp_path: Path) -> None:
    lines = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    evil = f'<!DOCTYPE gpx [<!ENTITY e0 "2024">{lines}]>'
    (tmp_path / "ride.gpx").write_text(gpx([(45, 9, "&e11;")]).replace("<gpx", evil + "<gpx", 1))
    with pytest.raises(AddressVLMError):
        read_track(tmp_path / "ride.gpx")


def test_an_empty_folder_has_no_track(tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match=r"there is no \.gpx file in"):
        read_track(tmp_path)


def test_two_recordings_of_one_time_are_refused(tmp_path: Path) -> None:
    times = [(45, 9, f"2024-05-01T12:00:{second:02}Z") for second in (0, 10, 20)]
    (tmp_path / "a.gpx").write_text(gpx(times[:2], times[1:]))  # they may meet
    assert len(read_track(tmp_path).seconds) == 3
    (tmp_path / "b.gpx").write_text(gpx(times[1:]))
    with pytest.raises(AddressVLMError, match="two tracks are of the same time: .*; leave one out"):
        read_track(tmp_path)


def test_between_two_points_the_place_is_on_the_line() -> None:
    fixes = along(north([0, 10]), [NOON, NOON + 2.5, NOON + 10])
    assert fixes.lat.tolist() == pytest.approx([45, 45.00025, 45.001])
    assert fixes.lon.tolist() == [9, 9, 9]


def test_outside_and_in_a_gap_there_is_no_place() -> None:
    fixes = along(north([0, 10, 50, 60]), NOON + np.array([-5.0, 0, 10, 30, 50, 61.5]))
    assert np.isfinite(fixes.lat).tolist() == [False, True, True, False, True, False]
    assert fixes.outside_s.tolist() == [5, 0, 0, 0, 0, 1.5]
    assert fixes.gap_s.tolist() == [0, 0, 0, 40, 0, 0]
    assert np.isfinite(along(north([0, 10, 50, 60]), [NOON + 30], most_gap_s=40).lat).all()


@pytest.mark.parametrize(
    ("dlat", "dlon", "heading_deg"), [(1, 0, 0), (0, 1, 90), (-1, 0, 180), (0, -1, 270), (1, 1, 35.4)]
)
def test_the_heading_is_that_of_the_way(dlat: float, dlon: float, heading_deg: float) -> None:
    # At 45 N a degree of longitude is 0.71 of one of latitude: atan(0.71) = 35.4 degrees.
    steps = np.arange(10.0)
    track = Track(NOON + steps, 45 + 0.0001 * dlat * steps, 9 + 0.0001 * dlon * steps)
    difference = along(track, NOON + np.array([0, 4.5, 9])).heading_deg - heading_deg
    assert ((difference + 180) % 360 - 180).tolist() == pytest.approx([0, 0, 0], abs=0.2)


def test_who_stands_has_no_heading() -> None:
    still = along(north([0, 10], step_lat=0.000005), [NOON + 5])  # 0.6 m/s: what a GPS wanders
    assert (math.isnan(still.heading_deg[0]), math.isnan(still.lat[0])) == (True, False)


def test_a_gap_does_not_turn_the_heading() -> None:
    # North until second 3; after a gap of 60 s goes on far in the east.
    track = Track(
        NOON + np.array([0, 1, 2, 3, 63, 64.0]),
        45 + 0.0001 * np.array([0, 1, 2, 3, 3, 4]),
        np.array([9, 9, 9, 9, 9.01, 9.01]),
    )
    assert along(track, [NOON + 2.5, NOON + 63.5]).heading_deg.tolist() == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.skipif(not SHARED.is_file(), reason="the shared sample data is not here")
def test_a_real_ride_goes_at_its_speed() -> None:
    track = read_track(SHARED)
    fixes = along(track, np.arange(track.seconds[0], track.seconds[-1], 1.0))
    east = np.diff(fixes.lon) * 111_195 * np.cos(np.radians(37.79))
    speed = np.hypot(np.diff(fixes.lat) * 111_195, east) * 3.6
    assert len(track.seconds) == SHARED.read_text().count("<trkpt")
    assert np.median(speed) == pytest.approx(30, abs=1)
    assert np.isfinite(fixes.heading_deg).all()

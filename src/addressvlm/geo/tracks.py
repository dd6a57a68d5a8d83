"""A GPS track: where somebody was at a time, and which way they went."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
import pyproj

from addressvlm.errors import AddressVLMError
from addressvlm.geo.places import Floats

# The way is told from a few seconds before to a few seconds after: a single step is mostly noise of the GPS.
_AROUND_S = 3.0
_MOVING_M_S = 1.0
_EARTH = pyproj.Geod(ellps="WGS84")


@dataclass(frozen=True)
class Track:
    """Points in the order of time: `seconds` since 1970 (UTC, unique), `lat`, `lon` in degrees; all (n,)."""

    seconds: Floats
    lat: Floats
    lon: Floats


@dataclass(frozen=True)
class Fixes:
    """Where a track was at m times, all (m,).

    `lat`, `lon` and `heading_deg` are degrees, the heading that of the way; NaN where nothing is told.
    `outside_s` is how long before its first or after its last point a time is, else 0; `gap_s` how long the
    track is silent around it, 0 on a point.
    """

    lat: Floats
    lon: Floats
    heading_deg: Floats
    outside_s: Floats
    gap_s: Floats


def read_track(path: Path) -> Track:
    """The track points of a GPX file, or of all GPX files of a folder, with times in UTC.

    Points without a time or place are left out. Raises `AddressVLMError` where a file is no GPX, none of them
    has points with times, or two recordings are of the same time.
    """
    points = pd.concat([_points(file) for file in gpx_files(path)], ignore_index=True)
    if points.empty:
        raise AddressVLMError(f"{path} has no track points with times; routes and waypoints have none")
    _refuse_overlaps(points)
    points = points.drop_duplicates("seconds").sort_values("seconds")
    return Track(*(points[name].to_numpy(np.float64) for name in ("seconds", "lat", "lon")))


def gpx_files(path: Path) -> list[Path]:
    """The file itself, or the GPX files of a folder by name."""
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.[gG][pP][xX]"))
    if not files:
        raise AddressVLMError(f"there is no .gpx file in {path}")
    return files


def along(track: Track, seconds: npt.ArrayLike, *, most_gap_s: float = 30.0) -> Fixes:
    """Where the track was at these times (since 1970, UTC), on straight lines between its points.

    In a gap longer than `most_gap_s` it tells no place. It tells a heading where it moves at 1 m/s or more.
    """
    times = np.atleast_1d(np.asarray(seconds, np.float64))
    before, after = _neighbours(track, times)
    first, last = track.seconds[0], track.seconds[-1]
    with np.errstate(invalid="ignore"):
        outside_s = np.maximum(0, np.maximum(first - times, times - last))
        gap_s = np.where(outside_s > 0, 0, track.seconds[after] - track.seconds[before])
        told = (outside_s == 0) & (gap_s <= most_gap_s)
    lat, lon = _between(track, times)
    heading_deg = _headings(track, np.where(told, times, first), most_gap_s)
    lat, lon, heading_deg = (np.where(told, values, np.nan) for values in (lat, lon, heading_deg))
    return Fixes(lat, lon, heading_deg, outside_s, gap_s)


def _points(file: Path) -> pd.DataFrame:
    """The points of a file: `seconds`, `lat`, `lon`, and the `piece` that they were recorded in."""
    try:
        # The content must be what the name says: other formats may point to other files.
        if pyogrio.read_info(file, layer="track_points")["driver"] != "GPX":
            raise AddressVLMError(f"{file} is not GPX inside")
        frame = pyogrio.read_dataframe(
            file, layer="track_points", columns=["track_fid", "track_seg_id", "time"]
        )
    except (RuntimeError, OSError, ValueError) as error:  # pyogrio has no common error of its own
        raise AddressVLMError(f"{file} cannot be read as GPX: {str(error).split(';')[0]}") from error
    times = pd.to_datetime(frame["time"], utc=True, errors="coerce")
    points = pd.DataFrame(
        {
            "seconds": (times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1),
            "lat": frame.geometry.y,
            "lon": frame.geometry.x,
            "piece": [
                f"{file.name}, track {track + 1}, segment {segment + 1}"
                for track, segment in zip(frame["track_fid"], frame["track_seg_id"], strict=True)
            ],
        }
    )
    possible = points["lat"].abs().le(90) & points["lon"].abs().le(180) & points["seconds"].notna()
    return points[possible]


def _refuse_overlaps(points: pd.DataFrame) -> None:
    """Nobody is at two places at a time: of two recordings of one time, one must be left out."""
    spans = points.groupby("piece")["seconds"].agg(["min", "max"]).sort_values(["min", "max"])
    until, until_piece = -np.inf, ""
    for piece, (begin, end) in zip(spans.index, spans.to_numpy(), strict=True):
        if begin < until:
            raise AddressVLMError(f"two tracks are of the same time: {until_piece}; {piece}; leave one out")
        if end > until:
            until, until_piece = end, str(piece)


def _neighbours(track: Track, times: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The last point not after and the first not before each time, at the ends the end itself."""
    last = len(track.seconds) - 1
    before = np.searchsorted(track.seconds, times, side="right") - 1
    after = np.searchsorted(track.seconds, times, side="left")
    return np.clip(before, 0, last), np.clip(after, 0, last)


def _between(track: Track, times: Floats) -> tuple[Floats, Floats]:
    return np.interp(times, track.seconds, track.lat), np.interp(times, track.seconds, track.lon)


def _headings(track: Track, times: Floats, most_gap_s: float) -> Floats:
    """The direction of the way, within the stretch without a gap around each time; NaN at rest."""
    begins = np.flatnonzero(np.diff(track.seconds, prepend=-np.inf) > most_gap_s)
    ends = np.append(begins[1:], len(track.seconds)) - 1
    stretch = np.searchsorted(track.seconds[begins], times, side="right") - 1
    begin_s = np.maximum(times - _AROUND_S, track.seconds[begins[stretch]])
    end_s = np.minimum(times + _AROUND_S, track.seconds[ends[stretch]])
    from_lat, from_lon = _between(track, begin_s)
    to_lat, to_lon = _between(track, end_s)
    azimuth, _, metres = _EARTH.inv(from_lon, from_lat, to_lon, to_lat)
    moves = np.asarray(metres) >= _MOVING_M_S * np.maximum(end_s - begin_s, 1.0)
    return np.where(moves, np.asarray(azimuth) % 360, np.nan)

"""Photos without coordinates, placed by their times on a GPS track."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from addressvlm.cities.photos import NO_GPS, Offer
from addressvlm.geo.tracks import Track, along


@dataclass(frozen=True)
class Clock:
    """How to read the times of photos: the zone of those that name none, and how far they are ahead."""

    zone: ZoneInfo
    ahead_s: float = 0.0

    def seconds(self, time: str | None) -> float:
        """Seconds since 1970 (UTC) of an ISO 8601 date and time; NaN for what is none."""
        if len(time or "") <= len("2024-05-31"):  # a day is no moment
            return math.nan
        try:
            moment = datetime.fromisoformat(time or "")
            return (moment if moment.tzinfo else moment.replace(tzinfo=self.zone)).timestamp() - self.ahead_s
        except (ValueError, OverflowError):
            return math.nan


def placed_on_track(
    offers: Sequence[Offer], track: Track, clock: Clock, *, gap_s: float, camera_deg: float | None
) -> list[Offer]:
    """The offers, those without coordinates with the track's place for their time, or with the reason.

    The camera looks `camera_deg` to the right of the way (180: back); None: wherever the hand held it. A
    heading that the photo itself tells stays.
    """
    lost = [
        place
        for place, offer in enumerate(offers)
        if offer.reason in ("", NO_GPS) and math.isnan(offer.lat) and math.isnan(offer.lon)
    ]
    seconds = np.array([clock.seconds(offers[place].time) for place in lost], np.float64)
    fixes = along(track, np.where(np.isnan(seconds), track.seconds[0], seconds), most_gap_s=gap_s)
    placed = list(offers)
    for row, place in enumerate(lost):
        offer = offers[place]
        heading_deg = offer.heading_deg
        if math.isnan(heading_deg) and camera_deg is not None:
            heading_deg = (float(fixes.heading_deg[row]) + camera_deg) % 360
        if math.isnan(seconds[row]):
            reason = f"has no time for the track: {offer.time}" if offer.time else "has no time for the track"
            placed[place] = replace(offer, reason=reason)
        elif fixes.outside_s[row] > 0:
            end = "begins" if seconds[row] < track.seconds[0] else "ended"
            reason = f"is outside of the track: which {end} {_span(fixes.outside_s[row])} "
            placed[place] = replace(offer, reason=reason + ("later" if end == "begins" else "before"))
        elif math.isnan(fixes.lat[row]):
            reason = f"is in a gap of the track: of {_span(fixes.gap_s[row])}"
            placed[place] = replace(offer, reason=reason)
        else:
            lat, lon = float(fixes.lat[row]), float(fixes.lon[row])
            placed[place] = replace(offer, lat=lat, lon=lon, heading_deg=heading_deg, reason="")
    return placed


def _span(seconds: float) -> str:
    """A time span as people say it."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"

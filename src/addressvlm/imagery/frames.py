"""Which square of ground a map picture shows, and where on it a place lies."""

from dataclasses import dataclass
from functools import cached_property

import numpy.typing as npt

from addressvlm.errors import UsageError
from addressvlm.geo.places import Bounds, Floats, LatLon, Projection


@dataclass(frozen=True)
class Frame:
    """A north-up square of `side_m` metres around `centre`, shown on `size_px` x `size_px` pixels.

    Pixels are even in metres. A Web Mercator picture cut to the same bounds lies within
    side_m · size_px · tan(lat) / 1.27e7 pixels of it: 0.01 px for 300 m on 336 px at 49°, 0.06 px for 2 km.
    """

    centre: LatLon
    side_m: float
    size_px: int

    def __post_init__(self) -> None:
        if not (self.side_m > 0 and self.size_px > 0):
            raise UsageError(f"a map of {self.side_m} m on {self.size_px} px is none; both must be above 0")

    @cached_property
    def projection(self) -> Projection:
        """Metres east and north of the centre."""
        return Projection(self.centre)

    @cached_property
    def bounds(self) -> Bounds:
        """The square in degrees."""
        return self.projection.square(self.centre, self.side_m)

    def to_pixels(self, lat: npt.ArrayLike, lon: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Arrays of degrees, any shape → arrays x (right), y (down) in pixels from the upper left corner.

        Pixel (0, 0) covers [0, 1) x [0, 1); the frame's centre is (size_px / 2, size_px / 2).
        """
        east, north = self.projection.to_xy(lat, lon)
        per_m = self.size_px / self.side_m
        return self.size_px / 2 + east * per_m, self.size_px / 2 - north * per_m

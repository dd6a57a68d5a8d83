"""A plain map drawn from the vectors, for whoever has no imagery."""

import math
from functools import cached_property

import shapely
from PIL import Image

from addressvlm.geo.streets import StreetMap
from addressvlm.imagery.canvas import Canvas, Shape, in_pixels
from addressvlm.imagery.frames import Frame

LAND = "#f2efe9"
TINTS = ("#e3ecdc", "#f3e6dd", "#e0e8f2", "#ebe2f0", "#deeeec", "#f4e1e5", "#ebe9dc")

# Without gamma="0" the land would shine through between neighbours.
_STYLES = """
<Style name="district"><Rule><PolygonSymbolizer fill="[colour]" gamma="0"/></Rule></Style>
<Style name="border"><Rule>
  <LineSymbolizer stroke="#8d6fa0" stroke-width="{border}" stroke-dasharray="{dash}" stroke-opacity="0.7"/>
</Rule></Style>
<Style name="street"><Rule>
  <LineSymbolizer stroke="[colour]" stroke-width="[width]" stroke-linecap="round" stroke-linejoin="round"/>
</Rule></Style>
"""
_CASING = "#bdb5a8"
_LANE, _AVENUE = "#ffffff", "#fbe08e"
_AVENUE_M = 1500


class DrawnMap:
    """A map of streets and districts without names; the longer a street, the broader it is drawn.

    Neighbouring districts differ in tint (seven tints are enough for real maps). Equal input, equal pixels.
    """

    def __init__(self, street_map: StreetMap, attribution: str = ""):
        self.street_map = street_map
        self.attribution = attribution

    def image(self, frame: Frame) -> Image.Image:
        """The frame as RGB."""
        px_per_m = frame.size_px / frame.side_m
        line_px = max(1.0, frame.size_px / 220)
        canvas = Canvas(
            frame.size_px, _STYLES.format(border=1.5 * line_px, dash=f"{5 * line_px},{3 * line_px}")
        )
        districts = in_pixels(self.street_map.districts, frame, margin=0.1)
        canvas.draw("district", [(shape, {"colour": self._tints[name]}) for name, shape in districts])
        borders = shapely.union_all([shapely.boundary(shape) for _, shape in districts])
        canvas.draw("border", [(shapely.line_merge(borders), {})])
        streets = in_pixels(self.street_map.streets, frame, margin=0.1)
        streets.sort(key=lambda street: (self._lengths_m[street[0]], street[0]))
        casings: list[Shape] = []
        fills: list[Shape] = []
        for name, shape in streets:
            length_m = self._lengths_m[name]
            width = max(2 * line_px, px_per_m * _width_m(length_m))
            casings.append((shape, {"colour": _CASING, "width": width + 2 * line_px}))
            fills.append((shape, {"colour": _AVENUE if length_m >= _AVENUE_M else _LANE, "width": width}))
        canvas.draw("street", casings)
        canvas.draw("street", fills)
        return canvas.over(Image.new("RGB", (frame.size_px, frame.size_px), LAND))

    @cached_property
    def _lengths_m(self) -> dict[str, float]:
        streets = self.street_map.streets
        lengths = streets.geometry.to_crs(self.street_map.projection.crs).length
        return dict(zip(streets["name"], lengths.tolist(), strict=True))

    @cached_property
    def _tints(self) -> dict[str, str]:
        """The tint of every district, unlike those of its neighbours before it."""
        districts = self.street_map.districts
        first, second = districts.sindex.query(districts.geometry, predicate="intersects")
        tints: list[str] = []
        for district in range(len(districts)):
            around = {tints[other] for other in second[first == district] if other < district}
            turned = TINTS[district % len(TINTS) :] + TINTS[: district % len(TINTS)]
            tints.append(next((tint for tint in turned if tint not in around), turned[0]))
        return dict(zip(districts["name"], tints, strict=True))


def _width_m(length_m: float) -> float:
    """How broad to draw a street of this length: 6 m for a lane of 200 m, 3 m more each time it doubles."""
    return min(16.0, max(6.0, 6 + 3 * math.log2(max(length_m, 1) / 200)))

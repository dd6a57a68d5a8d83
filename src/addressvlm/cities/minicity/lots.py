"""Building lots along the edges of blocks, each with its front to a street."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely import STRtree

from addressvlm.cities.minicity.config import MiniCityConfig
from addressvlm.cities.minicity.look import DistrictLook, Looks, LotLook
from addressvlm.cities.minicity.plan import Block, Plan

Floats = npt.NDArray[np.float64]

_LOT_M = {"brick": (8.0, 17.0), "pastel": (7.0, 11.0), "dense": (6.5, 14.0)}
_DEPTH_M = {"brick": (11.0, 19.0), "pastel": (12.0, 18.0), "dense": (9.0, 15.0)}
_ROWS = 4  # of houses behind each other, where a block is deep enough
_OVER_M = 1.1  # how far a corner may stand over a bent building line
_SHIFT_M = 2.5  # where nothing fits, the next try is so much further on


@dataclass(frozen=True)
class Lot:
    """One building: footprint corners (4, 2) in metres, counter-clockwise, the first two at the street."""

    corners: Floats
    street: int
    district: int
    front: bool  # stands at its street, not in a yard behind
    look: LotLook


def lay_lots(config: MiniCityConfig, plan: Plan, looks: Looks) -> list[Lot]:
    """Fill the built blocks with lots; `street` and `district` index into the plan."""
    tree = STRtree([street.path for street in plan.streets])
    reach = np.array([street.width_m / 2 for street in plan.streets])
    lots: list[Lot] = []
    for number, block in enumerate(plan.blocks):
        if block.kind != "built":
            continue
        rng = config.rng(20, number)
        district = looks.districts[block.district]
        taken: list[Any] = []
        inner = block.area.buffer(-district.pavement_m - district.setback_m, join_style="mitre")
        for edge, is_front in _edges(inner, district, config):
            middle = shapely.Point(edge.mean(axis=0))
            street = int(tree.nearest(middle))
            far = tree.geometries[street].distance(middle) - reach[street]
            if is_front and far > district.pavement_m + district.setback_m + 4.0:
                continue
            for corners in _along(rng, edge, inner, district, config, taken):
                look = _buildable(looks.lot(rng, street, block.district), is_front)
                lots.append(Lot(corners, street, block.district, is_front, look))
    return lots


def _buildable(look: LotLook, is_front: bool) -> LotLook:
    """What was drawn, less what cannot stand: tall houses have flat roofs, awnings belong to shops, ..."""
    if not is_front:
        look = replace(look, ground_floor="house", relief="none", storeys=min(look.storeys, 3))
    if look.storeys > 4:
        look = replace(look, roof="flat")
    if look.ground_floor != "shop":
        look = replace(look, awning="none")
    if look.storeys < 2 and look.relief != "cornice":
        look = replace(look, relief="none")
    return look


def _edges(inner: Any, district: DistrictLook, config: MiniCityConfig) -> Iterator[tuple[Floats, bool]]:
    """Straight edges (2, 2) to build along, counter-clockwise: of the block, then of the rows behind."""
    row_m = _DEPTH_M[config.look][1] + 7.0
    rows = [inner.buffer(-row_m * number, join_style="mitre") for number in range(_ROWS)]
    for area, is_front in zip(rows, (True, *[False] * (_ROWS - 1)), strict=True):
        for part in shapely.get_parts(area):
            if part.is_empty or part.geom_type != "Polygon":
                continue
            ring = shapely.get_coordinates(shapely.orient_polygons(part.simplify(1.6)).exterior)
            sides = [ring[index : index + 2] for index in range(len(ring) - 1)]
            for side in sorted(sides, key=lambda side: -round(float(np.hypot(*(side[1] - side[0]))), 3)):
                if np.hypot(*(side[1] - side[0])) > 6.0:
                    yield side, is_front


def _along(
    rng: np.random.Generator,
    edge: Floats,
    inner: Any,
    district: DistrictLook,
    config: MiniCityConfig,
    taken: list[Any],
) -> Iterator[Floats]:
    """Rectangles side by side along an edge, where they fit into `inner` and on nothing that is `taken`."""
    length = float(np.hypot(*(edge[1] - edge[0])))
    way = (edge[1] - edge[0]) / length
    inward = np.array([-way[1], way[0]])
    room = inner.buffer(_OVER_M)
    low, high = _LOT_M[config.look]
    place = 0.0
    while length - place > 5.0:
        width = min(rng.uniform(low, high), length - place)
        if length - place - width < low * 0.8:
            width = min(length - place, 1.25 * high)
        depth = rng.uniform(*_DEPTH_M[config.look])
        start = edge[0] + way * place
        built = width - district.gap_m
        step = _SHIFT_M
        for share in (1.0, 0.72, 0.5):
            back = inward * depth * share
            corners = np.array([start, start + way * built, start + way * built + back, start + back])
            footprint = shapely.Polygon(corners)
            if room.contains(footprint) and not any(
                footprint.intersection(other).area > 0.3 for other in taken
            ):
                taken.append(footprint)
                yield np.round(corners, 3)
                step = width
                break
        place += step


def block_pavement(block: Block, looks: Sequence[DistrictLook]) -> tuple[Any, Any]:
    """The paved ring of a block and the land inside it."""
    inside = block.area.buffer(-looks[block.district].pavement_m, join_style="mitre")
    return block.area.difference(inside), inside

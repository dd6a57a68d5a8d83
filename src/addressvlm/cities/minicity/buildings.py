"""Buildings: from a lot and its look to walls, roofs, awnings, signs and what stands on the roof."""

import numpy as np
import numpy.typing as npt

from addressvlm.cities.minicity.look import COLOURS, GROUND_FLOORS, MATERIALS, WINDOWS, LotLook
from addressvlm.cities.minicity.lots import Lot
from addressvlm.cities.minicity.mesh import FACADE, PLAIN, ROOF, SIGN, STRIPES, MeshBuilder
from addressvlm.cities.minicity.signs import Sign, board_aspect

Floats = npt.NDArray[np.float64]

STOREY_M = 3.1
GROUND_M = {"house": 3.4, "shop": 4.1, "garage": 3.3}
BASE_M = 0.15  # land lies a kerb above the road
TRIM, ACCENT, SLAB = 2, 3, 4  # flags of PLAIN that take another colour of the building
_GRAVEL, _TILES = 0, 1  # flags of ROOF


def linear(name: str) -> tuple[float, float, float]:
    """A named colour as linear light (gamma 2, as the renderer has it)."""
    red, green, blue = COLOURS[name]
    return red * red, green * green, blue * blue


def add_building(builder: MeshBuilder, lot: Lot, index: int, rng: np.random.Generator) -> None:
    """Add the building of a lot, without its sign."""
    look = lot.look
    thing = builder.thing("building", index, _params(look, rng))
    frame = Frame.of(lot)
    top = wall_height(look)
    _walls(builder, frame, look, lot, top, thing)
    {"flat": _flat, "gable": _gable, "cross gable": _cross_gable, "hip": _hip}[look.roof](
        builder, frame, top, thing, rng
    )
    if lot.front:
        _relief(builder, frame, look, top, thing)
    if look.awning != "none":
        _awning(builder, frame, look, thing)


def add_shop_sign(builder: MeshBuilder, lot: Lot, text: str, number: int, rng: np.random.Generator) -> Sign:
    """Add the board over a shop's windows; `number` is its place in the atlas."""
    frame = Frame.of(lot)
    ground = GROUND_M["shop"]
    aspect = board_aspect((text,))
    height = min(0.82, (frame.width - 0.8) / aspect)
    width = height * aspect
    low = BASE_M + ground - 0.52 - height / 2
    accent = np.array(linear(lot.look.accent))
    dark_board = accent.mean() < 0.35
    board = (
        accent if rng.random() < 0.65 else np.array((0.75, 0.73, 0.68) if dark_board else (0.02, 0.02, 0.03))
    )
    ink = (0.86, 0.85, 0.80) if board.mean() < 0.3 else (0.02, 0.02, 0.03)
    left = (frame.width - width) / 2
    corner, right = frame.at(left, -0.14, low), frame.way * width
    return add_board(builder, corner, right, height, text, (text,), "shop", number, board, ink)


def add_board(
    builder: MeshBuilder,
    corner: Floats,
    right: Floats,
    height: float,
    text: str,
    lines: tuple[str, ...],
    kind: str,
    number: int,
    board: Floats,
    ink: tuple[float, float, float],
) -> Sign:
    """A thin box whose front carries a text; its back is plain."""
    thing = builder.thing("sign", None, [*board, *ink, number, height])
    wide = np.array([right[0], right[1], 0.0])
    up = np.array([0.0, 0.0, height])
    inward = np.array([-right[1], right[0], 0.0]) / np.hypot(*right[:2]) * 0.1
    front = [corner, corner + wide, corner + wide + up, corner + up]
    builder.quad(front, SIGN, thing)
    back = [point + inward for point in front]
    for one, two in ((0, 1), (1, 2), (2, 3), (3, 0)):
        builder.quad([front[one], back[one], back[two], front[two]], PLAIN, thing)
    builder.quad([back[1], back[0], back[3], back[2]], PLAIN, thing)
    x, y, z = (float(value) for value in corner)
    return Sign(text, kind, (x, y, z), (float(wide[0]), float(wide[1]), 0.0), (0.0, 0.0, height), lines)


def wall_height(look: LotLook) -> float:
    """Height of the walls over the land, without parapet."""
    return GROUND_M[look.ground_floor] + (look.storeys - 1) * STOREY_M


class Frame:
    """The axes of a footprint: `way` along the front, `back` away from the street."""

    def __init__(self, origin: Floats, way: Floats, back: Floats, width: float, depth: float):
        self.origin, self.way, self.back, self.width, self.depth = origin, way, back, width, depth

    @classmethod
    def of(cls, lot: Lot) -> "Frame":
        """The frame of a lot, its origin in the front's left corner."""
        front, side = lot.corners[1] - lot.corners[0], lot.corners[3] - lot.corners[0]
        width, depth = float(np.hypot(*front)), float(np.hypot(*side))
        return cls(lot.corners[0], front / width, side / depth, width, depth)

    def at(self, along: float, inward: float, z: float) -> Floats:
        """The point `along` the front, `inward` from it (negative: over the pavement), at height z."""
        x, y = self.origin + self.way * along + self.back * inward
        return np.array([x, y, z])


def _params(look: LotLook, rng: np.random.Generator) -> list[float]:
    material, colour = look.wall
    wall = np.array(linear(colour)) * rng.uniform(0.88, 1.10)
    return [
        *wall, MATERIALS.index(material),
        *linear(look.frame), GROUND_M[look.ground_floor], STOREY_M, look.storeys, look.bay_m,
        WINDOWS.index(look.window), *linear(look.accent), GROUND_FLOORS.index(look.ground_floor),
        int(rng.integers(1, 60_000)), *linear(look.roof_colour),
        *linear(look.awning_colour), 0.9 if look.awning == "striped" else 0.0,
    ]  # fmt: skip


def _walls(builder: MeshBuilder, frame: Frame, look: LotLook, lot: Lot, top: float, thing: int) -> None:
    high = BASE_M + top + (0.7 if look.roof == "flat" else 0.0)
    w, d = frame.width, frame.depth
    ring = [(0.0, 0.0), (w, 0.0), (w, d), (0.0, d)]
    for number, (start, end) in enumerate(zip(ring, ring[1:] + ring[:1], strict=True)):
        flag = (0 if lot.front else 2, 1, 2, 1)[number]
        low = [frame.at(*start, BASE_M), frame.at(*end, BASE_M)]
        builder.quad([*low, frame.at(*end, high), frame.at(*start, high)], FACADE, thing, flag=flag)


def _flat(builder: MeshBuilder, frame: Frame, top: float, thing: int, rng: np.random.Generator) -> None:
    w, d, z = frame.width, frame.depth, BASE_M + top + 0.05
    builder.quad([frame.at(0, 0, z), frame.at(w, 0, z), frame.at(w, d, z), frame.at(0, d, z)], ROOF, thing)
    for _ in range(int(rng.integers(0, 3))):
        size = rng.uniform([1.2, 1.2, 0.8], [3.0, 3.0, 2.2])
        if w > size[0] + 2 and d > size[1] + 3:
            box(
                builder,
                frame,
                (rng.uniform(1, w - size[0] - 1), rng.uniform(2, d - size[1] - 1), z),
                size,
                thing,
                SLAB,
            )


def _gable(builder: MeshBuilder, frame: Frame, top: float, thing: int, rng: np.random.Generator) -> None:
    """Ridge along the street."""
    w, d, z = frame.width, frame.depth, BASE_M + top
    rise = min(0.42 * d, 4.2)
    out, drop = 0.4, 0.4 * rise / (d / 2)
    for side in (0, 1):
        low = -out if side == 0 else d + out
        eaves = [frame.at(0, low, z - drop), frame.at(w, low, z - drop)]
        ridge = [frame.at(w, d / 2, z + rise), frame.at(0, d / 2, z + rise)]
        corners = [*eaves, *ridge] if side == 0 else [*eaves[::-1], *ridge[::-1]]
        builder.quad(corners, ROOF, thing, flag=_TILES)
    for x, ends in ((w, (0.0, d)), (0.0, (d, 0.0))):
        wall = [frame.at(x, ends[0], z), frame.at(x, ends[1], z), frame.at(x, d / 2, z + rise)]
        builder.triangle(wall, FACADE, thing, flag=1, v0=top)
    _chimney(builder, frame, z + rise, thing, rng)


def _cross_gable(
    builder: MeshBuilder, frame: Frame, top: float, thing: int, rng: np.random.Generator
) -> None:
    """Ridge away from the street, the gable over the front."""
    w, d, z = frame.width, frame.depth, BASE_M + top
    rise = min(0.5 * w, 4.5)
    peak, rear = frame.at(w / 2, -0.35, z + rise), frame.at(w / 2, d, z + rise)
    builder.quad([frame.at(w, -0.35, z), frame.at(w, d, z), rear, peak], ROOF, thing, flag=_TILES)
    builder.quad([frame.at(0, d, z), frame.at(0, -0.35, z), peak, rear], ROOF, thing, flag=_TILES)
    for y, ends in ((0.0, (0.0, w)), (d, (w, 0.0))):
        wall = [frame.at(ends[0], y, z), frame.at(ends[1], y, z), frame.at(w / 2, y, z + rise)]
        builder.triangle(wall, FACADE, thing, flag=0, v0=top)
    _chimney(builder, frame, z + rise * 0.7, thing, rng)


def _hip(builder: MeshBuilder, frame: Frame, top: float, thing: int, rng: np.random.Generator) -> None:
    w, d, z = frame.width, frame.depth, BASE_M + top
    inset = min(w, d) / 2
    rise = min(0.7 * inset, 3.6)
    if w >= d:
        one, two = frame.at(inset, d / 2, z + rise), frame.at(w - inset, d / 2, z + rise)
    else:
        one, two = frame.at(w / 2, inset, z + rise), frame.at(w / 2, d - inset, z + rise)
    a, b, c, e = (
        frame.at(x, y, z) for x, y in ((-0.3, -0.3), (w + 0.3, -0.3), (w + 0.3, d + 0.3), (-0.3, d + 0.3))
    )
    if w >= d:
        faces = [[a, b, two, one], [b, c, two, two], [c, e, one, two], [e, a, one, one]]
    else:
        faces = [[a, b, one, one], [b, c, two, one], [c, e, two, two], [e, a, one, two]]
    for face in faces:
        builder.quad(face, ROOF, thing, flag=_TILES)
    _chimney(builder, frame, z + rise, thing, rng)


def _chimney(builder: MeshBuilder, frame: Frame, z: float, thing: int, rng: np.random.Generator) -> None:
    if rng.random() < 0.6:
        spot = (rng.uniform(0.15, 0.75) * frame.width, 0.6 * frame.depth, z - 2.0)
        box(builder, frame, spot, np.array([0.9, 0.7, 3.0]), thing, 0)


def box(
    builder: MeshBuilder,
    frame: Frame,
    corner: tuple[float, float, float],
    size: Floats,
    thing: int,
    flag: int,
) -> None:
    """An upright box in a building's frame."""
    x, y, z = corner
    ring = [
        frame.at(x + a, y + b, 0)[:2] for a, b in ((0, 0), (size[0], 0), (size[0], size[1]), (0, size[1]))
    ]
    builder.prism(ring, z, z + float(size[2]), PLAIN, thing, flag=flag)


def _relief(builder: MeshBuilder, frame: Frame, look: LotLook, top: float, thing: int) -> None:
    w, ground = frame.width, GROUND_M[look.ground_floor]
    if look.relief == "cornice" and look.roof == "flat":
        box(builder, frame, (-0.02, -0.4, BASE_M + top + 0.1), np.array([w + 0.04, 0.4, 0.62]), thing, TRIM)
        box(builder, frame, (0.0, -0.15, BASE_M + ground - 0.16), np.array([w, 0.15, 0.16]), thing, TRIM)
    elif look.relief == "bay windows":
        wide = min(3.2, 0.5 * w)
        for centre in (w / 2,) if w < 10 else (w * 0.27, w * 0.73):
            _bay(builder, frame, centre - wide / 2, wide, ground, top, thing)
    elif look.relief == "balconies":
        for storey in range(1, look.storeys):
            z = BASE_M + ground + (storey - 1) * STOREY_M
            box(builder, frame, (0.6, -1.1, z - 0.12), np.array([w - 1.2, 1.1, 0.18]), thing, SLAB)
            box(builder, frame, (0.6, -1.1, z + 0.06), np.array([w - 1.2, 0.08, 0.95]), thing, TRIM)


def _bay(
    builder: MeshBuilder, frame: Frame, x: float, wide: float, ground: float, top: float, thing: int
) -> None:
    low, high, out = BASE_M + ground - 0.1, BASE_M + top - 0.1, -0.85
    ring = [(x, 0.0), (x + 0.5, out), (x + wide - 0.5, out), (x + wide, 0.0)]
    for start, end in zip(ring, ring[1:], strict=False):
        wall = [frame.at(*start, low), frame.at(*end, low), frame.at(*end, high), frame.at(*start, high)]
        builder.quad(wall, FACADE, thing, v0=ground - 0.1)
    for z in (low, high):
        builder.quad([frame.at(*point, z) for point in ring], PLAIN, thing, flag=TRIM)


def _awning(builder: MeshBuilder, frame: Frame, look: LotLook, thing: int) -> None:
    high, low = BASE_M + GROUND_M["shop"] - 1.02, BASE_M + GROUND_M["shop"] - 1.6
    left, right, out = 0.45, frame.width - 0.45, -1.35
    edge = [frame.at(left, out, low), frame.at(right, out, low)]
    builder.quad([*edge, frame.at(right, -0.02, high), frame.at(left, -0.02, high)], STRIPES, thing)
    hem = [frame.at(left, out, low - 0.28), frame.at(right, out, low - 0.28)]
    builder.quad([*hem, *edge[::-1]], STRIPES, thing)
    for x in (left, right):
        side = [frame.at(x, out, low), frame.at(x, -0.02, high), frame.at(x, -0.02, low)]
        builder.triangle(side, PLAIN, thing, flag=TRIM)

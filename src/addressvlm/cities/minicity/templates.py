"""Shapes that a city repeats: trees by species, cars by build. Each is made once and set down many times."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import trimesh

from addressvlm.cities.minicity.mesh import FOLIAGE, GLASS, PLAIN, MeshBuilder

Floats = npt.NDArray[np.float64]

# Dark and light foliage (linear), trunk (linear), crown height at scale 1, leaf size in metres.
SPECIES: dict[
    str, tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float], float]
] = {
    "round": ((0.045, 0.11, 0.025), (0.16, 0.29, 0.06), (0.13, 0.09, 0.06), 0.34),
    "plane": ((0.07, 0.14, 0.03), (0.27, 0.38, 0.10), (0.40, 0.37, 0.30), 0.42),
    "poplar": ((0.05, 0.13, 0.04), (0.17, 0.33, 0.09), (0.20, 0.17, 0.12), 0.26),
    "conifer": ((0.02, 0.07, 0.04), (0.07, 0.16, 0.08), (0.12, 0.07, 0.04), 0.22),
    "palm": ((0.06, 0.14, 0.03), (0.24, 0.36, 0.10), (0.30, 0.23, 0.15), 0.30),
    "cherry": ((0.52, 0.25, 0.32), (0.90, 0.62, 0.68), (0.09, 0.06, 0.05), 0.30),
    "ginkgo": ((0.45, 0.30, 0.03), (0.85, 0.66, 0.10), (0.18, 0.14, 0.10), 0.30),
}
_VARIANTS = 3
TRUNK_RGB = "trunk"


@dataclass(frozen=True)
class TreeShape:
    """Triangles of a tree of height about 1: crown and loose leaves, trunk; middle height of the crown."""

    crown: Floats  # (n, 3, 3), as the next two
    leaves: Floats
    trunk: Floats
    middle: float


@cache
def tree_shape(species: str, variant: int) -> TreeShape:
    """One of a few shapes of a species, 1 high."""
    rng = np.random.default_rng([77, list(SPECIES).index(species), variant % _VARIANTS])
    if species == "conifer":
        return TreeShape(_cones(rng), _needles(rng), _trunk(0.025, 0.25), 0.4)
    if species == "palm":
        return TreeShape(_fronds(rng), np.zeros((0, 3, 3)), _trunk(0.022, 0.86), 0.86)
    blobs: list[tuple[tuple[float, float, float], tuple[float, float, float]]]
    if species == "poplar":
        blobs = [((0, 0, 0.56), (0.15, 0.15, 0.44))]
    elif species == "ginkgo":
        blobs = [((0, 0, 0.52), (0.26, 0.26, 0.27)), ((0.02, 0, 0.76), (0.18, 0.18, 0.24))]
    else:
        spread = {"round": 0.16, "plane": 0.24, "cherry": 0.26}[species]
        blobs = [((0, 0, 0.66), (0.27, 0.27, 0.26))]
        for angle in np.arange(2) * np.pi + rng.uniform(0, 6):
            low = rng.uniform(0.52, 0.68)
            blobs.append(((spread * np.cos(angle), spread * np.sin(angle), low), (0.21, 0.21, 0.19)))
    crown = np.concatenate([_blob(rng, centre, radii) for centre, radii in blobs])
    leaves = [_leaves(rng, centre, radii, 190 // len(blobs)) for centre, radii in blobs]
    return TreeShape(crown, np.concatenate(leaves), _trunk(0.03, 0.6), 0.6)


def _blob(rng: np.random.Generator, centre: Any, radii: Any) -> Floats:
    ball = trimesh.creation.icosphere(subdivisions=1)
    rough = 0.93 + rng.uniform(-0.13, 0.13, len(ball.vertices))
    vertices = ball.vertices * rough[:, None] * np.asarray(radii) + np.asarray(centre)
    return np.asarray(vertices[ball.faces], np.float64)


def _leaves(rng: np.random.Generator, centre: Any, radii: Any, count: int, size: float = 0.046) -> Floats:
    """Loose triangles around a crown, for a ragged outline."""
    away = rng.normal(size=(count, 3))
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    spots = np.asarray(centre) + away * np.asarray(radii) * rng.uniform(0.84, 1.1, (count, 1))
    return np.asarray(spots[:, None] + rng.uniform(-size, size, (count, 3, 3)))


def _trunk(radius: float, height: float) -> Floats:
    angles = np.arange(6) * np.pi / 3
    low = np.column_stack([radius * np.cos(angles), radius * np.sin(angles), np.zeros(6)])
    high = low * (0.6, 0.6, 1) + (0, 0, height)
    after = np.roll(np.arange(6), -1)
    return np.concatenate(
        [np.stack([low, low[after], high], 1), np.stack([low[after], high[after], high], 1)]
    )


def _cones(rng: np.random.Generator) -> Floats:
    parts = []
    for low, high, radius in ((0.14, 0.52, 0.21), (0.34, 0.74, 0.165), (0.56, 1.0, 0.115)):
        angles = np.arange(10) * np.pi / 5
        reach = radius * rng.uniform(0.82, 1.15, 10)
        ring = np.column_stack(
            [reach * np.cos(angles), reach * np.sin(angles), low + rng.uniform(-0.03, 0.03, 10)]
        )
        after = np.roll(ring, -1, axis=0)
        tip = np.broadcast_to((0, 0, high), ring.shape)
        middle = np.broadcast_to((0, 0, low + 0.04), ring.shape)
        parts += [np.stack([ring, after, tip], 1), np.stack([after, ring, middle], 1)]
    return np.concatenate(parts)


def _needles(rng: np.random.Generator) -> Floats:
    height = rng.uniform(0.14, 0.95, 120)
    angle = rng.uniform(0, 2 * np.pi, 120)
    reach = 0.22 * (1.02 - height) + 0.01
    spots = np.column_stack([reach * np.cos(angle), reach * np.sin(angle), height])
    return np.asarray(spots[:, None] + rng.uniform(-0.045, 0.045, (120, 3, 3)))


def _fronds(rng: np.random.Generator) -> Floats:
    triangles = []
    for angle in np.arange(11) * 2 * np.pi / 11 + rng.uniform(-0.15, 0.15, 11):
        way = np.array([np.cos(angle), np.sin(angle), 0])
        across = np.array([-way[1], way[0], 0])
        lift = rng.uniform(0.05, 0.14)
        spine = [
            np.array([0, 0, 0.86]),
            way * 0.13 + (0, 0, 0.86 + lift),
            way * 0.25 + (0, 0, 0.80 + lift * 0.3),
        ]
        spine.append(way * 0.31 + (0, 0, 0.68))
        for (a, b), (wa, wb) in zip(
            zip(spine, spine[1:], strict=False), ((0.015, 0.04), (0.04, 0.035), (0.035, 0.004)), strict=True
        ):
            corners = [a - across * wa, b - across * wb, b + across * wb, a + across * wa]
            triangles += [[corners[0], corners[1], corners[2]], [corners[0], corners[2], corners[3]]]
    return np.array(triangles)


def add_tree(
    builder: MeshBuilder,
    species: str,
    spot: Floats,
    height: float,
    rng: np.random.Generator,
    trunks: dict[str, int],
    *,
    far: bool = False,
) -> None:
    """Set down a tree, `spot` (x, y, z) at its foot; `far` trees go without loose leaves.

    `trunks` maps species to the thing that trunks belong to.
    """
    shape = tree_shape(species, int(rng.integers(_VARIANTS)))
    turn = rng.uniform(0, 2 * np.pi)
    wide = height * rng.uniform(0.9, 1.1)
    c, s = np.cos(turn) * wide, np.sin(turn) * wide
    move = np.array([[c, s, 0], [-s, c, 0], [0, 0, height]])
    dark, light, _, leaf = SPECIES[species]
    tint = rng.uniform(0.85, 1.15)
    centre = spot + (0, 0, shape.middle * height)
    index = list(SPECIES).index(species)
    crown = builder.thing("tree", index, [*np.multiply(dark, tint), *np.multiply(light, tint), *centre, leaf])
    leaves = shape.crown[:80] if far else np.concatenate([shape.crown, shape.leaves])
    builder.soup(np.round(leaves @ move + spot, 4), FOLIAGE, crown)
    builder.soup(np.round(shape.trunk @ move + spot, 4), PLAIN, trunks[species])


CAR_COLOURS = ("white", "silver", "dark grey", "black", "blue", "red", "green", "gold", "light blue")


@cache
def car_shape(build: int) -> tuple[tuple[Floats, ...], Floats, Floats]:
    """Body, windows and tyres of a car at the origin, its front to +x: 0 saloon, 1 hatchback, 2 van."""
    length, roof = ((4.5, 1.42), (3.9, 1.5), (4.6, 1.95))[build]
    rear, front = ((-0.62, 0.42), (-0.93, 0.40), (-0.97, 0.62))[build]  # ends of the cabin, half lengths
    half = length / 2
    lower = _wedge((-half, half), (-half, half), 0.25, 0.85, 0.86, 0.86)
    cabin_low, cabin_high = (rear * half, front * half), (rear * half + 0.28, front * half - 0.5)
    glass = _wedge(cabin_low, cabin_high, 0.85, roof - 0.06, 0.82, 0.66)
    top = _wedge(cabin_high, cabin_high, roof - 0.06, roof, 0.68, 0.66)
    posts = [
        _wedge((x - 0.06, x + 0.06), (x - 0.06, x + 0.06), 0.85, roof - 0.05, 0.825, 0.69)
        for x in ((cabin_low[0] + cabin_low[1]) / 2,)
    ]
    tyres = [_tyre(x, y) for x in (-0.3 * length, 0.31 * length) for y in (-0.74, 0.74)]
    return (lower, top, *posts), glass, np.concatenate(tyres)


def _wedge(
    low: tuple[float, float], high: tuple[float, float], z0: float, z1: float, wide0: float, wide1: float
) -> Floats:
    """A box whose top may be shorter and narrower than its base, as triangles."""
    base = np.array([[low[0], -wide0, z0], [low[1], -wide0, z0], [low[1], wide0, z0], [low[0], wide0, z0]])
    top = np.array([[high[0], -wide1, z1], [high[1], -wide1, z1], [high[1], wide1, z1], [high[0], wide1, z1]])
    triangles = [[top[0], top[1], top[2]], [top[0], top[2], top[3]]]
    for one in range(4):
        two = (one + 1) % 4
        triangles += [[base[one], base[two], top[two]], [base[one], top[two], top[one]]]
    return np.array(triangles)


def _tyre(x: float, y: float) -> Floats:
    angles = np.arange(8) * np.pi / 4
    rim = np.column_stack([x + 0.33 * np.cos(angles), np.full(8, y), 0.33 + 0.33 * np.sin(angles)])
    inner, outer = rim - (0, 0.13, 0), rim + (0, 0.13, 0)
    after = np.roll(np.arange(8), -1)
    tread = [np.stack([inner, inner[after], outer], 1), np.stack([inner[after], outer[after], outer], 1)]
    caps = [
        np.stack([ring, ring[after], np.broadcast_to(ring.mean(0), ring.shape)], 1) for ring in (inner, outer)
    ]
    return np.concatenate([*tread, *caps])


def add_car(builder: MeshBuilder, spot: Floats, way: Floats, colour: int, paint: Any, build: int) -> None:
    """Set down a parked car at `spot` (x, y, z), heading along the unit vector `way` (x, y)."""
    body, glass, tyres = car_shape(build)
    move = np.array([[way[0], way[1], 0], [-way[1], way[0], 0], [0, 0, 1]])
    thing = builder.thing("car", colour, [*paint])
    for part in body:
        builder.soup(np.round(part @ move + spot, 4), PLAIN, thing)
    builder.soup(np.round(glass @ move + spot, 4), GLASS, thing)
    builder.soup(np.round(tyres @ move + spot, 4), PLAIN, thing, flag=1)

"""Triangles with what a shader must know of them, gathered piece by piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

Floats = npt.NDArray[np.float64]

# Materials, and the shaders of shading.py that paint them.
PLAIN, FACADE, ROOF, ROAD, GROUND, FOLIAGE, WATER, SIGN, GLASS, STRIPES = range(10)
PARAMS = 24  # numbers that a thing may hand to its shader


@dataclass(frozen=True)
class Thing:
    """What a triangle is part of: a kind ("building", "tree", "sign", ...) and an index into that kind."""

    kind: str
    ref: int


@dataclass(frozen=True)
class Mesh:
    """n triangles of a scene; all arrays are aligned by triangle but `params`, which is by thing."""

    corners: npt.NDArray[np.float32]  # (n, 3, 3) metres
    normals: npt.NDArray[np.float32]  # (n, 3) unit
    axes: npt.NDArray[np.float32]  # (n, 8): u axis, u offset, v axis, v offset, in metres along the surface
    span: npt.NDArray[np.float32]  # (n,) width of the whole surface along u, metres
    material: npt.NDArray[np.uint8]
    flag: npt.NDArray[np.uint8]  # variant of the material
    thing: npt.NDArray[np.int32]
    things: tuple[Thing, ...]
    params: npt.NDArray[np.float32]  # (things, PARAMS)


class MeshBuilder:
    """Collects quads, prisms, polygons and whole templates."""

    def __init__(self) -> None:
        self._things: list[Thing] = []
        self._count: dict[str, int] = {}
        self._params: list[Sequence[float]] = []
        self._quads: list[Sequence[Any]] = []
        self._quad_marks: list[tuple[int, int, int, float, float]] = []
        self._chunks: list[tuple[npt.NDArray[Any], ...]] = []

    def thing(self, kind: str, ref: int | None, params: Sequence[float]) -> int:
        """Register a thing with its shader's numbers; returns its id. Without `ref` its kind is counted."""
        count = self._count.get(kind, 0)
        self._count[kind] = count + 1
        self._things.append(Thing(kind, count if ref is None else ref))
        self._params.append(params)
        return len(self._things) - 1

    def quad(
        self,
        corners: Sequence[Any],
        material: int,
        thing: int,
        *,
        flag: int = 0,
        u0: float = 0.0,
        v0: float = 0.0,
    ) -> None:
        """Four points, counter-clockwise from outside; u runs from the first to the second, from `u0`."""
        self._quads.append([tuple(point) for point in corners])
        self._quad_marks.append((material, thing, flag, u0, v0))

    def triangle(
        self, corners: Sequence[Any], material: int, thing: int, *, flag: int = 0, v0: float = 0.0
    ) -> None:
        """Three points; u runs from the first to the second."""
        self.quad([*corners, corners[-1]], material, thing, flag=flag, v0=v0)

    def prism(self, base: Any, low: float, high: float, material: int, thing: int, *, flag: int = 0) -> None:
        """Upright walls over a counter-clockwise ring `base` (k, 2) and a flat top (k = 3 or 4)."""
        ring = [(float(x), float(y)) for x, y in base]
        for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1], strict=True):
            wall = [(ax, ay, low), (bx, by, low), (bx, by, high), (ax, ay, high)]
            self.quad(wall, material, thing, flag=flag)
        top = [(x, y, high) for x, y in ring]
        self.quad(top if len(top) == 4 else [*top, top[-1]], material, thing, flag=flag)

    def polygon(
        self, area: Any, height: float, material: int, thing: int, *, along: Any = (1.0, 0.0), flag: int = 0
    ) -> None:
        """A flat area (holes allowed) at a height; u runs along the unit vector `along`."""
        pieces = [
            part for part in shapely.get_parts(area) if part.geom_type == "Polygon" and part.area > 1e-6
        ]
        if not pieces:
            return
        flat = shapely.get_parts(shapely.constrained_delaunay_triangles(pieces), return_index=False)
        flat = shapely.get_parts(flat)
        points = shapely.get_coordinates(flat).reshape(-1, 4, 2)[:, :3]
        points = points[np.lexsort(points.mean(axis=1).T)]
        corners = np.concatenate([points, np.full((len(points), 3, 1), height)], axis=2)
        turned = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] < 0
        corners[turned] = corners[turned][:, ::-1]
        axes = np.tile(
            np.array([along[0], along[1], 0, 0, -along[1], along[0], 0, 0], float), (len(corners), 1)
        )
        self.soup(corners, material, thing, axes=axes, flag=flag)

    def soup(self, corners: Any, material: int, thing: int, *, axes: Any = None, flag: int = 0) -> None:
        """Triangles (n, 3, 3) as they are; `axes` (n, 8) as in `Mesh`."""
        count = len(corners)
        self._chunks.append(
            (
                np.asarray(corners, np.float32),
                np.zeros((count, 8), np.float32) if axes is None else np.asarray(axes, np.float32),
                np.zeros(count, np.float32),
                np.full(count, material, np.uint8),
                np.full(count, flag, np.uint8),
                np.full(count, thing, np.int32),
            )
        )

    def mesh(self) -> Mesh:
        """All triangles that were added."""
        chunks = [*self._chunks, self._quad_chunk()]
        corners, axes, span, material, flag, thing = (
            np.concatenate(parts) for parts in zip(*chunks, strict=True)
        )
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        size = np.linalg.norm(cross, axis=1)
        keep = size > 1e-7
        params = np.zeros((len(self._params), PARAMS), np.float32)
        for row, values in zip(params, self._params, strict=True):
            row[: len(values)] = values
        return Mesh(
            corners=corners[keep],
            normals=cross[keep] / size[keep, None],
            axes=axes[keep],
            span=span[keep],
            material=material[keep],
            flag=flag[keep],
            thing=thing[keep],
            things=tuple(self._things),
            params=params,
        )

    def _quad_chunk(self) -> tuple[npt.NDArray[Any], ...]:
        quads = np.array(self._quads, np.float64).reshape(-1, 4, 3)
        marks = np.array(self._quad_marks, np.float64).reshape(-1, 5)
        u = quads[:, 1] - quads[:, 0]
        width = np.linalg.norm(u, axis=1, keepdims=True)
        u /= np.maximum(width, 1e-9)
        normal = np.cross(u, quads[:, 2] - quads[:, 0])
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        v = np.cross(normal, u)
        u_off = marks[:, 3:4] - (u * quads[:, 0]).sum(axis=1, keepdims=True)
        v_off = marks[:, 4:5] - (v * quads[:, 0]).sum(axis=1, keepdims=True)
        axes = np.repeat(np.concatenate([u, u_off, v, v_off], axis=1), 2, axis=0)
        corners = quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3, 3)
        material, thing, flag = (np.repeat(marks[:, column], 2) for column in (0, 1, 2))
        arrays = (corners, axes, np.repeat(width[:, 0], 2), material, flag, thing)
        kinds = (np.float32, np.float32, np.float32, np.uint8, np.uint8, np.int32)
        return tuple(array.astype(kind) for array, kind in zip(arrays, kinds, strict=True))

"""Pictures of a scene by ray tracing: from the street with perspective, from above without."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from addressvlm.cities.minicity.scene import Scene
from addressvlm.cities.minicity.shading import shade, tally, trace_surface

Bytes = npt.NDArray[np.uint8]
Reals = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: `position` in metres, heading clockwise from north, pitch up, field of view."""

    position: tuple[float, float, float]
    heading_deg: float
    pitch_deg: float
    fov_deg: float

    def basis(self) -> npt.NDArray[np.float64]:
        """Rows: right, up, forward (unit vectors)."""
        heading, pitch = np.radians(self.heading_deg), np.radians(self.pitch_deg)
        flat = np.array([np.sin(heading), np.cos(heading), 0.0])
        right = np.array([np.cos(heading), -np.sin(heading), 0.0])
        forward = flat * np.cos(pitch) + np.array([0.0, 0.0, np.sin(pitch)])
        return np.stack([right, np.cross(right, forward), forward])


@dataclass(frozen=True)
class Tally:
    """What the primary rays hit, by thing of the mesh: share of them, least depth, mean column (0 to 1)."""

    share: npt.NDArray[np.float64]
    depth_m: npt.NDArray[np.float64]
    column: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Picture:
    """RGB (height, width, 3), the tally of its things, and the triangle in each pixel, -1 for the sky."""

    pixels: Bytes
    tally: Tally
    triangles: npt.NDArray[np.int32]


class Renderer:
    """A scene ready for rays."""

    def __init__(self, scene: Scene):
        self._scene = scene
        self._mesh = scene.mesh
        self._embree = EmbreeScene()
        self._triangles = TriangleMesh(self._embree, scene.mesh.corners)
        self._corners = np.ascontiguousarray(scene.mesh.corners[:, :1])

    def photo(self, camera: Camera, size_px: int, samples: int) -> Picture:
        """A square photo; `samples` rays along each side of a pixel."""
        count = size_px * samples
        right, up, forward = camera.basis()
        half = np.tan(np.radians(camera.fov_deg) / 2)
        steps = ((np.arange(count) + 0.5) / count * 2 - 1) * half
        rays = forward + steps[None, :, None] * right - steps[:, None, None] * up
        directions = np.ascontiguousarray(rays.reshape(-1, 3), np.float32)
        origins = np.tile(np.array(camera.position, np.float32), (len(directions), 1))
        return self._picture(origins, directions, (count, count), samples, 2 * half / count, perspective=True)

    def aerial(self, x: Any, y: Any, metres_per_px: float) -> Picture:
        """A picture from straight above; `x`, `y` (height, width) are the places of the pixels in metres."""
        origins = np.stack([x, y, np.full_like(x, 400.0)], axis=-1).reshape(-1, 3).astype(np.float32)
        directions = np.zeros_like(origins)
        directions[:, 2] = -1.0
        return self._picture(origins, directions, x.shape, 1, metres_per_px, perspective=False)

    def _picture(
        self,
        origins: Reals,
        directions: Reals,
        shape: tuple[int, int],
        samples: int,
        step: float,
        *,
        perspective: bool,
    ) -> Picture:
        mesh, scene = self._mesh, self._scene
        hits = self._embree.run(origins, directions)
        depth = np.empty(len(hits))
        starts = np.empty_like(origins)
        trace_surface(origins, directions, hits, self._corners, mesh.normals, scene.sun, depth, starts)
        to_sun = np.tile(scene.sun.astype(np.float32), (len(hits), 1))
        blocked = self._embree.run(starts, to_sun, query="OCCLUDED") >= 0
        out = np.empty((len(hits), 3), np.uint8)
        rays = (origins, directions, hits, depth, blocked, step, perspective, scene.sun)
        surfaces = (mesh.normals, mesh.axes, mesh.span, mesh.material, mesh.flag, mesh.thing, mesh.params)
        shade(*rays, *surfaces, scene.atlas.pixels, scene.atlas.table, out)
        pixels = _averaged(out.reshape(*shape, 3), samples)
        middle = samples // 2  # one ray stands for its pixel
        seen = np.asarray(hits, np.int32).reshape(shape)[middle::samples, middle::samples]
        return Picture(pixels, self._tally(hits, depth, shape[1]), seen)

    def _tally(self, hits: Any, depth: Any, width: int) -> Tally:
        count = len(self._mesh.things)
        pixels, columns = np.zeros(count, np.int64), np.zeros(count, np.int64)
        nearest = np.full(count, np.inf)
        tally(hits, depth, self._mesh.thing, width, pixels, nearest, columns)
        column = (columns / np.maximum(pixels, 1) + 0.5) / width
        return Tally(pixels / len(hits), nearest, column)


def _averaged(pixels: Bytes, samples: int) -> Bytes:
    if samples == 1:
        return pixels
    height, width = pixels.shape[0] // samples, pixels.shape[1] // samples
    parts = pixels.reshape(height, samples, width, samples, 3).astype(np.uint32).sum(axis=(1, 3))
    return np.asarray((parts + samples * samples // 2) // (samples * samples), np.uint8)

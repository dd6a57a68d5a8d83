"""The colour of what a ray hits, compiled: procedural surfaces, each filtered to the size of a pixel.

All compiled functions live in this one file, because numba's cache on disk notices changes of a function's
own file only. No fast-math, no transcendental functions: the same bytes whatever the processor.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile `function`, cached on disk where a place for it can be written."""
    try:
        compiled: F = numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no folder that it may write its cache to
        compiled = numba.njit(error_model="numpy")(function)
    return compiled


@kernel
def _clamp(x: float) -> float:
    return min(1.0, max(0.0, x))


@kernel
def _mix(a: float, b: float, share: float) -> float:
    return a + (b - a) * share


@kernel
def _hash(a: int, b: int, c: int) -> float:
    """A number from 0 to 1 that looks random."""
    h = (a * 374761393 + b * 668265263 + c * 974634721) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 668265263) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF) / 65536.0


@kernel
def _noise(x: float, y: float, z: float, seed: int) -> float:
    """Smooth noise from 0 to 1 with features of size 1."""
    fx, fy, fz = float(np.floor(x)), float(np.floor(y)), float(np.floor(z))
    i, j, k = int(fx), int(fy), int(fz)
    x, y, z = x - fx, y - fy, z - fz
    x, y, z = x * x * (3 - 2 * x), y * y * (3 - 2 * y), z * z * (3 - 2 * z)
    total = 0.0
    for corner in range(8):
        a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
        weight = (x if a else 1 - x) * (y if b else 1 - y) * (z if c else 1 - z)
        total += weight * _hash(i + a, j + b, (k + c) * 7919 + seed)
    return total


@kernel
def _noise2(x: float, y: float, seed: int) -> float:
    fx, fy = float(np.floor(x)), float(np.floor(y))
    i, j = int(fx), int(fy)
    x, y = x - fx, y - fy
    x, y = x * x * (3 - 2 * x), y * y * (3 - 2 * y)
    low = _mix(_hash(i, j, seed), _hash(i + 1, j, seed), x)
    return _mix(low, _mix(_hash(i, j + 1, seed), _hash(i + 1, j + 1, seed), x), y)


@kernel
def _box(x: float, low: float, high: float, w: float) -> float:
    """Share of a pixel of width `w` at `x` that lies between `low` and `high`."""
    return max(0.0, min(high, x + 0.5 * w) - max(low, x - 0.5 * w)) / w


@kernel
def _filled(x: float, period: float, part: float) -> float:
    whole = float(np.floor(x / period))
    return whole * part + min(x - whole * period, part)


@kernel
def _stripes(x: float, period: float, part: float, w: float) -> float:
    """Share of a pixel covered by stripes of width `part`, one each `period`."""
    return (_filled(x + 0.5 * w, period, part) - _filled(x - 0.5 * w, period, part)) / w


@kernel
def _grain(x: float, y: float, size: float, w: float, seed: int) -> float:
    """Fine noise around 0 that fades where a pixel is larger than its grains."""
    return (_noise2(x / size, y / size, seed) - 0.5) * _clamp(1.5 - w / size)


@kernel
def _sky(dx: float, dy: float, dz: float) -> tuple[float, float, float]:
    """Linear colour of the sky: pale at the horizon, with a few soft clouds."""
    up = _clamp(dz)
    t = up * (2.0 - up)
    r, g, b = _mix(0.66, 0.10, t), _mix(0.78, 0.26, t), _mix(0.90, 0.66, t)
    if dz > 0.03:
        x, y = dx / (dz + 0.15) * 1.3, dy / (dz + 0.15) * 1.3
        cloud = (
            0.6 * _noise2(x, y, 71) + 0.28 * _noise2(2.3 * x, 2.3 * y, 72) + 0.12 * _noise2(5 * x, 5 * y, 73)
        )
        cover = _clamp((cloud - 0.52) * 4.0) * _clamp((dz - 0.03) * 8.0) * 0.8
        r, g, b = _mix(r, 0.95, cover), _mix(g, 0.96, cover), _mix(b, 0.98, cover)
    return r, g, b


@kernel
def _wall(u: float, v: float, w: float, kind: int, seed: int) -> float:
    """Brightness of a wall's material: 0 plaster, 1 brick, 2 stone, 3 wood siding, 4 concrete, 5 tile."""
    stain = 0.10 * (_noise2(u * 0.35, v * 0.25, seed) - 0.5)
    if kind == 0:
        return 1.0 + stain + 0.10 * _grain(u, v, 0.12, w, seed)
    if kind == 1:
        row = int(np.floor(v / 0.14))
        shift = 0.2 * (row & 1)
        tint = _hash(int(np.floor((u + shift) / 0.4)), row, seed) - 0.5
        joint = max(_stripes(v, 0.14, 0.025, w), _stripes(u + shift, 0.4, 0.025, w))
        return (
            1.0 + stain + 0.5 * tint * _clamp(1.3 - w / 0.3) + 0.55 * (joint - 0.19) * _clamp(1.5 - w / 0.14)
        )
    if kind == 2:
        row = int(np.floor(v / 0.5))
        shift = 0.5 * (row & 1)
        tint = _hash(int(np.floor((u + shift) / 1.0)), row, seed) - 0.5
        joint = max(_stripes(v, 0.5, 0.04, w), _stripes(u + shift, 1.0, 0.04, w))
        return 1.0 + stain + 0.22 * tint * _clamp(1.5 - w) - 0.35 * joint
    if kind == 3:
        return 1.0 + 0.4 * stain - 0.45 * _stripes(v, 0.26, 0.05, w)
    if kind == 4:
        joint = max(_stripes(v, 3.0, 0.05, w), _stripes(u, 2.4, 0.05, w))
        return 1.0 + 2.0 * stain + 0.08 * _grain(u, v, 0.25, w, seed) - 0.35 * joint
    joint = max(_stripes(v, 0.3, 0.03, w), _stripes(u, 0.3, 0.03, w))
    tint = _hash(int(np.floor(u / 0.3)), int(np.floor(v / 0.3)), seed) - 0.5
    return 1.0 + 0.3 * stain + 0.14 * tint * _clamp(1.4 - w / 0.3) - 0.3 * joint


@kernel
def _window(x: float, y: float, low: float, high: float, half: float, fu: float, fv: float, kind: int) -> Any:
    """Shares of a pixel on glass and on frame, in a window of half width `half` around x = 0."""
    hole = _box(x, -half, half, fu) * _box(y, low, high, fv)
    edge = 0.09
    glass = _box(x, -half + edge, half - edge, fu) * _box(y, low + edge, high - edge, fv)
    bar = 0.0
    middle = 0.5 * (low + high)
    if kind == 1:
        bar = _box(y, middle - 0.045, middle + 0.045, fv)
    elif kind == 2:
        bar = max(
            _stripes(x + 10.0 * half + 0.03, half * 2 / 3, 0.06, fu),
            _box(y, low + 0.62 * (high - low), low + 0.62 * (high - low) + 0.07, fv),
        )
    elif kind == 3:
        bar = _stripes(x + half + 0.04, half * 2 / 3, 0.08, fu)
    elif kind == 4:
        bar = _box(x, -0.04, 0.04, fu)
    glass *= 1.0 - bar
    sill = _box(x, -half - 0.12, half + 0.12, fu) * _box(y, low - 0.14, low, fv)
    return glass, max(hole - glass, 0.0) + sill


@kernel
def _facade(u: float, v: float, span: float, fu: float, fv: float, p: Any, flag: int) -> Any:
    """Albedo of a facade, and the share, lit-ness and kind of glass; flag 0 front, 1 side, 2 back."""
    seed, kind = int(p[16]), int(p[11])
    ground, storey, storeys = p[7], p[8], p[9]
    tone = _wall(u, v, max(fu, fv), int(p[3]), seed)
    r, g, b = p[0] * tone, p[1] * tone, p[2] * tone
    count = max(1, int(span / p[10] + 0.5))
    bay = span / count
    column = min(count - 1, max(0, int(np.floor(u / bay))))
    x = u - (column + 0.5) * bay
    glass, frame, accent, room = 0.0, 0.0, 0.0, 0.5
    at_ground = v < ground
    if at_ground and flag == 0:
        glass, frame, accent = _ground_floor(u, v, x, column, count, span, fu, fv, p)
        room = _hash(column, 0, seed + 3)
        if int(p[15]) == 1:  # goods in the shop window
            goods = _hash(int(np.floor(u / 0.45)), int(np.floor(v / 0.4)), seed + 4) if v < 1.35 else 0.0
            room = 0.5 + 0.4 * goods * _clamp(1.6 - fu / 0.45)
    elif v < ground + (storeys - 1) * storey or at_ground:
        floor = 0 if at_ground else 1 + int((v - ground) / storey)
        y = v if at_ground else v - ground - (floor - 1) * storey
        if flag != 1 or (column + seed) % 2 == 0:
            half = 0.46 * bay if kind == 3 else min(0.27 * bay, 0.85)
            glass, frame = _window(x, y, 0.95, storey - 0.45, half, fu, fv, kind)
            if kind == 4:
                wing = _box(abs(x), half, half + 0.5 * half + 0.1, fu) * _box(y, 0.95, storey - 0.45, fv)
                accent = wing * (1.0 - 0.35 * _stripes(y, 0.16, 0.06, fv))
        room = _hash(column, floor, seed + 3)
        blur = _clamp((max(fu / bay, fv / storey) - 0.45) * 2.0)
        glass, frame, accent = _mix(glass, 0.22, blur), _mix(frame, 0.07, blur), accent * (1.0 - blur)
    rest = _clamp(1.0 - glass - frame - accent)
    r = r * rest + p[4] * frame + p[12] * accent
    g = g * rest + p[5] * frame + p[13] * accent
    b = b * rest + p[6] * frame + p[14] * accent
    dirt = 0.82 + 0.18 * _clamp(v / 1.2)
    return r * dirt, g * dirt, b * dirt, _clamp(glass), room


@kernel
def _ground_floor(
    u: float, v: float, x: float, column: int, count: int, span: float, fu: float, fv: float, p: Any
) -> Any:
    """Glass, frame and accent at the front's ground floor: a house, a shop or a garage."""
    kind, ground, seed = int(p[15]), p[7], int(p[16])
    door = int(_hash(seed, 5, 9) * count)
    if kind == 1:
        end = 0.35
        inside = _box(u, end, span - end, fu)
        glass = (
            inside
            * _box(v, 0.5, ground - 1.0, fv)
            * (1.0 - _stripes(u - end, (span - 2 * end) / count, 0.1, fu))
        )
        in_door = _box(x, -0.55, 0.55, fu) * _box(v, 0.0, 2.3, fv) if column == door else 0.0
        pane = _box(x, -0.4, 0.4, fu) * _box(v, 0.35, 2.15, fv) if column == door else 0.0
        glass = glass * (1.0 - in_door) + pane
        return glass, 0.0, max(inside * _box(v, 0.0, ground, fv), in_door) - glass
    if kind == 2:
        half = min(1.4, 0.5 * span - 0.5)
        spot = u - 0.5 - half
        gate = _box(spot, -half, half, fu) * _box(v, 0.0, 2.4, fv)
        frame = _box(spot, -half - 0.12, half + 0.12, fu) * _box(v, 0.0, 2.52, fv) - gate
        gate_tone = gate * (1.0 - 0.4 * _stripes(v, 0.45, 0.06, fv))
        if u > 2.0 * half + 1.2:
            glass, border = _window(
                x, v, 1.0, min(ground - 0.5, 2.5), min(0.27 * span / count, 0.7), fu, fv, 0
            )
            return glass, border, 0.0
        return 0.0, frame, gate_tone
    if column == door:
        leaf = _box(x, -0.5, 0.5, fu) * _box(v, 0.0, 2.15, fv)
        glass = _box(x, -0.5, 0.5, fu) * _box(v, 2.2, 2.6, fv)
        frame = _box(x, -0.65, 0.65, fu) * _box(v, 0.0, 2.72, fv) - leaf - glass
        panel = _box(abs(x), 0.1, 0.38, fu) * (_box(v, 0.25, 0.95, fv) + _box(v, 1.15, 1.95, fv))
        return glass, frame, leaf * (1.0 - 0.3 * panel)
    half = min(0.27 * span / count, 0.85)
    glass, frame = _window(x, v, 1.0, ground - 0.65, half, fu, fv, int(p[11]))
    return glass, frame, 0.0


@kernel
def _road(u: float, v: float, fu: float, fv: float, p: Any, width: float) -> Any:
    """Carriageway; paving and marking are places in look.PAVINGS and look.MARKINGS."""
    paving, marking, w = int(p[3]), int(p[4]), max(fu, fv)
    tone = 1.0 + 0.10 * (_noise2(u * 0.15, v * 0.4, 5) - 0.5) + 0.22 * _grain(u, v, 0.09, w, 6)
    if paving == 2:
        row = int(np.floor(u / 0.22))
        shift = 0.12 * (row & 1)
        joint = max(_stripes(u, 0.22, 0.05, fu), _stripes(v + shift, 0.24, 0.05, fv))
        tint = _hash(row, int(np.floor((v + shift) / 0.24)), 3) - 0.5
        tone += (0.4 * tint - 0.4 * joint) * _clamp(1.6 - w / 0.3)
    elif paving == 3:
        tone -= 0.25 * max(_stripes(u, 4.0, 0.08, fu), _stripes(v, 0.5 * width, 0.08, fv))
        tone += 0.12 * (_hash(int(np.floor(u / 4.0)), int(np.floor(v / (0.5 * width))), 4) - 0.5)
    elif paving == 4:
        tint = _hash(int(np.floor(u / 0.3)), int(np.floor((v + 50.0) / 0.15)), 8) - 0.5
        tone += (0.5 * tint - 0.3 * _stripes(u, 0.3, 0.03, fu)) * _clamp(1.5 - w / 0.3)
    tone *= 1.0 - 0.25 * _clamp(1.0 - (0.5 * width - abs(v)) / 0.35)
    r, g, b = p[0] * tone, p[1] * tone, p[2] * tone
    if marking == 1:
        paint = _box(v, -0.09, 0.09, fv) * _stripes(u, 7.0, 3.0, fu)
    elif marking == 2:
        paint = _box(abs(v), 0.10, 0.24, fv)
    elif marking == 3:
        paint = _box(v, -0.09, 0.09, fv) + _box(abs(v), 0.5 * width - 2.35, 0.5 * width - 2.22, fv)
    else:
        paint = 0.0
    if marking == 4:
        rail = _box(abs(abs(v) - 1.9), 0.66, 0.80, fv)
        bed = _box(abs(v), 0.7, 3.1, fv)
        r, g, b = (
            _mix(r, 0.20 * tone, bed * 0.6),
            _mix(g, 0.18 * tone, bed * 0.6),
            _mix(b, 0.17 * tone, bed * 0.6),
        )
        r, g, b = _mix(r, 0.05, rail), _mix(g, 0.05, rail), _mix(b, 0.055, rail)
    worn = paint * 0.85
    yellow = marking == 2
    r, g, b = (
        _mix(r, 0.66, worn),
        _mix(g, 0.47 if yellow else 0.66, worn),
        _mix(b, 0.06 if yellow else 0.64, worn),
    )
    return r, g, b


@kernel
def _ground(u: float, v: float, w: float, p: Any) -> Any:
    """Flat land: 0 plain, 1 slabs, 2 brick, 3 grass, 4 gravel, 5 fields, 6 cobbles, 7 garden."""
    kind = int(p[3])
    r, g, b = p[0], p[1], p[2]
    tone = 1.0 + 0.08 * (_noise2(u * 0.2, v * 0.2, 2) - 0.5)
    if kind == 1:
        tint = _hash(int(np.floor(u / 0.9)), int(np.floor(v / 0.9)), 1) - 0.5
        tone += 0.14 * tint * _clamp(1.4 - w / 0.9) - 0.30 * max(
            _stripes(u, 0.9, 0.05, w), _stripes(v, 0.9, 0.05, w)
        )
    elif kind == 2:
        row = int(np.floor(v / 0.16))
        tint = _hash(int(np.floor((u + 0.15 * (row & 1)) / 0.3)), row, 1) - 0.5
        tone += (0.5 * tint - 0.3 * _stripes(v, 0.16, 0.03, w)) * _clamp(1.6 - w / 0.25)
    elif kind == 3 or kind == 7:
        tone += 0.35 * (_noise2(u * 0.11, v * 0.11, 3) - 0.5) + 0.5 * _grain(u, v, 0.18, w, 4)
        if kind == 7:
            bed = 0.6 * _clamp((_noise2(u * 0.4, v * 0.4, 9) - 0.62) * 9.0)
            r, g, b = _mix(r, 0.09, bed), _mix(g, 0.12, bed), _mix(b, 0.04, bed)
    elif kind == 4:
        tone += 0.5 * _grain(u, v, 0.10, w, 5) + 0.12 * (_noise2(u * 0.6, v * 0.6, 6) - 0.5)
    elif kind == 5:
        i, j = int(np.floor(u / 140.0)), int(np.floor(v / 95.0))
        crop = _hash(i, j, 11)
        tone += 0.14 * _stripes(u if crop > 0.5 else v, 3.0, 1.5, w) + 0.2 * (
            _noise2(u * 0.03, v * 0.03, 7) - 0.5
        )
        tone += 0.25 * _grain(u, v, 0.5, w, 8)
        if crop < 0.3:
            r, g, b = 0.40, 0.34, 0.13
        elif crop < 0.45:
            r, g, b = 0.24, 0.18, 0.11
        elif crop < 0.7:
            r, g, b = 0.13, 0.27, 0.07
        hedge = max(_stripes(u, 140.0, 3.0, w), _stripes(v, 95.0, 3.0, w))
        r, g, b = _mix(r, 0.05, hedge), _mix(g, 0.12, hedge), _mix(b, 0.04, hedge)
    elif kind == 6:
        row = int(np.floor(u / 0.2))
        tint = _hash(row, int(np.floor(v / 0.2)), 3) - 0.5
        tone += (0.45 * tint - 0.4 * max(_stripes(u, 0.2, 0.04, w), _stripes(v, 0.2, 0.04, w))) * _clamp(
            1.6 - w / 0.3
        )
    else:
        tone += 0.15 * _grain(u, v, 0.1, w, 6)
    return r * tone, g * tone, b * tone


@kernel
def _texel(atlas: Any, row: Any, level: int, x: float, y: float) -> float:
    start, width, height = row[3 * level], row[3 * level + 1], row[3 * level + 2]
    fx, fy = x * width - 0.5, y * height - 0.5
    i, j = int(np.floor(fx)), int(np.floor(fy))
    fx, fy = fx - i, fy - j
    i0, i1 = min(max(i, 0), width - 1), min(max(i + 1, 0), width - 1)
    j0, j1 = min(max(j, 0), height - 1), min(max(j + 1, 0), height - 1)
    # Grey values are unsigned: their difference must not be taken before they are numbers with a sign.
    low = _mix(float(atlas[start + j0 * width + i0]), float(atlas[start + j0 * width + i1]), fx)
    high = _mix(float(atlas[start + j1 * width + i0]), float(atlas[start + j1 * width + i1]), fx)
    return _mix(low, high, fy) / 255.0


@kernel
def _sign(u: float, v: float, span: float, fu: float, fv: float, p: Any, atlas: Any, table: Any) -> float:
    """How much ink is in a pixel of a sign; p[7] is its height in metres."""
    row = table[int(p[6])]
    x, y = u / span, 1.0 - v / p[7]
    across, up = fu / span * row[1], fv / p[7] * row[2]
    texels = 0.7 * max(across, up) + 0.3 * min(across, up)
    level, size = 0, 1.0
    while level < 4 and size * 1.5 < texels:
        level += 1
        size *= 2.0
    return _texel(atlas, row, level, x, y)


@kernel
def trace_surface(
    origins: Any, directions: Any, hits: Any, corners: Any, normals: Any, sun: Any, depth: Any, starts: Any
) -> None:
    """Fill `depth` (n,) with ray lengths in units of the direction, `starts` (n, 3) for shadow rays.

    Sky and surfaces turned away from the sun need no shadow ray: theirs starts high above everything.
    """
    for ray in range(len(hits)):
        hit = hits[ray]
        starts[ray, 0], starts[ray, 1], starts[ray, 2] = 0.0, 0.0, 5000.0
        if hit < 0:
            depth[ray] = np.inf
            continue
        nx, ny, nz = float(normals[hit, 0]), float(normals[hit, 1]), float(normals[hit, 2])
        dx, dy, dz = float(directions[ray, 0]), float(directions[ray, 1]), float(directions[ray, 2])
        ox, oy, oz = float(origins[ray, 0]), float(origins[ray, 1]), float(origins[ray, 2])
        slope = nx * dx + ny * dy + nz * dz
        if abs(slope) < 1e-12:
            slope = -1e-12
        over = (
            nx * (corners[hit, 0, 0] - ox) + ny * (corners[hit, 0, 1] - oy) + nz * (corners[hit, 0, 2] - oz)
        )
        t = over / slope
        depth[ray] = t
        side = -0.02 if slope > 0 else 0.02
        if (nx * sun[0] + ny * sun[1] + nz * sun[2]) * side > 0:
            starts[ray, 0] = ox + t * dx + side * nx
            starts[ray, 1] = oy + t * dy + side * ny
            starts[ray, 2] = oz + t * dz + side * nz


@kernel
def _roof(u: float, v: float, x: float, y: float, fu: float, fv: float, flag: int) -> float:
    """Brightness of a roof: 0 gravel, 1 tiles."""
    tone = 1.0 + 0.16 * (_noise2(x * 0.3, y * 0.3, 21) - 0.5)
    if flag == 0:
        return tone + 0.3 * _grain(x, y, 0.15, fu, 23)
    tint = _hash(int(np.floor(u / 0.4)), int(np.floor(v / 0.35)), 22) - 0.5
    return tone - 0.32 * (_stripes(v, 0.35, 0.1, fv) - 0.28) + 0.2 * tint * _clamp(1.5 - fu / 0.4)


@kernel
def _leaf(x: float, y: float, z: float, pixel: float, size: float) -> float:
    """Share of light leaves between dark ones in a crown."""
    leaf = _noise(x / size, y / size, z / size, 31) - 0.5
    coarse = _noise(x * 0.9, y * 0.9, z * 0.9, 32) - 0.5
    speck = _noise(x / 0.12, y / 0.12, z / 0.12, 33) - 0.5
    fine, finest = _clamp(1.6 - pixel / size), _clamp(1.6 - pixel / 0.12)
    return _clamp(0.5 + 1.5 * leaf * fine + 0.7 * coarse + 1.1 * speck * finest)


@kernel
def _water(x: float, y: float, dx: float, dy: float, dz: float, slope: float, w: float, p: Any) -> Any:
    """Colour of water: its own, and the sky in small waves."""
    wave = _noise2(x * 0.25, y * 0.5, 41) + 0.6 * _grain(x, y, 0.7, w, 42)
    tip = 0.06 * (wave - 0.5)
    r, g, b = _sky(dx + tip, dy + tip, abs(dz) + 0.02)
    shine = 0.12 + 0.75 * (1.0 + slope) * (1.0 + slope) * (1.0 + slope)
    tone = 0.85 + 0.3 * wave
    return (
        _mix(p[0] * tone, r * 0.8, shine),
        _mix(p[1] * tone, g * 0.8, shine),
        _mix(p[2] * tone, b * 0.8, shine),
    )


@kernel
def _plain(u: float, v: float, w: float, flag: int, p: Any) -> Any:
    """A plain colour: the thing's own, rubber (1), trim (2), accent (3), roof slab (4), rough stone (5)."""
    if flag == 1:
        return 0.02, 0.02, 0.022
    if flag == 2:
        return p[4], p[5], p[6]
    if flag == 3:
        return p[12], p[13], p[14]
    if flag == 4:
        return 0.36, 0.36, 0.35
    tone = 1.0 + p[3] * _grain(u, v, 0.2, w, 51) if flag == 5 else 1.0
    return p[0] * tone, p[1] * tone, p[2] * tone


@kernel
def _mirrored(
    dx: float, dy: float, dz: float, slope: float, nx: float, ny: float, nz: float, room: float
) -> Any:
    """Light from a window pane: sky or street in it by angle, a dim or curtained room behind."""
    rz = dz - 2 * slope * nz
    r, g, b = _sky(dx - 2 * slope * nx, dy - 2 * slope * ny, rz)
    low = _clamp((0.25 - rz) * 4.0)
    r, g, b = _mix(r, 0.20, low), _mix(g, 0.19, low), _mix(b, 0.18, low)
    shine = 0.22 + 0.7 * (1.0 + slope) * (1.0 + slope) * (1.0 + slope)
    inside = 0.035 + (0.30 * (room - 0.55) if room > 0.55 else 0.0)
    return _mix(inside, r, shine), _mix(inside * 0.97, g, shine), _mix(inside * 0.92, b, shine)


@kernel
def shade(
    origins: Any,
    directions: Any,
    hits: Any,
    depth: Any,
    blocked: Any,
    step: float,
    perspective: bool,
    sun: Any,
    normals: Any,
    axes: Any,
    spans: Any,
    materials: Any,
    flags: Any,
    things: Any,
    params: Any,
    atlas: Any,
    table: Any,
    out: Any,
) -> None:
    """Fill `out` (n, 3) uint8. `step` is the size of a pixel at unit depth (perspective) or in metres."""
    for ray in range(len(hits)):
        dx, dy, dz = float(directions[ray, 0]), float(directions[ray, 1]), float(directions[ray, 2])
        length = np.sqrt(dx * dx + dy * dy + dz * dz)
        hit = hits[ray]
        if hit < 0:
            r, g, b = _sky(dx / length, dy / length, dz / length)
            out[ray, 0], out[ray, 1], out[ray, 2] = _tone(r), _tone(g), _tone(b)
            continue
        t = depth[ray]
        x, y, z = origins[ray, 0] + t * dx, origins[ray, 1] + t * dy, origins[ray, 2] + t * dz
        dx, dy, dz = dx / length, dy / length, dz / length
        nx, ny, nz = float(normals[hit, 0]), float(normals[hit, 1]), float(normals[hit, 2])
        slope = nx * dx + ny * dy + nz * dz
        facing = slope < 0
        if not facing:
            nx, ny, nz, slope = -nx, -ny, -nz, -slope
        slope = min(slope, -1e-4)
        pixel = step * t if perspective else step
        a, p = axes[hit], params[things[hit]]
        along, up = a[0] * dx + a[1] * dy + a[2] * dz, a[4] * dx + a[5] * dy + a[6] * dz
        fu = max(1e-4, pixel * np.sqrt(1.0 + (along / slope) * (along / slope)))
        fv = max(1e-4, pixel * np.sqrt(1.0 + (up / slope) * (up / slope)))
        u = a[0] * x + a[1] * y + a[2] * z + a[3]
        v = a[4] * x + a[5] * y + a[6] * z + a[7]
        material, flag = materials[hit], flags[hit]
        glass, room, wrap = 0.0, 0.5, 0.0
        if material == 1:
            r, g, b, glass, room = _facade(u, v, spans[hit], fu, fv, p, flag)
        elif material == 2:
            tone = _roof(u, v, x, y, fu, fv, flag)
            r, g, b = p[17] * tone, p[18] * tone, p[19] * tone
        elif material == 3:
            r, g, b = _road(u, v, fu, fv, p, p[5])
        elif material == 4:
            r, g, b = _ground(u, v, max(fu, fv), p)
        elif material == 5:
            light = _leaf(x, y, z, pixel, p[9])
            r, g, b = _mix(p[0], p[3], light), _mix(p[1], p[4], light), _mix(p[2], p[5], light)
            cx, cy, cz = x - p[6], y - p[7], z - p[8]
            away = 0.75 / np.sqrt(cx * cx + cy * cy + cz * cz + 1e-6)
            nx, ny, nz = 0.25 * nx + cx * away, 0.25 * ny + cy * away, 0.25 * nz + cz * away
            wrap = 0.3
        elif material == 6:
            r, g, b = _water(x, y, dx, dy, dz, slope, max(fu, fv), p)
        elif material == 7:
            ink = _sign(u, v, spans[hit], fu, fv, p, atlas, table) if facing else 0.0
            r, g, b = _mix(p[0], p[3], ink), _mix(p[1], p[4], ink), _mix(p[2], p[5], ink)
        elif material == 8:
            r, g, b, glass, room = 0.02, 0.02, 0.025, 0.9, 0.2
        elif material == 9:
            paint = _stripes(u, p[23], 0.5 * p[23], fu) if p[23] > 0 else 0.0
            r, g, b = _mix(p[20], 0.75, paint), _mix(p[21], 0.75, paint), _mix(p[22], 0.72, paint)
        else:
            r, g, b = _plain(u, v, max(fu, fv), flag, p)
        lit = 0.0 if blocked[ray] else _clamp((nx * sun[0] + ny * sun[1] + nz * sun[2] + wrap) / (1.0 + wrap))
        if material == 6:
            soft = 0.75 + 0.25 * lit
            r, g, b = r * soft, g * soft, b * soft
        else:
            above = 0.5 + 0.5 * nz
            r *= _mix(0.30, 0.50, above) + 1.55 * lit
            g *= _mix(0.29, 0.56, above) + 1.46 * lit
            b *= _mix(0.27, 0.66, above) + 1.28 * lit
        if glass > 0:
            mr, mg, mb = _mirrored(dx, dy, dz, slope, nx, ny, nz, room)
            r, g, b = _mix(r, mr, glass), _mix(g, mg, glass), _mix(b, mb, glass)
        if perspective:
            far = t * length
            haze = far * far / (far * far + 1100.0 * 1100.0)
            r, g, b = _mix(r, 0.66, haze), _mix(g, 0.76, haze), _mix(b, 0.86, haze)
        grey = 0.12 * (0.30 * r + 0.59 * g + 0.11 * b)
        out[ray, 0], out[ray, 1], out[ray, 2] = (
            _tone(0.88 * r + grey),
            _tone(0.88 * g + grey),
            _tone(0.88 * b + grey),
        )


@kernel
def _tone(light: float) -> int:
    """Linear light to an 8-bit value: gentle shoulder, gamma 2."""
    light = max(0.0, light)
    value = np.sqrt(light * 1.27 / (1.0 + 0.42 * light))
    return int(min(255.0, value * 255.0 + 0.5))


@kernel
def tally(hits: Any, depth: Any, things: Any, width: int, counts: Any, nearest: Any, columns: Any) -> None:
    """Per thing: pixels hit, least depth, and sum of columns; the arrays are as long as there are things."""
    for ray in range(len(hits)):
        if hits[ray] >= 0:
            thing = things[hits[ray]]
            counts[thing] += 1
            columns[thing] += ray % width
            nearest[thing] = min(nearest[thing], depth[ray])

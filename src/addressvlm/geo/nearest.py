"""The two nearest streets of many points at once: a grid of short pieces, searched by compiled code.

Every cell of the grid lists the pieces that come within the radius of any place in it, so a point looks at
its own cell only. Distances are exact. All compiled functions of `geo` live in this file, because numba's
cache on disk notices changes of a function's own file only.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt
import shapely

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
F = TypeVar("F", bound=Callable[..., Any])

# More cells than this would cost more memory than they save time.
_CELLS = 40_000_000


def _compiled(function: F) -> F:
    """Compile `function`, cached on disk where a place for it can be written."""
    try:
        compiled: F = numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no folder that it may write its cache to
        compiled = numba.njit(error_model="numpy")(function)
    return compiled


class StreetIndex:
    """Streets in a metric plane, one shape a street; a street's number is its place among them."""

    def __init__(self, streets: npt.NDArray[Any], radius_m: float):
        self._radius_m = radius_m
        pieces, self._street = _pieces(streets, radius_m)
        self._pieces = pieces  # (pieces, 4): x and y of both ends
        low = pieces.reshape(-1, 2).min(axis=0) - radius_m
        size = pieces.reshape(-1, 2).max(axis=0) + radius_m - low
        self._cell_m = max(radius_m, float(np.sqrt(size[0] * size[1] / _CELLS)))
        columns, rows = (int(side // self._cell_m) + 1 for side in size)
        self._grid = (float(low[0]), float(low[1]), columns, rows)
        counts = _registered(pieces, radius_m, self._cell_m, self._grid, np.zeros(0, np.int64), _NONE)
        self._begins = np.concatenate([[0], np.cumsum(counts)])
        self._entries = np.zeros(int(self._begins[-1]), np.int32)
        _registered(pieces, radius_m, self._cell_m, self._grid, self._begins[:-1].copy(), self._entries)

    def nearest_two(self, x: Floats, y: Floats) -> tuple[Ints, Floats, Ints, Floats]:
        """Number and distance of the nearest street of each point, and of the next, within the radius.

        Distances are rounded to centimetres; of equally near streets the lower number is nearer. Where there
        is none: -1 and NaN.
        """
        first, second = np.full((2, len(x)), -1, np.int64)
        first_m, second_m = np.full((2, len(x)), np.nan)
        _search(
            x, y, self._radius_m, self._cell_m, self._grid, self._begins, self._entries, self._pieces,
            self._street, first, first_m, second, second_m,
        )  # fmt: skip
        return first, first_m, second, second_m


_NONE = np.zeros(0, np.int32)


def _pieces(streets: npt.NDArray[Any], longest_m: float) -> tuple[Floats, Ints]:
    """The ends (pieces, 4) of short straight pieces of all streets, and the street of each."""
    lines, owner = shapely.get_parts(streets, return_index=True)
    long = shapely.length(lines) > 0  # GEOS cannot cut what has no length
    lines[long] = shapely.segmentize(lines[long], longest_m)
    points, line = shapely.get_coordinates(lines, return_index=True)
    together = np.flatnonzero(line[1:] == line[:-1])
    return np.hstack([points[together], points[together + 1]]), owner[line[together]]


@_compiled
def _distance2(x: float, y: float, piece: Floats) -> float:
    """The square of the distance from a point to a straight piece."""
    dx, dy = piece[2] - piece[0], piece[3] - piece[1]
    length2 = dx * dx + dy * dy
    along = 0.0
    if length2 > 0:
        along = min(1.0, max(0.0, ((x - piece[0]) * dx + (y - piece[1]) * dy) / length2))
    off_x, off_y = x - (piece[0] + along * dx), y - (piece[1] + along * dy)
    square: float = off_x * off_x + off_y * off_y
    return square


@_compiled
def _registered(
    pieces: Floats,
    radius_m: float,
    cell_m: float,
    grid: tuple[float, float, int, int],
    places: Ints,
    entries: npt.NDArray[np.int32],
) -> Ints:
    """How many pieces each cell lists; with `places` (the first of each cell), write them into `entries`."""
    west, south, columns, rows = grid
    counts = np.zeros(columns * rows, np.int64)
    # From the middle of a cell, a piece that is within reach of any of its corners is at most so far.
    reach = radius_m + cell_m * np.sqrt(0.5) + 1e-6
    for number in range(len(pieces)):
        piece = pieces[number]
        left = int((min(piece[0], piece[2]) - reach - west) // cell_m)
        right = int((max(piece[0], piece[2]) + reach - west) // cell_m)
        bottom = int((min(piece[1], piece[3]) - reach - south) // cell_m)
        top = int((max(piece[1], piece[3]) + reach - south) // cell_m)
        for row in range(max(0, bottom), min(rows - 1, top) + 1):
            for column in range(max(0, left), min(columns - 1, right) + 1):
                x, y = west + (column + 0.5) * cell_m, south + (row + 0.5) * cell_m
                if _distance2(x, y, piece) <= reach * reach:
                    cell = row * columns + column
                    counts[cell] += 1
                    if len(places):
                        entries[places[cell]] = number
                        places[cell] += 1
    return counts


@_compiled
def _search(
    x: Floats,
    y: Floats,
    radius_m: float,
    cell_m: float,
    grid: tuple[float, float, int, int],
    begins: Ints,
    entries: npt.NDArray[np.int32],
    pieces: Floats,
    streets: Ints,
    first: Ints,
    first_m: Floats,
    second: Ints,
    second_m: Floats,
) -> None:
    """Fill in the two nearest streets of every point."""
    west, south, columns, rows = grid
    for point in range(len(x)):
        column, row = int((x[point] - west) // cell_m), int((y[point] - south) // cell_m)
        if not (0 <= column < columns and 0 <= row < rows):
            continue
        a, b = -1, -1
        a_m, b_m = np.inf, np.inf
        cell = row * columns + column
        limit2 = radius_m * radius_m
        for entry in range(begins[cell], begins[cell + 1]):
            number = entries[entry]
            square = _distance2(x[point], y[point], pieces[number])
            if square > limit2:
                continue
            metres = np.round(np.sqrt(square) * 100.0) / 100.0
            street = streets[number]
            if street == a:
                a_m = min(a_m, metres)
            elif metres < a_m or (metres == a_m and street < a):
                b, b_m = a, a_m
                a, a_m = street, metres
            elif street == b:
                b_m = min(b_m, metres)
            elif metres < b_m or (metres == b_m and street < b):
                b, b_m = street, metres
            if b_m < radius_m:  # farther than the second by more than rounding: of no interest
                limit2 = min(limit2, (b_m + 0.01) ** 2)
        if a >= 0:
            first[point], first_m[point] = a, a_m
        if b >= 0:
            second[point], second_m[point] = b, b_m

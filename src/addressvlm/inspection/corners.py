"""Photos near corners, whose street could as well be the next one."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from addressvlm.evaluation.metrics import CORNER_M


@dataclass(frozen=True)
class Corner:
    """Two streets, and the photos that lie hardly nearer to the one than to the other."""

    streets: tuple[str, str]
    photos: int
    locations: int
    least_m: float


def near_corner(photos: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether each photo's second street is less than 10 m farther than its first."""
    margin_m = photos["margin_m"].to_numpy(np.float64, na_value=np.nan)
    return np.asarray(margin_m < CORNER_M)


def corners(photos: pd.DataFrame) -> list[Corner]:
    """The pairs of streets with ambiguous photos, those with the most photos first."""
    near = photos[near_corner(photos)]
    if near.empty:
        return []
    pairs: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for street, other, location, margin_m in zip(
        *(near[name] for name in ("street", "runner_up", "location", "margin_m")), strict=True
    ):
        pairs.setdefault((min(street, other), max(street, other)), []).append((location, margin_m))
    found = [
        Corner(
            streets,
            len(rows),
            len({location for location, _ in rows}),
            math.floor(10 * min(margin_m for _, margin_m in rows)) / 10,
        )
        for streets, rows in pairs.items()
    ]
    return sorted(found, key=lambda corner: (-corner.photos, corner.streets))

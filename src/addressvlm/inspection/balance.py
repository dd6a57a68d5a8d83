"""How unevenly photos are spread over names."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Balance:
    """The spread of photos over the names that have any.

    `share` is that of the largest name, in percent. `gini` is 0 where all have equally many and near 1 where
    one has nearly all. `effective` is 1 / Σp²: with so many equally frequent names, two photos drawn at
    random would have the same name as often as here.
    """

    names: int
    largest: str
    share: float
    gini: float
    effective: float
    single: int

    def to_json(self) -> dict[str, Any]:
        """As a dictionary; `single` counts the names of a single location."""
        return asdict(self)


@dataclass(frozen=True)
class Count:
    """A name with its photos and locations; `share` is of the largest name's photos, for a bar."""

    name: str
    photos: int
    locations: int
    share: float


def counts(photos: pd.DataFrame, level: str) -> list[Count]:
    """The names of a level with their photos and locations, the largest first.

    `photos` has the columns `location` and `level`, a row a photo.
    """
    grouped = photos.groupby(level)["location"].agg(["size", "nunique"])
    largest = int(grouped["size"].max()) if len(grouped) else 1
    rows = [
        Count(str(name), int(size), int(places), size / largest)
        for name, size, places in zip(grouped.index, grouped["size"], grouped["nunique"], strict=True)
    ]
    return sorted(rows, key=lambda row: (-row.photos, row.name))


def balance(counted: list[Count]) -> Balance | None:
    """How uneven counts are; None where there are none."""
    if not counted:
        return None
    sizes = np.array(sorted(count.photos for count in counted), np.float64)
    p = sizes / sizes.sum()
    n = len(p)
    gini = float((2 * np.arange(1, n + 1) - n - 1) @ p / n)
    return Balance(
        n,
        counted[0].name,
        round(100 * float(p[-1]), 2),
        round(gini, 4),
        round(1 / float((p**2).sum()), 2),
        sum(count.locations == 1 for count in counted),
    )


def balances(photos: pd.DataFrame) -> Mapping[str, Any]:
    """The balance of both levels, JSON-able."""
    found = {level: balance(counts(photos, level)) for level in ("district", "street")}
    return {level: value.to_json() if value else None for level, value in found.items()}

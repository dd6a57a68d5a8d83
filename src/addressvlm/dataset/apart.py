"""Photos of different splits kept away from each other, so that no house stands in two of them."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from addressvlm.errors import AddressVLMError
from addressvlm.geo.places import LatLon, Projection

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


def apart(photos: Mapping[Split, pd.DataFrame], apart_m: float) -> dict[Split, pd.DataFrame]:
    """The photos by split, without those within `apart_m` of photos of another split.

    Test is kept whole, val loses what is near test, train what is near the rest of either. So photos of
    different splits are farther apart than that, however the splits were made. Raises `AddressVLMError` where
    a split that had photos would be left without.
    """
    if apart_m <= 0:
        return dict(photos)
    everything = pd.concat(photos.values(), keys=photos.keys(), names=["dealt"]).reset_index("dealt")
    points = _points(everything)
    kept = np.zeros(len(everything), bool)
    for split in reversed(SPLITS):
        here = (everything["dealt"] == split).to_numpy()
        if not here.any():
            continue
        near = shapely.STRtree(points[kept]).query(points[here], predicate="dwithin", distance=apart_m)[0]
        stays = np.ones(here.sum(), bool)
        stays[near] = False
        if not stays.any():
            raise AddressVLMError(
                f"no {split} photo is {apart_m:g} m from those of the other splits; lower `apart_m`, or "
                "split by block with a larger `block_m`"
            )
        kept[np.flatnonzero(here)[stays]] = True
    left = everything[kept]
    return {split: left[left["dealt"] == split].drop(columns="dealt") for split in photos}


def chains(photos: pd.DataFrame, apart_m: float) -> list[list[str]]:
    """The locations in groups: those with photos within `apart_m` of each other, in chains.

    Photos of different groups are farther apart than that; each group, and all of them, are sorted.
    """
    names, codes = np.unique(photos["location"].to_numpy(str), return_inverse=True)
    root = list(range(len(names)))

    def first(number: int) -> int:
        while root[number] != number:
            root[number] = root[root[number]]
            number = root[number]
        return number

    points = _points(photos)
    for one, other in shapely.STRtree(points).query(points, predicate="dwithin", distance=apart_m).T:
        a, b = first(codes[one]), first(codes[other])
        root[max(a, b)] = min(a, b)
    clusters: dict[int, list[str]] = {}
    for number, name in enumerate(names):
        clusters.setdefault(first(number), []).append(str(name))
    return list(clusters.values())


def _points(photos: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Where the photos were taken, in metres."""
    middle = LatLon(float(photos["lat"].median()), float(photos["lon"].median()))
    x, y = Projection(middle).to_xy(photos["lat"], photos["lon"])
    return np.asarray(shapely.points(x, y))

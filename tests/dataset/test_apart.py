from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addressvlm.dataset.apart import SPLITS, Split, apart, chains
from addressvlm.dataset.options import DatasetOptions
from addressvlm.dataset.splits import split_locations
from addressvlm.errors import AddressVLMError, UsageError

METRE = 1 / 111_195
Points = Sequence[tuple[float, float]]


def photos_at(points: Points, *, to_a_location: int = 1) -> pd.DataFrame:
    """A photo at each of the points (metres east and north of 45 N, 9 E), so many to a location."""
    return pd.DataFrame(
        {
            "photo": [f"p{number:04}" for number in range(len(points))],
            "location": [f"l{number // to_a_location:04}" for number in range(len(points))],
            "lat": [45 + north * METRE for _, north in points],
            "lon": [9 + east * METRE / np.cos(np.radians(45)) for east, _ in points],
        }
    )


def dealt(photos: pd.DataFrame, **options: Any) -> dict[Split, pd.DataFrame]:
    chosen = DatasetOptions(**options)
    split = photos["location"].map(split_locations(photos, chosen))
    return apart({name: photos[split == name] for name in SPLITS}, chosen.apart_m)


def nearest_m(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """The least distance between a photo of one and a photo of the other, on the sphere."""
    parts = []
    for frame in (one, other):
        lat, lon = np.radians(frame["lat"].to_numpy()), np.radians(frame["lon"].to_numpy())
        parts.append(np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1))
    gaps = parts[0][:, None] - parts[1][None]
    return float(np.sqrt((gaps**2).sum(axis=-1)).min() * 6_371_000)


@settings(deadline=None, max_examples=30)
@given(
    points=st.lists(st.tuples(*[st.floats(0, 2000)] * 2), min_size=12, max_size=60),
    seed=st.integers(0, 1000),
    split_by=st.sampled_from(["location", "block", "cluster"]),
    apart_m=st.floats(1, 150),
    to_a_location=st.integers(1, 3),
)
def test_photos_of_two_splits_are_never_nearer_than_asked(
    points: list[tuple[float, float]], seed: int, split_by: Any, apart_m: float, to_a_location: int
) -> None:
    photos = photos_at(points, to_a_location=to_a_location)
    try:
        found = dealt(photos, seed=seed, split_by=split_by, apart_m=apart_m)
    except AddressVLMError:
        return  # too few groups, or nothing left: said, not silently broken
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        # 1 % for a sphere that is no ellipsoid.
        assert nearest_m(found[a], found[b]) > 0.99 * apart_m  # type: ignore[index]


def test_test_is_kept_whole_and_training_gives_way() -> None:
    photos = photos_at([(0, 0), (30, 0), (60, 0), (90, 0)])
    splits = {"train": photos.iloc[[0, 1]], "val": photos.iloc[[2]], "test": photos.iloc[[3]]}
    kept = apart(splits, 25)  # type: ignore[arg-type]
    assert {name: len(table) for name, table in kept.items()} == {"train": 2, "val": 1, "test": 1}
    with pytest.raises(AddressVLMError, match="no val photo is 30.5 m from those of the other splits"):
        apart(splits, 30.5)  # type: ignore[arg-type]
    splits["val"] = splits["val"].iloc[:0]
    kept = apart({**splits, "test": photos.iloc[[2]]}, 35)  # type: ignore[dict-item]
    assert kept["train"]["photo"].tolist() == ["p0000"]


def test_clusters_lose_no_photo() -> None:
    # Twenty groups 100 m apart of five photos each, 5 m from one to the next.
    photos = photos_at([(100 * group, 5 * number) for group in range(20) for number in range(5)])
    found = dealt(photos, split_by="cluster", apart_m=10)
    assert {name: len(table) for name, table in found.items()} == {"train": 70, "val": 20, "test": 10}


def test_a_chain_along_a_street_is_one_cluster() -> None:
    photos = photos_at([(5 * number, 0) for number in range(50)])
    assert len(chains(photos, 6)) == 1
    assert len(chains(photos, 4)) == 50
    with pytest.raises(AddressVLMError, match="1 clusters 6 m apart, too few .* or split by block"):
        dealt(photos, split_by="cluster", apart_m=6)


def test_along_the_same_street_blocks_leave_out_what_is_near_their_borders() -> None:
    photos = photos_at([(5 * number, 0) for number in range(400)])
    found = dealt(photos, split_by="block", block_m=200, apart_m=25)
    assert min(nearest_m(found["train"], found[name]) for name in ("val", "test")) > 24.9
    assert sum(map(len, found.values())) >= 350


def test_no_distance_leaves_everything() -> None:
    photos = photos_at([(number, 0) for number in range(20)])
    assert sum(map(len, dealt(photos).values())) == 20


def test_a_distance_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="apart_m is -1"):
        DatasetOptions(apart_m=-1)


GIVEN = replace(DatasetOptions(), split_by="given")


def test_splits_that_are_given_are_taken() -> None:
    photos = photos_at([(0, 0), (50, 0), (100, 0)]).assign(split=["train", "val", "test"])
    assert split_locations(photos, GIVEN) == {"l0000": "train", "l0001": "val", "l0002": "test"}


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (["train", None, "test", "test"], "1 of 4 photos have no split given, the first is p0001"),
        (["train", "val", "test", "test"], "1 locations are in two of the splits given, the first is l0000"),
        (["test", "test", "val", "val"], "have no training photo"),
    ],
)
def test_splits_that_are_given_must_be_whole(splits: list[str | None], message: str) -> None:
    photos = photos_at([(0, 0), (0, 0), (100, 0), (100, 0)], to_a_location=2).assign(split=splits)
    with pytest.raises(AddressVLMError, match=message):
        split_locations(photos, GIVEN)


def test_a_city_without_splits_says_so() -> None:
    with pytest.raises(AddressVLMError, match="2 of 2 photos have no split given"):
        split_locations(photos_at([(0, 0), (50, 0)]), GIVEN)

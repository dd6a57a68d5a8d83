from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addressvlm.dataset.apart import SPLITS
from addressvlm.dataset.options import DatasetOptions
from addressvlm.dataset.splits import split_locations, thin_out
from addressvlm.errors import AddressVLMError

OPTIONS = DatasetOptions()


def places(number: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"photo": [f"p{i}" for i in range(number)], "location": [f"l{i}" for i in range(number)]}
    )


def sizes(photos: pd.DataFrame, **options: Any) -> tuple[int, ...]:
    counts = Counter(split_locations(photos, replace(OPTIONS, **options)).values())
    return tuple(counts[split] for split in SPLITS)


@pytest.fixture(scope="module")
def town(photos_of_town: Callable[[int], pd.DataFrame]) -> pd.DataFrame:
    """20 locations with eight views each; tests must not change it."""
    return photos_of_town(8)


@pytest.mark.parametrize(
    ("locations", "counts"),
    [(17_067, (11_946, 3_414, 1_707)), (6_200, (4_340, 1_240, 620))],  # SF-Base-VQA and Tokyo 24/7
)
def test_seven_two_one_gives_the_counts_of_the_paper(locations: int, counts: tuple[int, ...]) -> None:
    assert sizes(places(locations)) == counts


@pytest.mark.parametrize(("locations", "counts"), [(3, (1, 1, 1)), (5, (3, 1, 1)), (10, (7, 2, 1))])
def test_every_split_gets_a_location_where_there_are_three(locations: int, counts: tuple[int, ...]) -> None:
    assert sizes(places(locations)) == counts


def test_two_locations_cannot_be_split_in_three() -> None:
    with pytest.raises(AddressVLMError, match="lie at 2 locations, too few for 3 splits"):
        sizes(places(2))


def test_a_city_without_photos_is_told_so() -> None:
    with pytest.raises(AddressVLMError, match="lie at 0 locations"):
        sizes(places(0))


def test_a_split_without_a_share_stays_empty() -> None:
    assert sizes(places(10), split=(0.8, 0.0, 0.2)) == (8, 0, 2)
    assert sizes(places(10), split=(0.8, 0.2, 0.0)) == (8, 2, 0)
    assert sizes(places(10), split=(1.0, 0.0, 0.0)) == (10, 0, 0)


def test_shares_may_be_given_as_a_ratio() -> None:
    assert sizes(places(10), split=(7, 2, 1)) == (7, 2, 1)


@given(
    seed=st.integers(0, 10**6),
    split_by=st.sampled_from(["location", "block", "time"]),
    block_m=st.floats(50, 200),
)
def test_no_location_is_in_two_splits_and_none_is_lost(
    town: pd.DataFrame, seed: int, split_by: Any, block_m: float
) -> None:
    split = split_locations(town, replace(OPTIONS, seed=seed, split_by=split_by, block_m=block_m))
    assert list(split) == sorted(town["location"].unique())
    assert set(split.values()) == set(SPLITS)


def test_another_seed_is_another_split(town: pd.DataFrame) -> None:
    assert split_locations(town, OPTIONS) == split_locations(town, OPTIONS)
    assert split_locations(town, OPTIONS) != split_locations(town, replace(OPTIONS, seed=1))


def test_the_order_of_the_photos_does_not_matter(town: pd.DataFrame) -> None:
    assert split_locations(town.iloc[::-1], OPTIONS) == split_locations(town, OPTIONS)


def test_blocks_keep_neighbouring_locations_together() -> None:
    # Five rows, 1 km apart, of five places each, 11 m apart.
    rows = [
        {"photo": f"{r}{i}", "location": f"{r}{i}", "lat": 0.009 * r, "lon": 0.0001 * i}
        for r in range(5)
        for i in range(5)
    ]
    split = split_locations(pd.DataFrame(rows), replace(OPTIONS, split_by="block", block_m=500))
    for r in range(5):
        assert len({split[f"{r}{i}"] for i in range(5)}) == 1
    assert Counter(split.values()) == {"train": 15, "val": 5, "test": 5}


def test_one_block_cannot_be_split(town: pd.DataFrame) -> None:
    with pytest.raises(AddressVLMError, match="lie at 1 blocks of 10000 m, too few .* lower `block_m`"):
        sizes(town, split_by="block", block_m=10_000)


def test_the_oldest_photos_train_and_the_newest_test(town: pd.DataFrame) -> None:
    photos = town
    split = split_locations(photos, replace(OPTIONS, split_by="time"))
    times = photos.groupby(photos["location"].map(split))["time"]
    assert times.max()["train"] < times.min()["val"] <= times.max()["val"] < times.min()["test"]


@pytest.mark.parametrize("time", [None, "long ago", ""])
def test_a_split_by_time_needs_times(time: str | None, town: pd.DataFrame) -> None:
    photos = town.copy()
    photos.loc[3, "time"] = time
    with pytest.raises(AddressVLMError, match="1 of 160 photos have no time like .* the first is 1-0-3"):
        sizes(photos, split_by="time")


@pytest.mark.parametrize(
    ("share", "kept"),
    [(0.5, [0, 2, 4, 6]), (0.25, [0, 4]), (3 / 8, [0, 3, 6]), (0.01, [0]), (1.0, list(range(8)))],
)
def test_the_views_that_are_kept_are_evenly_spread(share: float, kept: list[int], town: pd.DataFrame) -> None:
    thinned = thin_out(town, replace(OPTIONS, views_share=share))
    views = thinned["photo"].str.rsplit("-", n=1)
    assert thinned["location"].nunique() == 20
    assert all(group == kept for group in views.str[1].astype(int).groupby(thinned["location"]).agg(list))


def test_views_without_heading_are_taken_in_the_order_of_their_ids(town: pd.DataFrame) -> None:
    photos = town[town["heading_deg"] < 180].assign(heading_deg=None, pitch_deg=None)
    thinned = thin_out(photos, replace(OPTIONS, views_share=0.5))
    assert thinned["photo"].str[-1].unique().tolist() == ["0", "2"]


def test_fewer_locations_are_a_part_of_more(town: pd.DataFrame) -> None:
    quarter, half = (
        set(thin_out(town, replace(OPTIONS, locations_share=share))["location"]) for share in (0.25, 0.5)
    )
    assert (len(quarter), len(half)) == (5, 10)
    assert quarter < half


def test_at_least_one_location_is_kept(town: pd.DataFrame) -> None:
    assert thin_out(town, replace(OPTIONS, locations_share=1e-9))["location"].nunique() == 1

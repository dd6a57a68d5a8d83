"""Which locations train, which validate, which test, and how training is thinned out.

No location is ever in two splits: photos of one place show the same houses. The order of the locations comes
from a seed, so the three splits of one seed are the same whatever else is chosen, and thinned sets lie within
each other.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from addressvlm.dataset.apart import SPLITS, Split, chains
from addressvlm.dataset.options import DatasetOptions
from addressvlm.dataset.seeds import digest
from addressvlm.errors import AddressVLMError
from addressvlm.geo.places import LatLon, Projection


def split_locations(photos: pd.DataFrame, options: DatasetOptions) -> dict[str, Split]:
    """Every location with its split, sorted by location.

    `photos` has the columns of a city's photos. Locations are dealt out in the order of `options.seed`, whole
    blocks of `block_m` at a time, or from the oldest to the newest (by the newest photo of each). Counts come
    as near to `options.split` as whole blocks allow; every split with a share gets at least one location.

    Raises `AddressVLMError` where there are too few locations or blocks, or a photo has no time to split by.
    """
    if options.split_by == "given":
        return _given(photos)
    groups = _groups(photos, options)
    wanted = sum(share > 0 for share in options.split)
    if len(groups) < wanted:
        kept, remedy = {
            "block": (f"blocks of {options.block_m:g} m", " or lower `block_m`"),
            "cluster": (f"clusters {options.apart_m:g} m apart", ", lower `apart_m` or split by block"),
        }.get(options.split_by, ("locations", ""))
        raise AddressVLMError(
            f"the photos lie at {len(groups)} {kept}, too few for {wanted} splits; "
            f"add photos of other places{remedy}"
        )
    dealt = {
        location: split
        for split, locations in zip(SPLITS, _deal(groups, options.split), strict=True)
        for location in locations
    }
    return dict(sorted(dealt.items()))


def thin_out(photos: pd.DataFrame, options: DatasetOptions) -> pd.DataFrame:
    """The training photos that are kept under `locations_share` and `views_share`.

    Of every location the kept photos are evenly spread: every second, every third in the order of heading,
    pitch and id. At least one location, and one photo of each, stays. A smaller share keeps a part of what a
    larger one keeps (for views: where the number of one divides that of the other).
    """
    locations = sorted(
        photos["location"].unique(), key=lambda location: digest(options.seed, "thin", location)
    )
    kept = locations[: max(1, _rounded(options.locations_share * len(locations)))]
    photos = photos[photos["location"].isin(kept)]
    in_turn: pd.DataFrame = photos.sort_values(
        ["location", "heading_deg", "pitch_deg", "photo"], na_position="last"
    )
    views = in_turn.groupby("location")["photo"]
    place, number = views.cumcount(), views.transform("size")
    keep = np.maximum(1, np.floor(options.views_share * number + 0.5))
    # Photo i is kept where i * keep / number passes a whole number: exactly `keep` of them, evenly spread.
    chosen = (place * keep) % number < keep
    kept_views: pd.DataFrame = in_turn[chosen].sort_values("photo", ignore_index=True)
    return kept_views


def _groups(photos: pd.DataFrame, options: DatasetOptions) -> list[list[str]]:
    """Locations that must stay together, in the order in which they are dealt out to train, val and test."""
    match options.split_by:
        case "location":
            locations = sorted(photos["location"].unique())
            return [
                [name] for name in sorted(locations, key=lambda name: digest(options.seed, "split", name))
            ]
        case "block":
            return _blocks(photos, options.block_m, options.seed)
        case "time":
            return _by_time(photos)
        case "cluster":
            clusters = chains(photos, options.apart_m)
            return sorted(clusters, key=lambda names: digest(options.seed, "cluster", names[0]))
        case "given":
            raise AssertionError("splits that are given are not dealt")


def _given(photos: pd.DataFrame) -> dict[str, Split]:
    """The splits that the source of the photos names; a location cannot be in two."""
    if "split" not in photos or photos["split"].isna().any():
        bare = photos if "split" not in photos else photos[photos["split"].isna()]
        raise AddressVLMError(
            f"{len(bare)} of {len(photos)} photos have no split given, the first is {bare['photo'].iloc[0]}; "
            "name it in the CSV or bring annotations, or split by location or block"
        )
    splits = photos.groupby("location")["split"].agg(["min", "max"])
    mixed = splits[splits["min"] != splits["max"]]
    if len(mixed):
        raise AddressVLMError(
            f"{len(mixed)} locations are in two of the splits given, the first is {mixed.index[0]}; "
            "give their photos one split, or lower `place_m` of the city"
        )
    if not (splits["min"] == "train").any():
        raise AddressVLMError("the splits given have no training photo")
    return {str(location): split for location, split in splits["min"].sort_index().items()}


def _blocks(photos: pd.DataFrame, block_m: float, seed: int) -> list[list[str]]:
    places = photos.groupby("location")[["lat", "lon"]].mean()
    corner = LatLon(float(places["lat"].min()), float(places["lon"].min()))
    x, y = Projection(corner).to_xy(places["lat"], places["lon"])
    blocks: dict[tuple[int, int], list[str]] = {}
    columns, rows = (x - x.min()) // block_m, (y - y.min()) // block_m
    for location, column, row in zip(places.index, columns, rows, strict=True):
        blocks.setdefault((int(column), int(row)), []).append(str(location))
    return [blocks[key] for key in sorted(blocks, key=lambda key: digest(seed, "block", *key))]


def _by_time(photos: pd.DataFrame) -> list[list[str]]:
    times = pd.to_datetime(photos["time"], errors="coerce", utc=True, format="ISO8601")
    if times.isna().any():
        raise AddressVLMError(
            f"{int(times.isna().sum())} of {len(photos)} photos have no time like 2024-05-31T12:00:00, "
            f"the first is {photos['photo'][times.isna()].iloc[0]}; add times, or split by location or block"
        )
    newest = times.groupby(photos["location"]).max()
    return [[str(location)] for location in newest.sort_index().sort_values(kind="stable").index]


def _deal(groups: Sequence[Sequence[str]], shares: Sequence[float]) -> list[list[str]]:
    """Deal out the groups, in their order, into one list of locations for each share.

    A split takes whole groups as long as they fit into its share of the locations that are left, but at least
    one group, and the last split takes the rest. 17,067 locations at 7:2:1 give the paper's 11,946, 3,414 and
    1,707.
    """
    queue = list(groups)
    dealt: list[list[str]] = []
    for place, share in enumerate(shares):
        taken: list[str] = []
        later = sum(other > 0 for other in shares[place + 1 :])
        if share > 0:
            room = sum(map(len, queue)) * share / sum(shares[place:]) + 1e-9
            while len(queue) > later and (not taken or not later or len(taken) + len(queue[0]) <= room):
                taken += queue.pop(0)
        dealt.append(taken)
    return dealt


def _rounded(number: float) -> int:
    return math.floor(number + 0.5)

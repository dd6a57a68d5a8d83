"""A city in figures: what was taken, what was not, and how evenly it is spread."""

import csv
from collections import Counter
from typing import Any

import numpy as np

from addressvlm.cities.city import REJECTED, City
from addressvlm.errors import AddressVLMError
from addressvlm.folders import require_complete
from addressvlm.inspection.balance import balances
from addressvlm.inspection.corners import corners, near_corner

Rejection = tuple[str, str]  # file, reason


def city_figures(city: City) -> dict[str, Any]:
    """The figures of a city, JSON-able. Shares are percent of photos."""
    photos, summary = city.photos, require_complete(city.folder)
    views = photos.groupby("location").size().to_numpy()
    near = int(near_corner(photos).sum())
    times = sorted(photos["time"].dropna().astype(str))
    return {
        "city": city.name,
        "levels": list(city.levels),
        "photos": len(photos),
        "with_pictures": int(photos["file"].notna().sum()),
        "locations": len(views),
        "views_of_a_location": {
            "fewest": int(views.min()),
            "median": float(np.median(views)),
            "most": int(views.max()),
        },
        "districts": len(city.districts),
        "districts_with_photos": int(photos["district"].nunique()),
        "streets": len(city.streets),
        "streets_with_photos": int(photos["street"].nunique()),
        "balance": balances(photos),
        "near_corners": {
            "photos": near,
            "share": round(100 * near / len(photos), 2),
            "pairs_of_streets": len(corners(photos)),
        },
        "without_heading": int(photos["heading_deg"].isna().sum()),
        "without_time": int(photos["time"].isna().sum()),
        "oldest": times[0] if times else None,
        "newest": times[-1] if times else None,
        "offered": summary.get("offered", len(photos)),
        "rejected": reasons(rejections(city)),
        "attribution": city.attribution,
        "licence": city.licence,
    }


def rejections(city: City) -> list[Rejection]:
    """The photos that were offered and not taken, with the reasons, as `rejected.csv` lists them.

    A folder that was passed on may lack the list; then there are none.
    """
    path = city.folder / REJECTED
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [(row["file"], row["reason"]) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise AddressVLMError(f"{path} cannot be read: {error!r}; build the city again") from error


def reasons(rejected: list[Rejection]) -> dict[str, int]:
    """How many photos were rejected for each kind of reason, the commonest first.

    What follows a colon or semicolon is a detail.
    """
    kinds = Counter(reason.split(":")[0].split(";")[0] for _, reason in rejected)
    return dict(sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0])))

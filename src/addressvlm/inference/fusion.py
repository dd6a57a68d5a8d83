"""Evidence put together: several photos of one place, a rough position fix, names that must fit each other.

All are functions on log-probabilities; what comes out is normalised, so it is a belief under the assumption
that the address is one of the gazetteer's.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import shapely

from addressvlm.errors import UsageError
from addressvlm.geo.places import LatLon, Projection
from addressvlm.inference.gazetteer import Gazetteer
from addressvlm.inference.nametrie import Floats

if TYPE_CHECKING:
    import geopandas as gpd

# Where along its streets a city is looked at; how likely a fix is an outlier, and says nothing at all.
_STEP_M = 5.0
_OUTLIERS = 0.01
# Radius over standard deviation of a round normal distribution that holds 95 % of it.
_RADIUS_95 = float(np.sqrt(-2 * np.log(0.05)))


def normalised(log_p: Floats) -> Floats:
    """Log-probabilities (…, names) of the same proportions that sum to one: one of the names it is."""
    result: Floats = log_p - np.logaddexp.reduce(log_p, axis=-1, keepdims=True)
    return result


def fuse(log_p: Floats, prior: Floats | None = None, *, independence: float = 1.0) -> Floats:
    """The belief (names,) after several photos of one place, from that after each, (photos, names).

    By Bayes' rule for photos that are independent once the name is known: the product of all, in which the
    `prior` (names,) counts once (default: all names alike). Photos of one place resemble each other and are
    not quite independent; with `independence` 0 they weigh together as much as one, with 1 each in full.
    """
    if not 0 <= independence <= 1:
        raise UsageError(f"independence is {independence}, but it must be from 0 to 1")
    photos = len(log_p)
    before = np.zeros(log_p.shape[1]) if prior is None else normalised(prior)
    evidence = normalised(log_p) - before
    weight = independence + (1 - independence) / photos
    return normalised(before + weight * evidence.sum(axis=0))


def pairs_before(gazetteer: Gazetteer, table: "gpd.GeoDataFrame") -> Floats:
    """How probable each pair of a gazetteer (pairs,) is to a trained model before it sees a photo.

    As often as training photos were taken there; `table` has the counts of streets and districts. A street's
    photos are dealt to its districts by theirs, and each name counts as if it had one photo more.
    """
    counted = table.set_index(["level", "name"])["photos"].to_dict()
    streets, districts = (
        np.array([counted.get((level, name), 0) + 1.0 for name in names])
        for level, names in (("street", gazetteer.streets), ("district", gazetteer.districts))
    )
    district, street = np.array(gazetteer.pairs).T
    shared = np.bincount(street, districts[district], len(streets))
    return normalised(np.log(streets[street] * districts[district] / shared[street]))


def pairs_near(gazetteer: Gazetteer, shapes: "gpd.GeoDataFrame", fix: LatLon, within_m: float) -> Floats:
    """How probable each pair of a gazetteer (pairs,) is before any photo, from a rough position fix.

    `within_m` is the radius around `fix` that holds the true position in 95 of 100 cases; photos are as
    likely on one metre of street as on another. `shapes` is the table of the gazetteer. Raises `UsageError`
    for a fix so far away that it speaks of no street.
    """
    if not 0 < within_m < float("inf"):
        raise UsageError(f"within is {within_m} m, but it must be above 0")
    plane = Projection(fix)
    weights = np.zeros(len(gazetteer.pairs))
    in_metres = shapes.to_crs(plane.crs)
    areas = _shapes(in_metres, "district", gazetteer.districts)
    lines = _shapes(in_metres, "street", gazetteer.streets)
    for number, (district, street) in enumerate(gazetteer.pairs):
        points, lengths_m = _pieces(lines[street])
        near = lengths_m * np.exp(-0.5 * (points**2).sum(axis=1) * (_RADIUS_95 / within_m) ** 2)
        if near.sum() > 0:
            inside = shapely.contains_xy(areas[district], points)
            # A pair may be there for photos just across a border: then the whole street counts.
            weights[number] = near[inside].sum() if inside.any() else near.sum()
    if weights.sum() == 0:
        raise UsageError(
            f"no street of the gazetteer is anywhere near {fix.lat:g},{fix.lon:g}; raise the radius "
            f"(now {within_m:g} m) or check the fix"
        )
    uniform = 1 / len(weights)
    prior: Floats = np.log((1 - _OUTLIERS) * weights / weights.sum() + _OUTLIERS * uniform)
    return prior


def of_streets(gazetteer: Gazetteer, pairs: Floats) -> Floats:
    """Log-probabilities (…, streets) from those of pairs (…, pairs)."""
    return _summed(pairs, [street for _, street in gazetteer.pairs], len(gazetteer.streets))


def of_districts(gazetteer: Gazetteer, pairs: Floats) -> Floats:
    """Log-probabilities (…, districts) from those of pairs (…, pairs)."""
    return _summed(pairs, [district for district, _ in gazetteer.pairs], len(gazetteer.districts))


def _summed(pairs: Floats, owners: Sequence[int], names: int) -> Floats:
    summed = np.full((*pairs.shape[:-1], names), -np.inf)
    order = np.argsort(owners, kind="stable")
    found, begins = np.unique(np.array(owners)[order], return_index=True)
    summed[..., found] = np.logaddexp.reduceat(pairs[..., order], begins, axis=-1)
    return summed


def _pieces(street: shapely.Geometry) -> tuple[Floats, Floats]:
    """The middles (pieces, 2) of short pieces of a street, and their lengths."""
    parts = shapely.get_parts(street)
    parts = shapely.segmentize(
        parts[shapely.length(parts) > 0], _STEP_M
    )  # GEOS cannot cut what has no length
    lines = [np.empty((0, 2)), *(shapely.get_coordinates(line) for line in parts)]
    middles = [(line[1:] + line[:-1]) / 2 for line in lines]
    lengths_m = [np.linalg.norm(line[1:] - line[:-1], axis=1) for line in lines]
    return np.concatenate(middles), np.concatenate(lengths_m)


def _shapes(table: "gpd.GeoDataFrame", level: str, names: Sequence[str]) -> list[shapely.Geometry]:
    rows = table[table["level"] == level].set_index("name").geometry
    return [rows[name] for name in names]

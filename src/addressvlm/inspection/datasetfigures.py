"""A data set in figures: splits and what they share, questions, alignment texts, lines of chance."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from addressvlm.dataset.tables import read_questions, read_table, table_path
from addressvlm.evaluation.metrics import (
    Known,
    cells_of,
    chance_of,
    correctness,
    figures_of,
    known_from_training,
    majority_answers,
)
from addressvlm.folders import require_complete
from addressvlm.geo.places import LatLon, Projection
from addressvlm.inspection.balance import balances
from addressvlm.inspection.corners import near_corner

# Two locations nearer than this may show the same houses.
_NEAR_M = 20.0


def dataset_figures(dataset: Path) -> dict[str, Any]:
    """The figures of a complete data set, JSON-able. Shares are percent."""
    about = require_complete(dataset)
    photos = photos_of(dataset)
    known = known_from_training(photos["train"])
    return {
        "city": about["city"],
        "levels": about["levels"],
        "splits": about["splits"],
        "dropped_no_judgments": about["dropped_no_judgments"],
        "skipped": {name: len(items) for name, items in about["skipped"].items()},
        "shared": shared(photos),
        "unseen": {split: unseen(photos[split], photos["train"]) for split in ("val", "test")},
        "nearest_training_location": nearness(locations_of(dataset)),
        "near_corners": {split: _share_near_corner(photos[split]) for split in ("val", "test")},
        "balance": {split: balances(table) for split, table in photos.items()},
        "alignment": alignment_figures(dataset),
        "lines": {split: lines(dataset, split, known) for split in ("val", "test")},
        "attribution": about["attribution"],
        "licence": about["licence"],
    }


def photos_of(dataset: Path) -> dict[str, pd.DataFrame]:
    """A row a photo by split: `photo`, `location`, `district`, `street`, and for val and test `margin_m`."""
    about = ["photo", "location", "district", "street"]
    tables = {"train": read_table(dataset, "train", about).to_pandas()}
    for split in ("val", "test"):
        rows = read_table(dataset, split, [*about, "margin_m"]).to_pandas()
        tables[split] = rows.drop_duplicates("photo", ignore_index=True)
    return tables


def locations_of(dataset: Path) -> pd.DataFrame | None:
    """Where the locations lie; None for a data set made before they were kept."""
    if not table_path(dataset, "locations").exists():
        return None
    table: pd.DataFrame = read_table(dataset, "locations").to_pandas()
    return table


def shared(photos: Mapping[str, pd.DataFrame]) -> dict[str, int]:
    """How many locations and photos stand in more than one split: 0, or figures on it mean nothing."""
    return {
        f"{column}s": int(
            (pd.concat([table[[column]].drop_duplicates() for table in photos.values()])[column])
            .duplicated()
            .sum()
        )
        for column in ("location", "photo")
    }


def unseen(photos: pd.DataFrame, train: pd.DataFrame) -> dict[str, int]:
    """How many photos have a name that no training photo has, by level."""
    return {level: int((~photos[level].isin(set(train[level]))).sum()) for level in ("district", "street")}


def nearness(locations: pd.DataFrame | None) -> dict[str, dict[str, float]] | None:
    """How far the locations of val and test are from the nearest training location, in metres."""
    if locations is None:
        return None
    middle = LatLon(float(locations["lat"].mean()), float(locations["lon"].mean()))
    x, y = Projection(middle).to_xy(locations["lat"], locations["lon"])
    places = np.asarray(shapely.points(x, y), object)
    training = shapely.STRtree(places[(locations["split"] == "train").to_numpy()])
    found = {}
    for split in ("val", "test"):
        asked = places[(locations["split"] == split).to_numpy()]
        if not len(asked):
            continue
        _, far_m = training.query_nearest(asked, all_matches=False, return_distance=True)
        found[split] = {
            "least_m": round(float(far_m.min()), 1),
            "median_m": round(float(np.median(far_m)), 1),
            "within_20_m": int((far_m < _NEAR_M).sum()),
            "locations": len(asked),
        }
    return found


def alignment_figures(dataset: Path) -> dict[str, Any]:
    """What the texts of stage 1 hold: whether they name the address, and whether the map does."""
    table = read_table(dataset, "alignment", ["location", "answer", "district", "street", "map_names"])
    rows = table.to_pylist()
    named = sum(row["street"] in row["answer"] and row["district"] in row["answer"] for row in rows)
    legible = sum(row["street"] in row["map_names"] for row in rows)
    words = [len(row["answer"].split()) for row in rows]
    names = [len(row["map_names"]) for row in rows]
    return {
        "samples": len(rows),
        "maps": len({row["location"] for row in rows}),
        "texts_with_the_address": _percent(named, len(rows)),
        "maps_with_the_street": _percent(legible, len(rows)),
        "median_words": float(np.median(words)) if rows else None,
        "median_names_on_a_map": float(np.median(names)) if rows else None,
    }


def lines(dataset: Path, split: str, known: Known) -> dict[str, Any] | None:
    """The ten figures of who has never seen a photo: guessing evenly, and the best constant answer."""
    questions = read_questions(dataset, split)
    if questions.empty:
        return None
    cells = cells_of(questions)
    return {
        "chance": figures_of(chance_of(questions, known), cells),
        "constant": figures_of(correctness(questions, majority_answers(questions, known)), cells),
        "questions": len(questions),
    }


def _share_near_corner(photos: pd.DataFrame) -> float | None:
    return _percent(int(near_corner(photos).sum()), len(photos))


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None

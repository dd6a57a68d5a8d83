"""report.html: the figures, the map of beliefs and the photos behind them, in one self-contained file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from addressvlm.evaluation.beliefmap import belief_map
from addressvlm.evaluation.breakdown import (
    NONE_OF_THESE,
    Beliefs,
    Names,
    beliefs,
    confusions,
    groups_by,
    groups_by_margin,
)
from addressvlm.evaluation.metrics import MEANINGS, correctness
from addressvlm.imagery.opening import data_uri, open_image
from addressvlm.pages.rendering import page_environment, write_page

MISSES, HITS, CONFUSIONS = 12, 8, 40
MATRIX_AT_MOST = 24
THUMBNAIL_PX = 300

_ENVIRONMENT = page_environment("addressvlm.evaluation")


def write_report(
    path: Path,
    answered: pd.DataFrame,
    metrics: Mapping[str, Any],
    gazetteer: gpd.GeoDataFrame,
    dataset: Path,
    *,
    title: str,
    levels: tuple[str, str] = ("district", "street"),
    attribution: str = "",
) -> None:
    """Write the report of one evaluation.

    `answered` holds a row a question: the columns of a predictions file and `images`, `district`, `street`,
    `margin_m` of the data set; `metrics` is what `metrics.json` holds. Pictures lie under `dataset`. `levels`
    are the city's words for district and street.
    """
    correct = correctness(answered, answered["answer"].tolist())
    street_beliefs = beliefs(answered, Names(gazetteer, "street"), "street")
    district_beliefs = beliefs(answered, Names(gazetteer, "district"), "district")
    streets = groups_by(answered, "street", correct)
    figures = {"neighbours": {}, "corner_tolerant": {}, "constrained": {}, **metrics}
    write_page(
        path,
        _ENVIRONMENT,
        "report.html.j2",
        title=title,
        district_word=levels[0],
        street_word=levels[1],
        attribution=attribution,
        questions=len(answered),
        metrics=figures,
        rows=[_headline(key, figures, levels) for key in MEANINGS],
        map=belief_map(gazetteer, streets, street_beliefs),
        districts=groups_by(answered, "district", correct),
        margins=groups_by_margin(answered, correct),
        matrix=_matrix(district_beliefs),
        streets=streets,
        confusions=confusions(street_beliefs, CONFUSIONS),
        misses=_examples(answered, correct, dataset, right=False, most=MISSES),
        hits=_examples(answered, correct, dataset, right=True, most=HITS),
    )


@dataclass(frozen=True)
class Example:
    """A photo with the street question about it, and all the others asked of it."""

    photo: str
    street: str
    district: str
    margin_m: float | None
    question: str
    answer: str
    right: bool
    picture: str
    width: int
    height: int
    others: list[dict[str, Any]]


def _headline(key: str, metrics: Mapping[str, Any], levels: tuple[str, str]) -> dict[str, Any]:
    lines = ("strict", "chance", "majority", "neighbours", "corner_tolerant")
    beside = {line: metrics.get(line, {}).get(key) for line in lines}
    beside["constrained"] = {name: figures[key] for name, figures in metrics["constrained"].items()}
    return {
        "key": key,
        "words": MEANINGS[key].format(*levels),
        "right": metrics["metrics"][key],
        "interval": metrics["intervals"][key],
        "asked": metrics["counts"][f"n_{key}"],
        **beside,
    }


def _matrix(believed: Beliefs) -> dict[str, Any] | None:
    """Which district was taken for which; None if there are too many (or too few) to be shown as a table."""
    columns = sorted(
        {*believed, *(belief for counts in believed.values() for belief in counts)} - {NONE_OF_THESE}
    )
    if not 2 <= len(columns) <= MATRIX_AT_MOST:
        return None
    if any(NONE_OF_THESE in counts for counts in believed.values()):
        columns.append(NONE_OF_THESE)
    rows = []
    for truth, counts in believed.items():
        total = sum(counts.values())
        cells = [
            {
                "name": name,
                "photos": counts.get(name, 0),
                "share": counts.get(name, 0) / total,
                "own": name == truth,
            }
            for name in columns
        ]
        rows.append({"name": truth, "cells": cells})
    return {"columns": columns, "rows": rows}


def _examples(
    answered: pd.DataFrame, correct: npt.NDArray[np.float64], dataset: Path, *, right: bool, most: int
) -> list[Example]:
    """Street questions answered rightly or wrongly, at most one a location, evenly spread over the table."""
    asked = ((answered["kind"] == "generation") & (answered["level"] == "street")).to_numpy()
    rows = answered[asked & ((correct > 0) == right)].drop_duplicates("location")
    chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, most).astype(int))] if len(rows) else rows
    return [_example(answered, correct, row, dataset, right=right) for row in chosen.to_dict("records")]


def _example(
    answered: pd.DataFrame,
    correct: npt.NDArray[np.float64],
    row: Mapping[Any, Any],
    dataset: Path,
    *,
    right: bool,
) -> Example:
    of_photo = (answered["photo"] == row["photo"]).to_numpy()
    others = answered.loc[of_photo, ["question", "answer", "truth"]].to_dict("records")
    picture = open_image(dataset / row["images"][0])
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    margin_m = float(row["margin_m"]) if row["margin_m"] is not None else np.nan
    return Example(
        photo=row["photo"],
        street=row["street"],
        district=row["district"],
        margin_m=None if np.isnan(margin_m) else margin_m,
        question=row["question"],
        answer=row["answer"],
        right=right,
        picture=data_uri(picture),
        width=picture.width,
        height=picture.height,
        others=[
            {**other, "right": bool(is_right)}
            for other, is_right in zip(others, correct[of_photo], strict=True)
        ],
    )

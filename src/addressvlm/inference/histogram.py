"""The paper's Fig. 5: many sampled answers to one street question, counted street by street, on a map."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import shapely

from addressvlm.dataset.answers import normalise
from addressvlm.folders import write_json

_DEGREE_DECIMALS = 7  # a centimetre


@dataclass(frozen=True)
class StreetHistogram:
    """How sampled answers spread over the streets of a gazetteer.

    `streets` has a row for every street that was named: `name`, `count`, `share` (of all answers) and
    `geometry`, the commonest first. `none_of_these` is the share of answers that name no street.
    """

    streets: gpd.GeoDataFrame
    none_of_these: float
    answers: int

    @property
    def shares(self) -> dict[str, float]:
        """Share of the answers by street, the commonest first."""
        return dict(zip(self.streets["name"], self.streets["share"].tolist(), strict=True))


def street_histogram(answers: Sequence[str], gazetteer: gpd.GeoDataFrame) -> StreetHistogram:
    """Count the streets that answers name, in any spelling that the gazetteer knows.

    Of an answer to a joint question ("STREET, DISTRICT") the part that is a street counts.
    """
    assert answers, "there is at least one answer"
    streets = gazetteer[gazetteer["level"] == "street"]
    by_spelling: dict[str, str] = {}
    for name, spellings in zip(streets["name"], streets["spellings"], strict=True):
        for spelling in (name, *spellings):
            by_spelling.setdefault(normalise(spelling), name)
    counts = Counter(_street(answer, by_spelling) for answer in answers)
    nowhere = counts.pop(None, 0)
    named = streets[streets["name"].isin(counts)][["name", "geometry"]]
    named = named.assign(count=[counts[name] for name in named["name"]])
    named = named.assign(share=named["count"] / len(answers))
    named = named.sort_values(["count", "name"], ascending=[False, True], ignore_index=True)
    return StreetHistogram(named, nowhere / len(answers), len(answers))


def write_geojson(histogram: StreetHistogram, path: Path) -> None:
    """Write the streets with their counts and shares as a GeoJSON FeatureCollection (WGS84)."""
    rows = histogram.streets
    features = [
        {
            "type": "Feature",
            "properties": {"name": name, "count": int(count), "share": share},
            "geometry": _as_geojson(geometry),
        }
        for name, count, share, geometry in zip(
            rows["name"], rows["count"], rows["share"].tolist(), rows.geometry, strict=True
        )
    ]
    about = {"answers": histogram.answers, "none_of_these": histogram.none_of_these}
    write_json(path, {"type": "FeatureCollection", **about, "features": features})


def _street(answer: str, by_spelling: dict[str, str]) -> str | None:
    for part in (answer, *answer.split(",")):
        if name := by_spelling.get(normalise(part)):
            return name
    return None


def _as_geojson(geometry: shapely.Geometry) -> Any:
    rounded = shapely.transform(geometry, lambda degrees: degrees.round(_DEGREE_DECIMALS))
    return json.loads(shapely.to_geojson(rounded))

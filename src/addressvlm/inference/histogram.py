"""The paper's Fig. 5: many sampled answers to one street question, counted street by street, on a map."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd

from addressvlm.dataset.answers import normalise


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


def _street(answer: str, by_spelling: dict[str, str]) -> str | None:
    for part in (answer, *answer.split(",")):
        if name := by_spelling.get(normalise(part)):
            return name
    return None

"""A city of four streets and two districts, whose photos are plain colours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import shapely

from addressvlm.evaluation.evaluate import Request

# Street, its district, the colour of its houses, and its line in degrees.
STREETS = {
    "Oak Street": ("North", (200, 40, 40), [(0.000, 0.002), (0.004, 0.002)]),
    "Elm Street": ("North", (40, 200, 40), [(0.000, 0.001), (0.004, 0.001)]),
    "Low Road": ("South", (40, 40, 200), [(0.000, -0.001), (0.004, -0.001)]),
    "Quay & Dock": ("South", (220, 220, 40), [(0.000, -0.002), (0.004, -0.002)]),
}
LEVELS = ("district", "street")


def ask(photo: str, location: str, street: str) -> list[dict[str, Any]]:
    """Seven questions about one photo: generation, yes, multiple choice of each level, and the joint one."""
    address = {"district": STREETS[street][0], "street": street}
    common = {
        "photo": photo,
        "location": location,
        "images": [f"images/{photo}.jpg"],
        **address,
        "runner_up": "Elm Street" if street == "Oak Street" else None,
        "margin_m": 3.0 if street == "Oak Street" else None,
    }
    rows = []
    for level in LEVELS:
        truth = address[level]
        names = sorted({STREETS[name][0] for name in STREETS}) if level == "district" else sorted(STREETS)
        letter = "ABCD"[names.index(truth)]
        rows += [
            {
                "kind": "generation",
                "level": level,
                "question": f"Which {level}?",
                "options": [],
                "truth": truth,
            },
            {
                "kind": "judgment",
                "level": level,
                "question": f"Is it {truth}?",
                "options": [],
                "truth": "Yes",
            },
            {
                "kind": "multiple_choice",
                "level": level,
                "question": f"{level}?",
                "options": names,
                "truth": letter,
            },
        ]
    joint = f"{address['street']}, {address['district']}"
    rows.append({"kind": "joint", "level": "both", "question": "Where?", "options": [], "truth": joint})
    return [{**common, **row} for row in rows]


def obedient(requests: Sequence[Request]) -> Iterator[dict[str, str]]:
    """Answers under constraints: the first option or Yes when closed, Low Road in South when joint."""
    closed = {"generation": "Low Road", "judgment": "Yes", "multiple_choice": "A", "joint": "Low Road, South"}
    for request in requests:
        assert request.kind != "multiple_choice" or len(request.options) > 1
        joint = "South" if request.level == "district" else "Low Road"
        name = closed[request.kind]
        yield {"closed": name, "joint": joint if request.kind == "generation" else name}


@dataclass(frozen=True)
class FakeCity:
    """A data set folder, the rows of its test questions, and answerers."""

    folder: Path
    rows: list[dict[str, Any]]

    def truthful(self, requests: Sequence[Request]) -> Iterator[str]:
        """Answers every question rightly, and checks that pictures exist."""
        truths = {(row["images"][0], row["question"]): row["truth"] for row in self.rows}
        for request in requests:
            assert request.images[0].is_file()
            yield truths[request.images[0].relative_to(self.folder).as_posix(), request.question]


def gazetteer() -> gpd.GeoDataFrame:
    """The names of the city with their geometry."""
    districts = {
        "North": shapely.box(-0.001, 0, 0.005, 0.003),
        "South": shapely.box(-0.001, -0.003, 0.005, 0),
    }
    rows = [
        {"level": "district", "name": name, "spellings": [name], "districts": [], "photos": 4}
        for name in districts
    ]
    rows += [
        {"level": "street", "name": name, "spellings": [name, name.replace("Street", "St")], "photos": 2}
        | {"districts": [district]}
        for name, (district, _, _) in STREETS.items()
    ]
    lines = [shapely.MultiLineString([line]) for _, _, line in STREETS.values()]
    return gpd.GeoDataFrame(rows, geometry=[*districts.values(), *lines], crs="EPSG:4326")


def prediction(**changes: Any) -> dict[str, Any]:
    """A valid line of a predictions file with some fields changed."""
    row = {
        "photo": "p1",
        "location": "l1",
        "kind": "generation",
        "level": "street",
        "question": "Which street?",
        "options": [],
        "truth": "Oak Street",
        "answer": "Oak Street",
    }
    return {**row, **changes}

"""The files of scenes that pre-training learns from: a Parquet file a city, read without geopandas.

A scene is a street view, its map without and with street names, a page of words to practise reading on, and
what is known about them. `scenery` makes them.
"""

import io
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from addressvlm.cities.minicity.surfaces import SURFACES as _SURFACES
from addressvlm.errors import AddressVLMError
from addressvlm.folders import require_complete
from addressvlm.imagery.grafting import graft, graft_box
from addressvlm.imagery.lettering import ALPHABET, Box, overlap

# What a scene can be shown as; `grafted` is the view on its map with names, `unnamed` on the one without.
Picture = Literal["view", "plain", "named", "page", "grafted", "unnamed"]
_STORED = ("view", "plain", "named", "page", "letters", "surfaces", "ground")
LETTERS, SURFACES = len(ALPHABET), len(_SURFACES)
SCHEMA = pa.schema([*((name, pa.binary()) for name in _STORED), ("facts", pa.string())])


@dataclass(frozen=True)
class Name:
    """A street name on a map: where it stands (left, top, right, bottom in pixels), and how its street runs.

    `course_deg` is the direction of the street in [0, 180): 0 is north to south, 90 west to east. `middles`
    are those of its characters, in pixels.
    """

    name: str
    box: Box
    course_deg: float
    middles: tuple[tuple[float, float], ...] = ()

    @property
    def middle(self) -> tuple[float, float]:
        """The middle of its box."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    def lies_under(self, box: Box) -> bool:
        """Whether something in this box would hide a part of the name."""
        return overlap(self.box, box)


@dataclass(frozen=True)
class SceneFacts:
    """What is known about a scene: `names` stand on its map, `page` on its page.

    `at` is the pixel of the map on which the photo was taken; `street` is the name of its street on this map
    and `cross_street` that of a street that meets it there. `place`, `road` and `quarter` tell locations,
    streets and districts of all cities apart.
    """

    place: str
    road: str
    quarter: str
    at: tuple[float, float]
    heading_deg: float
    street: str
    cross_street: str | None
    names: tuple[Name, ...]
    view: dict[str, Any]
    words: str
    page: tuple[Name, ...] = ()

    def is_centred(self, side_px: float) -> bool:
        """Whether the photo was taken in the middle of its map, as in the alignment stage."""
        return self.at == (side_px / 2, side_px / 2)


def scene_file(folder: Path, seed: int) -> Path:
    """The file of `mini:SEED`."""
    return folder / f"city-{seed:09d}.parquet"


class Scenes:
    """The scenes of all cities of a folder, in the order of their seeds; pictures stay encoded in memory.

    Raises AddressVLMError where the folder is not complete.
    """

    def __init__(self, folder: Path):
        require_complete(folder)
        tables = [pq.read_table(path) for path in sorted(folder.glob("city-*.parquet"))]
        if not tables:
            raise AddressVLMError(f"{folder} holds no scenes; make it again")
        self._table = pa.concat_tables(tables).combine_chunks()

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def facts(self, index: int) -> SceneFacts:
        """What is known about a scene."""
        stored: dict[str, Any] = json.loads(self._table["facts"][index].as_py())
        page = [
            Name(entry["word"], tuple(entry["box"]), 0.0, tuple(map(tuple, entry["middles"])))
            for entry in stored.pop("page")
        ]
        names = [
            Name(
                entry["name"],
                tuple(entry["box"]),
                entry["course_deg"],
                tuple(map(tuple, entry["middles"])),
            )
            for entry in stored.pop("names")
        ]
        return SceneFacts(**{**stored, "at": tuple(stored["at"]), "names": tuple(names), "page": tuple(page)})

    def picture(self, index: int, name: Picture, *, view_of: int | None = None) -> Image.Image:
        """One of the pictures of a scene; `view_of` grafts the view of another scene on its map."""
        if name in ("grafted", "unnamed"):
            view = self._stored(index if view_of is None else view_of, "view")
            return graft(self._stored(index, "named" if name == "grafted" else "plain"), view)
        return self._stored(index, name)

    def letters(self, index: int) -> npt.NDArray[np.uint8]:
        """The letters of a page, (height, width): see `imagery.lettering`."""
        return np.asarray(self._stored(index, "letters"), np.uint8)

    def surfaces(self, index: int) -> npt.NDArray[np.uint8]:
        """What each pixel of the view shows, (height, width): see `cities.minicity.surfaces`."""
        return np.asarray(self._stored(index, "surfaces"), np.uint8)

    def ground(self, index: int, *, grafted: bool = False) -> npt.NDArray[np.uint8]:
        """The same of the map; SURFACES, which is none, where the view hides it if it is `grafted`."""
        ground = np.array(self._stored(index, "ground"), np.uint8)
        if grafted:
            left, top, right, bottom = graft_box(len(ground), self._stored(index, "view").size)
            ground[top:bottom, left:right] = SURFACES
        return ground

    def _stored(self, index: int, name: str) -> Image.Image:
        image = Image.open(io.BytesIO(self._table[name][index].as_py()), formats=("JPEG", "PNG"))
        image.load()
        return image

    @cached_property
    def by_city(self) -> list[dict[str, list[int]]]:
        """For every city, its roads with the scenes on them."""
        cities: dict[str, dict[str, list[int]]] = {}
        for index in range(len(self)):
            road = self.facts(index).road
            cities.setdefault(road.partition("/")[0], {}).setdefault(road, []).append(index)
        return list(cities.values())

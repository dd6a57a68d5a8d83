"""How things look: palettes of the city, its districts and streets, and what a single lot draws from them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from addressvlm.cities.minicity.config import Coherence, MiniCityConfig
from addressvlm.cities.minicity.names import SHOP_KINDS

Rgb = tuple[float, float, float]

COLOURS: dict[str, Rgb] = {  # sRGB, 0 to 1
    "red": (0.64, 0.31, 0.25), "dark red": (0.46, 0.21, 0.18), "brown": (0.46, 0.34, 0.26),
    "yellow": (0.87, 0.73, 0.42), "ochre": (0.76, 0.57, 0.31), "cream": (0.90, 0.85, 0.72),
    "white": (0.92, 0.91, 0.88), "grey": (0.60, 0.60, 0.59), "dark grey": (0.33, 0.34, 0.36),
    "black": (0.13, 0.13, 0.14), "beige": (0.78, 0.70, 0.58), "pink": (0.90, 0.68, 0.68),
    "salmon": (0.88, 0.56, 0.46), "mint": (0.66, 0.84, 0.74), "green": (0.22, 0.43, 0.29),
    "olive": (0.48, 0.49, 0.29), "light blue": (0.62, 0.76, 0.87), "blue": (0.20, 0.35, 0.58),
    "teal": (0.16, 0.46, 0.47), "lavender": (0.74, 0.68, 0.84), "purple": (0.41, 0.28, 0.47),
    "orange": (0.85, 0.49, 0.19), "silver": (0.74, 0.75, 0.77), "gold": (0.80, 0.64, 0.25),
    "copper green": (0.40, 0.55, 0.49), "slate": (0.33, 0.37, 0.43),
}  # fmt: skip

MATERIALS = ("plaster", "brick", "stone", "wood siding", "concrete", "tile")
WINDOWS = ("plain", "sash", "cross-barred", "ribbon", "shuttered")
ROOFS = ("flat", "gable", "cross gable", "hip")
GROUND_FLOORS = ("house", "shop", "garage")
RELIEFS = ("none", "cornice", "bay windows", "balconies")
TREES = ("round", "poplar", "conifer", "palm", "cherry", "ginkgo", "plane")
LAMPS = ("none", "arm", "globe", "lantern", "twin")
PAVINGS = ("asphalt", "dark asphalt", "cobbles", "concrete slabs", "red brick paving")
MARKINGS = ("none", "dashed white", "double yellow", "solid white", "tram rails")
PAVEMENTS = ("concrete", "grey slabs", "red brick", "sand-coloured slabs", "dark cobbles")
YARDS = ("grass", "gravel", "concrete", "garden")

Weights = dict[Any, float]


def _even(options: Sequence[Any]) -> Weights:
    return dict.fromkeys(options, 1.0)


@dataclass(frozen=True)
class LotLook:
    """The discrete attributes of one building; each field is one draw of the dial `Coherence`."""

    wall: tuple[str, str]  # material, colour
    storeys: int
    bay_m: float  # window rhythm: width of a bay
    window: str
    frame: str  # colour of window frames
    roof: str
    roof_colour: str
    ground_floor: str
    shop: str
    accent: str  # colour of doors, shop fronts, shutters
    awning: str  # "none", "plain" or "striped"
    awning_colour: str
    relief: str


@dataclass(frozen=True)
class StreetLook:
    """The furniture of one street."""

    tree: str
    tree_spacing_m: float  # 0: no trees
    lamp: str
    lamp_colour: str
    paving: str
    marking: str
    car_density: float
    crosswalks: bool


@dataclass(frozen=True)
class DistrictLook:
    """What the ground of a district is like, and how its houses stand."""

    pavement: str
    pavement_m: float
    yard: str
    setback_m: float
    gap_m: float  # between neighbours


_BRICK: dict[str, Weights] = {
    "wall": {
        ("brick", "red"): 5, ("brick", "dark red"): 4, ("brick", "brown"): 4, ("brick", "ochre"): 2.5,
        ("brick", "white"): 1.5, ("brick", "dark grey"): 1.2, ("stone", "grey"): 2, ("stone", "beige"): 2.5,
        ("stone", "brown"): 1.5, ("plaster", "cream"): 1.5, ("plaster", "light blue"): 0.8,
        ("wood siding", "white"): 2, ("wood siding", "green"): 1, ("wood siding", "slate"): 1.2,
        ("concrete", "silver"): 1,
    },
    "storeys": {1: 1, 2: 5, 3: 6, 4: 3, 5: 2, 7: 1.2, 9: 0.6},
    "roof": {"flat": 6, "gable": 4, "cross gable": 3, "hip": 2},
    "roof_colour": {"dark grey": 4, "slate": 3, "brown": 3, "dark red": 2, "copper green": 1.5, "grey": 1},
    "relief": {"none": 4, "cornice": 5, "bay windows": 1.5, "balconies": 0.6},
}  # fmt: skip
_PASTEL: dict[str, Weights] = {
    "wall": {
        ("wood siding", "white"): 2, ("wood siding", "light blue"): 3, ("wood siding", "mint"): 3,
        ("wood siding", "lavender"): 2.5, ("wood siding", "yellow"): 3, ("wood siding", "salmon"): 2.5,
        ("plaster", "pink"): 2.5, ("plaster", "cream"): 2, ("plaster", "teal"): 1.5,
        ("plaster", "ochre"): 1.5, ("plaster", "grey"): 1, ("stone", "beige"): 1, ("brick", "salmon"): 1,
        ("tile", "silver"): 0.8,
    },
    "storeys": {2: 5, 3: 8, 4: 3, 5: 1.2, 6: 0.6, 10: 0.4},
    "roof": {"flat": 8, "gable": 2, "cross gable": 4, "hip": 1},
    "roof_colour": {"grey": 3, "slate": 3, "dark grey": 3, "white": 2, "salmon": 1.5, "brown": 1.5},
    "relief": {"none": 2, "cornice": 3, "bay windows": 6, "balconies": 0.7},
}  # fmt: skip
_DENSE: dict[str, Weights] = {
    "wall": {
        ("tile", "white"): 3, ("tile", "beige"): 3, ("tile", "brown"): 2.5, ("tile", "silver"): 2,
        ("tile", "teal"): 1.2, ("tile", "dark red"): 1.2, ("concrete", "grey"): 3, ("concrete", "silver"): 2,
        ("concrete", "dark grey"): 1.5, ("plaster", "cream"): 2, ("plaster", "mint"): 1,
        ("plaster", "ochre"): 1.2, ("wood siding", "brown"): 2, ("wood siding", "black"): 1.5,
    },
    "storeys": {2: 6, 3: 5, 4: 3, 5: 2.5, 6: 1.5, 8: 1.2, 11: 0.6},
    "roof": {"flat": 8, "gable": 3, "cross gable": 1, "hip": 3},
    "roof_colour": {"slate": 3, "blue": 2.5, "dark grey": 3, "grey": 3, "brown": 1.5, "copper green": 1.5},
    "relief": {"none": 4, "cornice": 0.8, "bay windows": 0.5, "balconies": 5},
}  # fmt: skip
_COMMON: dict[str, Weights] = {
    "bay_m": {2.2: 2, 2.8: 3, 3.4: 3, 4.4: 1.5},
    "window": {"plain": 3, "sash": 3, "cross-barred": 3, "ribbon": 1.5, "shuttered": 2},
    "frame": {
        "white": 5, "black": 2, "dark grey": 2, "brown": 2, "green": 1.5, "blue": 1.2, "dark red": 1,
        "cream": 2,
    },
    "ground_floor": {"house": 5, "shop": 4.5, "garage": 1.2},
    "shop": _even(SHOP_KINDS),
    "accent": {
        "green": 2, "blue": 2, "dark red": 2, "teal": 1.5, "black": 2, "purple": 1, "orange": 1.2, "gold": 1,
        "white": 1.5, "brown": 2, "slate": 1,
    },
    "awning": {"none": 3, "plain": 3, "striped": 3},
    "awning_colour": {
        "red": 2, "green": 2, "blue": 2, "orange": 1.5, "teal": 1.2, "yellow": 1.2, "purple": 0.8, "black": 1,
    },
}  # fmt: skip
_OPTIONS = {"brick": _BRICK, "pastel": _PASTEL, "dense": _DENSE}
WALLS = tuple(sorted({wall for options in _OPTIONS.values() for wall in options["wall"]}))
FRAMES = tuple(_COMMON["frame"])
ROOF_COLOURS = tuple(sorted({colour for options in _OPTIONS.values() for colour in options["roof_colour"]}))

_TREES_OF: dict[str, Weights] = {
    "brick": {"round": 3, "plane": 3, "conifer": 1.5, "poplar": 2, "cherry": 1, "ginkgo": 1.5},
    "pastel": {"palm": 3, "round": 2, "conifer": 1.5, "poplar": 1.5, "plane": 1.5, "cherry": 1},
    "dense": {"cherry": 3, "ginkgo": 3, "round": 2, "conifer": 1.5, "plane": 1},
}
_PAVINGS_OF: Weights = {
    "asphalt": 5,
    "dark asphalt": 4,
    "cobbles": 1.6,
    "concrete slabs": 1.6,
    "red brick paving": 1.4,
}


class Looks:
    """The palettes of a city; `lot` draws one building of a street in a district."""

    def __init__(self, config: MiniCityConfig, streets: Sequence[int], district_count: int):
        """`streets` holds the rank of each street."""
        self._dial: Coherence = config.coherence
        options = {**_COMMON, **_OPTIONS[config.look]}
        rng = config.rng(10)
        # Each city leans to some of the options, so that two cities of one look still differ.
        self._city = {
            key: {o: w * rng.uniform(0.35, 1.65) for o, w in options[key].items()} for key in _FIELDS
        }
        self._districts = [_palettes(config.rng(11, index), self._city, 3) for index in range(district_count)]
        self._streets = [_palettes(config.rng(12, index), self._city, 2) for index in range(len(streets))]
        self.districts = [_district(config.rng(13, index), config.look) for index in range(district_count)]
        self.streets = [_street(config.rng(14, i), config.look, rank) for i, rank in enumerate(streets)]

    def lot(self, rng: np.random.Generator, street: int, district: int) -> LotLook:
        """Draw each attribute from the street's palette, the district's, or the city's, as the dial says."""
        values = {}
        for key in _FIELDS:
            level = rng.random()
            if level < self._dial.street:
                weights = self._streets[street][key]
            elif level < self._dial.street + self._dial.district:
                weights = self._districts[district][key]
            else:
                weights = self._city[key]
            values[key] = draw(rng, weights)
        return LotLook(**values)


_FIELDS = tuple(item.name for item in fields(LotLook))


def draw(rng: np.random.Generator, weights: Weights) -> Any:
    """One option, drawn in proportion to its weight."""
    options = list(weights)
    share = np.cumsum(np.fromiter(weights.values(), np.float64))
    return options[int(np.searchsorted(share, rng.random() * share[-1], side="right"))]


def _palettes(rng: np.random.Generator, city: dict[str, Weights], size: int) -> dict[str, Weights]:
    """For each attribute a few of the city's options, the first the commonest."""
    palettes = {}
    for key, weights in city.items():
        left = dict(weights)
        chosen: Weights = {}
        for place in range(min(size, len(left))):
            option = draw(rng, left)
            del left[option]
            chosen[option] = 0.5**place
        palettes[key] = chosen
    return palettes


def _district(rng: np.random.Generator, look: str) -> DistrictLook:
    open_plan = rng.random() < {"brick": 0.45, "pastel": 0.2, "dense": 0.15}[look]
    return DistrictLook(
        pavement=str(rng.choice(PAVEMENTS)),
        pavement_m=float(rng.choice([2.2, 2.8, 3.4])) if look != "dense" else float(rng.choice([1.6, 2.2])),
        yard=draw(rng, {"grass": 4, "gravel": 1, "concrete": 3 if look == "dense" else 1, "garden": 3}),
        setback_m=float(rng.uniform(1.5, 4.0)) if open_plan else 0.0,
        gap_m=float(rng.uniform(1.5, 3.5)) if open_plan else 0.0 if look != "dense" else 0.5,
    )


def _street(rng: np.random.Generator, look: str, rank: int) -> StreetLook:
    markings: Weights = {"none": 1.0, "dashed white": 3, "double yellow": 2, "solid white": 1.5}
    if rank == 0:
        markings["tram rails"] = 2.0
    paving = draw(rng, _PAVINGS_OF if rank else {"asphalt": 3, "dark asphalt": 2})
    plain = rank == 2 or paving not in ("asphalt", "dark asphalt")
    bare = 0.35 if rank < 2 else 0.7
    return StreetLook(
        tree=draw(rng, _TREES_OF[look]),
        tree_spacing_m=0.0 if rng.random() < bare else float(rng.choice([9.0, 13.0, 18.0])),
        lamp=draw(rng, {"none": 0.7, "arm": 3, "globe": 2, "lantern": 2, "twin": 1.5 if rank == 0 else 0.0}),
        lamp_colour=str(rng.choice(["dark grey", "black", "green", "silver", "teal"])),
        paving=paving,
        marking="none" if plain else draw(rng, markings),
        car_density=float(rng.choice([0.05, 0.25, 0.5, 0.75]))
        if rank < 2
        else float(rng.choice([0.0, 0.15, 0.4])),
        crosswalks=bool(rank < 2 and rng.random() < 0.75),
    )

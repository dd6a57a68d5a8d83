"""What decides every byte of a mini city, and the standard ones by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from addressvlm.errors import UsageError
from addressvlm.geo.places import LatLon

LAYOUTS = ("rivers", "grid", "lanes")
LOOKS = ("brick", "pastel", "dense")
NAMINGS = ("american", "numbered", "japanese")

_FIRST_STANDARD_SEED = 1_000_000_000  # `mini:SEED` stays below: standard cities are never anyone else's


@dataclass(frozen=True)
class Coherence:
    """How much of a building's look comes from its district and its street: the dial of difficulty.

    Each discrete attribute of a lot (wall, storeys, window rhythm, roof, awning, ...) is drawn from its
    street's palette with probability `street`, from its district's with probability `district`, else for the
    lot alone. The defaults were fixed before any model was trained on a mini city and are not tuned to
    results. Street furniture (trees, lamps, paving, cars) belongs to the street, pavements and yards to
    the district, whatever the dial says.
    """

    district: float = 0.3
    street: float = 0.4


@dataclass(frozen=True)
class MiniCityConfig:
    """All that a mini city is made from; equal configs give equal bytes."""

    name: str
    seed: int
    layout: str = "rivers"  # one of LAYOUTS
    look: str = "brick"  # one of LOOKS
    naming: str = "american"  # one of NAMINGS
    size_m: float = 1000.0  # side of the city
    streets: int = 26  # streets drawn; some are lost where they would run into a river or each other
    district_count: int = 6
    locations: int = 350
    views: int = 8  # headings of a location, evenly spread from an offset of its own
    pitches: tuple[float, ...] = (6.0,)  # degrees above the horizon, each at every heading
    view_px: int = 224
    fov_deg: float = 90.0
    samples: int = 1  # rays a pixel side: 2 means 2 x 2 samples a pixel
    camera_m: float = 2.5  # height of the camera, as on a street-view car
    map_side_m: float = 160.0
    tile_zoom: int = 19
    coherence: Coherence = field(default_factory=Coherence)
    levels: tuple[str, ...] = ("district", "street")

    @property
    def origin(self) -> LatLon:
        """The middle of the city, in open ocean so that nobody takes it for a real place."""
        spot = np.random.default_rng([self.seed, 40]).integers(0, 1000, 2)
        return LatLon(36 + float(spot[0]) / 125, -46 + float(spot[1]) / 100)

    def rng(self, *stream: int) -> np.random.Generator:
        """The generator of one purpose: what is drawn for one never shifts another."""
        return np.random.default_rng([self.seed, *stream])


STANDARD = {
    city.name: city
    for city in (
        MiniCityConfig("mini-pitts", _FIRST_STANDARD_SEED + 1),
        MiniCityConfig(
            "mini-sf", _FIRST_STANDARD_SEED + 2, "grid", "pastel", "numbered", streets=28, district_count=7
        ),
        MiniCityConfig(
            "mini-tokyo",
            _FIRST_STANDARD_SEED + 3,
            "lanes",
            "dense",
            "japanese",
            size_m=760.0,
            streets=36,
            district_count=7,
            levels=("chome", "street"),
        ),
    )
}


def is_mini(name: str) -> bool:
    """Whether this is how a mini city is named, be there one of that name or not."""
    return name in STANDARD or name.startswith("mini:")


def mini_city(name: str, **overrides: Any) -> MiniCityConfig:
    """The config of `mini-pitts`, `mini-sf`, `mini-tokyo` or `mini:SEED`, with fields replaced.

    A `mini:SEED` draws its layout, look and naming from the seed. Raises UsageError for another name, a field
    that does not exist, or a value out of range.
    """
    config = STANDARD.get(name) or _from_seed(name)
    known = {item.name for item in fields(MiniCityConfig)} - {"name", "seed"}
    for key in overrides:
        if key not in known:
            raise UsageError(f"a mini city has no setting {key!r}; it has {', '.join(sorted(known))}")
    for key in ("pitches", "levels"):
        if key in overrides:
            overrides[key] = _as_tuple(key, overrides[key])
    if isinstance(overrides.get("coherence"), Mapping):
        overrides["coherence"] = _coherence(overrides["coherence"])
    config = replace(config, **overrides)
    _check(config)
    return config


def _from_seed(name: str) -> MiniCityConfig:
    kind, _, text = name.partition(":")
    if kind != "mini" or not (text.isascii() and text.isdigit()) or int(text) >= _FIRST_STANDARD_SEED:
        names = ", ".join(STANDARD)
        raise UsageError(f"there is no mini city {name!r}; choose {names} or mini:SEED (0 to 999999999)")
    seed = int(text)
    rng = np.random.default_rng([seed, 0])
    layout, look, naming = (str(rng.choice(choices)) for choices in (LAYOUTS, LOOKS, NAMINGS))
    return MiniCityConfig(
        f"mini:{seed}",
        seed,
        layout,
        look,
        naming,
        size_m=760.0 if layout == "lanes" else 1000.0,
        streets=int(rng.integers(20, 35)),
        district_count=int(rng.integers(4, 9)),
    )


def _as_tuple(key: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise UsageError(f"{key} of a mini city is a list, not {value!r}")
    return tuple(value)


def _coherence(value: Mapping[str, Any]) -> Coherence:
    if not set(value) <= {"district", "street"}:
        raise UsageError(f"coherence has the fields district and street, not {', '.join(sorted(value))}")
    return Coherence(**value)


_RANGES: dict[str, tuple[float, float]] = {
    "size_m": (200, 3000),
    "streets": (5, 60),
    "district_count": (1, 12),
    "locations": (1, 20_000),
    "views": (1, 72),
    "view_px": (16, 2048),
    "fov_deg": (20, 120),
    "samples": (1, 4),
    "camera_m": (1, 4),
    "map_side_m": (40, 600),
    "tile_zoom": (15, 21),
}
_CHOICES = {"layout": LAYOUTS, "look": LOOKS, "naming": NAMINGS}


def _check(config: MiniCityConfig) -> None:
    for key, (low, high) in _RANGES.items():
        _check_number(key, getattr(config, key), low, high, whole=isinstance(_RANGES_OF[key], int))
    for key, choices in _CHOICES.items():
        if getattr(config, key) not in choices:
            raise UsageError(
                f"{key} of a mini city is one of {', '.join(choices)}, not {getattr(config, key)!r}"
            )
    if not config.pitches:
        raise UsageError("pitches of a mini city needs at least one angle")
    for pitch in config.pitches:
        _check_number("pitches", pitch, -45, 60, whole=False)
    if len(config.levels) != 2 or not all(isinstance(level, str) and level for level in config.levels):
        raise UsageError(f"levels of a mini city are two names, not {config.levels!r}")
    if not isinstance(config.coherence, Coherence):
        raise UsageError(f"coherence is a table with district and street, not {config.coherence!r}")
    shares = (config.coherence.district, config.coherence.street)
    for share in shares:
        _check_number("coherence", share, 0, 1, whole=False)
    if sum(shares) > 1 + 1e-9:
        raise UsageError(f"coherence.district + coherence.street is at most 1, not {sum(shares):g}")


_RANGES_OF = {item.name: item.default for item in fields(MiniCityConfig) if item.name in _RANGES}


def _check_number(key: str, value: Any, low: float, high: float, *, whole: bool) -> None:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise UsageError(f"{key} of a mini city is {kind} from {low:g} to {high:g}, not {value!r}")

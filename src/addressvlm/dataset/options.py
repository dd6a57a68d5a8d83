"""What a data set can be made with; light to import, because the command line reads it for its help."""

from dataclasses import dataclass
from typing import Literal, get_args

from addressvlm.errors import UsageError

Variant = Literal["graft", "stitch", "pair"]
SplitBy = Literal["location", "block", "time", "cluster", "given"]
NameStyle = Literal["auto", "along", "level"]
Control = Literal["none", "unnamed", "blank", "elsewhere", "view", "shuffled", "aside"]

SMALLEST_PX = 10.0  # no street name is written smaller: the mini models could not read it
_SMALL_PX = 200
_WIDEST_ASIDE = 0.75


@dataclass(frozen=True)
class DatasetOptions:
    """The options of `build_dataset`, by the names that the command line offers."""

    image_px: int = 336
    """Side of a map, and longer side of a street view at most, in pixels."""
    delta: float = 0.5
    """Longer side of the grafted street view over the side of the map."""
    variant: Variant = "graft"
    """How map and street view come together: graft, stitch (side by side) or pair (two pictures)."""
    labels: bool = True
    """Write street names on the maps."""
    font_px: float | None = None
    """Height of street names in the final picture; by default 1/28 of its side, but at least 10 pixels."""
    name_style: NameStyle = "auto"
    """How street names stand: along their streets, or level with each letter in a cell of a grid; auto: level
    in pictures below 200 pixels, where small models can hardly read them otherwise."""
    font: str | None = None
    """A font file (.ttf, .otf, .ttc) for street names along their streets, where the usual font lacks letters
    (Japanese, Korean, Thai, …)."""
    control: Control = "none"
    """What alignment pictures lack while their texts stay: names on the map (unnamed), the map (blank), the
    right map (elsewhere), all but the street view (view). Or the texts are mixed up (shuffled). Or the photo
    was taken anywhere on its map, and the texts say so (aside), so that the middle gives nothing away."""
    rounds: int = 7
    """Questions of a training conversation: 7 (the paper's text) or 3 (the paper's counts)."""
    views_share: float = 1.0
    """Share of the photos that each training location keeps, evenly spread over the headings."""
    locations_share: float = 1.0
    """Share of the training locations that are kept."""
    split: tuple[float, float, float] = (0.7, 0.2, 0.1)
    """Shares of the locations that go to train, val and test."""
    split_by: SplitBy = "location"
    """What is kept together: location, block (squares of block_m), time (the oldest photos train), cluster
    (locations nearer than apart_m to each other, in chains) or given (the splits of the photos' source)."""
    block_m: float = 250.0
    """Side of the squares of split_by = block, in metres."""
    apart_m: float = 0.0
    """Photos of two splits are never nearer than this to each other, in metres: training photos that are
    nearer to val or test are left out, and val photos that are nearer to test."""
    seed: int = 0
    """Decides the split, the names drawn, the wording and the order of questions."""

    def __post_init__(self) -> None:
        for name in ("delta", "views_share", "locations_share"):
            _require(0 < getattr(self, name) <= 1, name, getattr(self, name), "it must lie in (0, 1]")
        for name, choices in (
            ("variant", get_args(Variant)),
            ("split_by", get_args(SplitBy)),
            ("name_style", get_args(NameStyle)),
            ("control", get_args(Control)),
            ("rounds", (3, 7)),
        ):
            known = ", ".join(map(str, choices))
            _require(getattr(self, name) in choices, name, getattr(self, name), f"it can be {known}")
        _require(
            self.control in ("none", "shuffled") or self.variant == "graft",
            "control",
            self.control,
            "it needs variant = graft",
        )
        _require(
            self.control != "aside" or self.delta <= _WIDEST_ASIDE,
            "delta",
            self.delta,
            f"control = aside needs room beside the photo: at most {_WIDEST_ASIDE}",
        )
        _require(32 <= self.image_px <= 4096, "image_px", self.image_px, "it must lie between 32 and 4096")
        _require(
            self.font_px is None or 4 <= self.font_px <= 100,
            "font_px",
            self.font_px,
            "it must lie between 4 and 100",
        )
        _require(
            self.font is None or not self.names_level,
            "font",
            self.font,
            "names that stand level have a font of their own: it needs name_style = along",
        )
        _require(0 < self.block_m < float("inf"), "block_m", self.block_m, "it must be a length in metres")
        _require(0 <= self.apart_m < float("inf"), "apart_m", self.apart_m, "it must be a length in metres")
        shares_fit = (
            len(self.split) == 3
            and self.split[0] > 0
            and all(0 <= share < float("inf") for share in self.split)
        )
        _require(
            shares_fit, "split", self.split, "it is three shares for train, val and test, the first above 0"
        )

    @property
    def label_px(self) -> float:
        """Height of the street names in the picture that a model sees, in pixels."""
        return self.font_px or max(SMALLEST_PX, self.image_px / 28)

    @property
    def names_level(self) -> bool:
        """Whether street names stand level, in cells."""
        if self.name_style == "auto":
            return self.image_px < _SMALL_PX
        return self.name_style == "level"


@dataclass(frozen=True)
class SceneOptions:
    """Which mini cities pre-training sees, and how much of each."""

    first_seed: int = 2000
    """The cities are mini:SEED from here on."""
    cities: int = 48
    """How many of them."""
    locations: int = 100
    """Places of a city."""
    views: int = 4
    """Street views of a place."""
    image_px: int = 144
    """Side of views and maps."""
    label_px: float = SMALLEST_PX
    """Height of the street names."""
    delta: float = 0.5
    """Side of the photo that will be grafted, over the side of the map."""


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise UsageError(f"{name} is {value!r}, but {rule}")

"""Invented names for streets, districts and shops; none is meant to be a real place."""

from collections.abc import Iterator, Sequence, Set

import numpy as np

_FRONT = (
    "Ash", "Bram", "Bel", "Cald", "Car", "Cor", "Dun", "Ell", "Fair", "Fen", "Gar",
    "Glen", "Hal", "Hart", "Hazel", "Kirk", "Lang", "Lin", "Lor", "Mar", "Mel", "Mor",
    "Nor", "Oak", "Pem", "Quin", "Rad", "Ral", "Rose", "Rush", "Sel", "Stan", "Thorn",
    "Tres", "Ul", "Van", "Wal", "Wen", "Whit", "Win", "Wood", "Yar", "Zel", "Brook",
    "Cran", "Dray", "Em", "Fal", "Her",
)  # fmt: skip
_BACK = (
    "worth", "bury", "ford", "ley", "more", "field", "wick", "stead", "man", "den", "combe",
    "well", "ridge", "dale", "by", "croft", "ville", "ham", "ston", "shaw", "mere", "gate",
    "hurst", "land", "ridan", "enby", "ick", "ard", "ell",
)  # fmt: skip
_PITTS_TYPES = ("Avenue", "Street", "Street", "Street", "Way", "Place")
_SF_TYPES = ("Street", "Street", "Street", "Alley", "Terrace")
_QUARTERS = ("Hill", "Flats", "Heights", "Bottoms", "Square", "Park", "Side", "Point", "Green", "Hollow")
_CALIFORNIAN = ("Alta", "Buena", "Monte", "Palo", "Casa", "Costa", "Rio", "Sierra", "Loma", "Mira")
_SPANISH_ENDS = ("Vista", "Verde", "Real", "Luna", "Brisa", "Claro", "Dorado", "Mar", "Sol", "Flores")
_KANA_FRONT = (
    "Kura", "Yana", "Saka", "Mizu", "Aka", "Hoshi", "Take", "Matsu", "Kawa", "Naka", "Miya",
    "Shira", "Fuji", "Ume", "Sugi", "Kiri", "Haya", "Tomo", "Naga", "Oku", "Sato", "Asa",
    "Iwa", "Kita", "Hana", "Momi", "Suzu", "Tachi", "Wata", "Yuki",
)  # fmt: skip
_KANA_BACK = (
    "mura", "gawa", "hara", "mori", "da", "shima", "no", "oka", "zaki", "naka", "moto",
    "tani", "sawa", "numa", "hashi", "mine", "se", "ya",
)  # fmt: skip
_KANA_TYPES = ("-dori", "-dori", "-zaka", "-kaido", "-yokocho", "-michi")
_SHOP_WORDS = {
    "american": {
        "bakery": ("Bakery", "Bread"),
        "cafe": ("Cafe", "Coffee"),
        "bookshop": ("Books", "Book Co"),
        "pharmacy": ("Pharmacy", "Drugs"),
        "grocer": ("Market", "Foods"),
        "barber": ("Barber", "Hair"),
        "hardware": ("Hardware", "Tools"),
        "florist": ("Flowers", "Florist"),
        "bar": ("Tavern", "Bar"),
        "bank": ("Bank", "Trust"),
    },
    "japanese": {
        "bakery": ("Pan", "Bakery"),
        "cafe": ("Kissa", "Coffee"),
        "bookshop": ("Shoten", "Books"),
        "pharmacy": ("Kusuri", "Yakkyoku"),
        "grocer": ("Mart", "Konbini"),
        "barber": ("Tokoya", "Hair"),
        "hardware": ("Kanamono", "Tools"),
        "florist": ("Hana", "Flowers"),
        "bar": ("Izakaya", "Ramen"),
        "bank": ("Ginko", "Bank"),
    },
}
_FAMILIES = ("u", "u", "v", "v", "diagonal", "river", "curve")  # in which a city's streets come
_NUMBERED = 60  # numbers of streets that `other_streets` draws from
SHOP_KINDS = tuple(_SHOP_WORDS["american"])


class Namer:
    """Draws names of one naming style, each at most once."""

    def __init__(self, naming: str, rng: np.random.Generator):
        self.naming = naming
        self._rng = rng
        japanese = naming == "japanese"
        self._roots = _shuffled(_KANA_FRONT if japanese else _FRONT, _KANA_BACK if japanese else _BACK, rng)
        self._quarters = _shuffled_pairs(_CALIFORNIAN, _SPANISH_ENDS, rng)

    def street(self, family: str, order: int, rank: int) -> str:
        """A name for the `order`-th street of its family ("u", "v" of a grid, "diagonal", "river", ...)."""
        if self.naming == "numbered" and family == "u":
            return f"{_ordinal(order + 1)} {'Avenue' if rank == 0 else 'Street'}"
        root = next(self._roots)
        if self.naming == "japanese":
            return root + ("-dori" if rank == 0 else self._pick(_KANA_TYPES))
        if family == "river":
            return f"{root} {self._pick(('Embankment', 'Quay', 'Drive'))}"
        if family == "curve":
            return f"{root} {self._pick(('Drive', 'Crescent', 'Parkway'))}"
        if rank == 0:
            return f"{root} {'Boulevard' if family == 'diagonal' else 'Avenue'}"
        return f"{root} {self._pick(_SF_TYPES if self.naming == 'numbered' else _PITTS_TYPES)}"

    def other_streets(self, count: int, avoid: Set[str]) -> list[str]:
        """`count` different street names in no order, as of any city of this style.

        None is in `avoid`, and apart from numbers none begins with the first word of a name in there.
        """
        roots = {name.replace("-", " ").split()[0] for name in avoid}
        found: dict[str, None] = {}
        while len(found) < count:
            family = self._pick(_FAMILIES)
            name = self.street(family, int(self._rng.integers(_NUMBERED)), int(self._rng.integers(3)))
            numbered = name[0].isdigit()
            if name not in avoid and (numbered or name.replace("-", " ").split()[0] not in roots):
                found[name] = None
        return list(found)

    def districts(self, count: int) -> list[str]:
        """Names of `count` districts; Japanese ones are numbered chome of a few towns."""
        if self.naming == "japanese":
            towns = [next(self._roots) + self._pick(("machi", "cho")) for _ in range(-(-count // 3))]
            return [f"{towns[index // 3]} {index % 3 + 1}-chome" for index in range(count)]
        if self.naming == "numbered":
            return [next(self._quarters) for _ in range(count)]
        ends = self._rng.permutation(_QUARTERS)
        return [f"{next(self._roots)} {ends[index % len(ends)]}" for index in range(count)]

    def shop(self, kind: str, street: str) -> str:
        """The text over a shop: now and then it carries the name of its street."""
        words = _SHOP_WORDS["japanese" if self.naming == "japanese" else "american"][kind]
        of_street = self._rng.random() < 0.15
        root = street.replace("-", " ").split()[0] if of_street else next(self._roots)
        return f"{root} {self._pick(words)}"

    def _pick(self, words: Sequence[str]) -> str:
        return words[int(self._rng.integers(len(words)))]


def _shuffled(fronts: Sequence[str], backs: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    """All words of a front and a back in random order, neighbours with different fronts; then again."""
    grid = [[front + back for back in rng.permutation(backs)] for front in rng.permutation(fronts)]
    while True:
        for column in range(len(backs)):
            for row in rng.permutation(len(grid)):
                yield str(grid[row][column])


def _shuffled_pairs(fronts: Sequence[str], backs: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    pairs = [f"{front} {back}" for front in fronts for back in backs]
    yield from (str(pair) for pair in rng.permutation(pairs))


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number not in (11, 12, 13) else 0, "th")
    return f"{number}{ending}"

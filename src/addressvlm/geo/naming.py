"""Which spellings of a street's name are one name: the abbreviations of one language, and no more.

"S  34TH  ST" and "South 34th Street" are one street, "North" and "South", "Street" and "Avenue" never are.
A word is only taken for an abbreviation where it can be nothing else: "St" at the end is a street, in front
of a name a saint; "N" is north in "N 34th St", but the name itself in "N Street" and "Avenue N".
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from addressvlm.errors import UsageError

Words = Mapping[str, str]  # abbreviation → word, both as `_plain` writes them

_A_LANGUAGE = 0.2  # share of the names whose kind of street must be of a language


@dataclass(frozen=True)
class Language:
    """The abbreviations of one language, by where in a name they stand, and the words that tell it."""

    first: Words = field(default_factory=dict)
    last: Words = field(default_factory=dict)
    anywhere: Words = field(default_factory=dict)
    directions: Words = field(default_factory=dict)
    kinds_first: frozenset[str] = frozenset()
    kinds_last: frozenset[str] = frozenset()
    kinds_end: tuple[str, ...] = ()
    letters: Callable[[str], str] = str


def _unaccented(text: str) -> str:
    """Letters without accents, as upper-case files have them; ñ is a letter of its own."""
    marked = unicodedata.normalize("NFD", text)
    bare = re.sub(r"(?<!n)[\u0300-\u036f]", "", marked)
    return unicodedata.normalize("NFC", bare)


def _german(text: str) -> str:
    for letter, pair in (("ä", "ae"), ("ö", "oe"), ("ü", "ue")):
        text = text.replace(letter, pair)
    return re.sub(r"(?<=[a-z])str\b|\bstr\b", "strasse", text)


def _english(text: str) -> str:
    """ "03RD" is "3rd", and an apostrophe that maps leave out is no difference."""
    return re.sub(r"\b0+(?=\d+(st|nd|rd|th)\b)", "", text.replace("'", ""))


_EN_KINDS = {
    **{"st": "street", "ave": "avenue", "av": "avenue", "blvd": "boulevard", "rd": "road", "dr": "drive"},
    **{"ln": "lane", "ct": "court", "pl": "place", "sq": "square", "ter": "terrace", "terr": "terrace"},
    **{"aly": "alley", "hwy": "highway", "pkwy": "parkway", "pky": "parkway", "expy": "expressway"},
    **{"fwy": "freeway", "cir": "circle", "cres": "crescent", "trl": "trail", "plz": "plaza"},
    **{"tunl": "tunnel", "wy": "way"},
}
_EN_DIRECTIONS = {
    **{"n": "north", "s": "south", "e": "east", "w": "west"},
    **{"ne": "northeast", "nw": "northwest", "se": "southeast", "sw": "southwest"},
}

LANGUAGES = {
    "en": Language(
        first={"st": "saint", "mt": "mount", "ft": "fort", "ave": "avenue"},
        last=_EN_KINDS,
        directions=_EN_DIRECTIONS,
        kinds_last=frozenset({*_EN_KINDS, *_EN_KINDS.values()}),
        letters=_english,
    ),
    "de": Language(
        first={"st": "sankt"},
        last={"pl": "platz"},
        kinds_end=("strasse", "weg", "platz", "gasse", "allee", "damm", "ufer", "steig"),
        letters=_german,
    ),
    "fr": Language(
        first={
            **{"av": "avenue", "ave": "avenue", "bd": "boulevard", "bld": "boulevard", "boul": "boulevard"},
            **{"blvd": "boulevard", "pl": "place", "ch": "chemin", "chem": "chemin", "imp": "impasse"},
            **{"all": "allee", "sq": "square", "rte": "route", "r": "rue", "pass": "passage"},
        },
        anywhere={"st": "saint", "ste": "sainte", "fbg": "faubourg", "fg": "faubourg"},
        kinds_first=frozenset(
            {"rue", "avenue", "boulevard", "place", "chemin", "impasse", "allee", "quai", "route", "square"}
        ),
        letters=_unaccented,
    ),
    "es": Language(
        first={
            **{"c": "calle", "cl": "calle", "av": "avenida", "avd": "avenida", "avda": "avenida"},
            **{"pl": "plaza", "pza": "plaza", "plza": "plaza", "po": "paseo", "ctra": "carretera"},
            **{"rda": "ronda", "cra": "carrera", "cno": "camino", "pje": "pasaje"},
        },
        anywhere={"sta": "santa", "sto": "santo", "gral": "general", "dr": "doctor", "dra": "doctora"},
        kinds_first=frozenset({"calle", "avenida", "plaza", "paseo", "carretera", "ronda", "carrera"}),
        letters=_unaccented,
    ),
    "pt": Language(
        first={
            **{"r": "rua", "av": "avenida", "tv": "travessa", "trav": "travessa", "pc": "praca"},
            **{"pca": "praca", "al": "alameda", "lg": "largo", "estr": "estrada", "rod": "rodovia"},
        },
        anywhere={
            **{"sta": "santa", "sto": "santo", "dr": "doutor", "dra": "doutora", "prof": "professor"},
            **{"pres": "presidente", "cel": "coronel"},
        },
        kinds_first=frozenset({"rua", "avenida", "travessa", "praca", "alameda", "largo", "estrada"}),
        letters=_unaccented,
    ),
    "it": Language(
        first={
            **{"v": "via", "vle": "viale", "pza": "piazza", "pzza": "piazza", "cso": "corso"},
            **{"lgo": "largo", "vlo": "vicolo"},
        },
        kinds_first=frozenset({"via", "viale", "piazza", "corso", "vicolo", "largo"}),
        letters=_unaccented,
    ),
}
NO_LANGUAGE = "none"


def name_key(name: str, language: str) -> str:
    """What the spellings of one street have in common: "S  34TH  ST" → "south 34th street".

    `language` is one of `LANGUAGES` or `NO_LANGUAGE`: without one only case, spaces, dots and hyphens do not
    count. The order of words always counts, and so does every word that is no abbreviation.
    """
    words = _plain(name, language).split()
    if language == NO_LANGUAGE:
        return " ".join(words)
    table = LANGUAGES[language]
    before, core, kind, behind = _parts(words, table)
    if len(core) + len(kind) > 1:
        core = [table.first.get(core[0], core[0]), *core[1:]]
    return " ".join([*before, *(table.anywhere.get(word, word) for word in core), *kind, *behind])


def language_of(names: Iterable[str]) -> str:
    """The language that a city's street names are in, told by their kinds ("Street", "…straße", "Rue").

    `NO_LANGUAGE` where no language has a fifth of them.
    """
    names = list(names)
    votes = {language: sum(_tells(name, language) for name in names) for language in LANGUAGES}
    best = max(votes, key=lambda language: votes[language])
    return best if names and votes[best] >= _A_LANGUAGE * len(names) else NO_LANGUAGE


def checked_language(language: str) -> str:
    """`language` if there is a table for it, else a `UsageError` that lists them."""
    if language not in (*LANGUAGES, NO_LANGUAGE):
        raise UsageError(
            f"there are no abbreviations of the language {language!r}; there are {', '.join(LANGUAGES)} "
            f"and {NO_LANGUAGE!r}, with which only case, spaces, dots and hyphens do not count"
        )
    return language


def _plain(name: str, language: str) -> str:
    """Letters without case, dots and hyphens, written as the language's files write them."""
    plain = unicodedata.normalize("NFKC", name).casefold().replace("’", "'").replace(".", "")
    plain = " ".join(re.sub(r"[-‐‑–/]", " ", plain).split())
    return plain if language == NO_LANGUAGE else LANGUAGES[language].letters(plain)


def _parts(words: list[str], table: Language) -> tuple[list[str], list[str], list[str], list[str]]:
    """Direction, name, kind and direction of a name, directions and kind spelled out where they are sure."""
    kinds, directions = _with_words(table.last), _with_words(table.directions)
    before: list[str] = []
    kind: list[str] = []
    behind: list[str] = []
    core = words
    if len(core) > 1 and core[-1] in directions and not set(core[:-1]) <= kinds.keys():
        core, behind = core[:-1], [directions[core[-1]]]
    if len(core) > 1 and core[-1] in kinds:
        core, kind = core[:-1], [kinds[core[-1]]]
    if len(core) > 1 and core[0] in directions:
        core, before = core[1:], [directions[core[0]]]
    return before, core, kind, behind


def _with_words(abbreviations: Words) -> dict[str, str]:
    return {**abbreviations, **{word: word for word in abbreviations.values()}}


def _tells(name: str, language: str) -> bool:
    table = LANGUAGES[language]
    words = _plain(name, language).split()
    if len(words) > 1 and words[-1] in _with_words(table.directions):
        words = words[:-1]
    if not words:
        return False
    several = len(words) > 1
    return (
        (several and words[0] in table.kinds_first)
        or (several and words[-1] in table.kinds_last)
        or words[-1].endswith(table.kinds_end or ("\0",))
    )

"""Is a generated label fit to be learned from? The place it names, the words it must not use, its length.

A describer is told the true address and may still contradict it, tell that it was told, refuse, or ramble;
what it says is learned, so what cannot be trusted is rejected. The check reads names and fixed phrases only:
whether the reasons are true of the picture, a person has to look (`review.html`).
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from addressvlm.dataset.labeloptions import LabelOptions
from addressvlm.errors import AddressVLMError

Words = tuple[str, ...]
Fault = tuple[str, str]  # the kind, for counting, and the words that are wrong
_Level = Literal["district", "street"]

# Scripts without spaces are read character by character.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_APOSTROPHES = str.maketrans("", "", "'’‘`´")
_SENTENCE = re.compile(r"(?<=[.!?。])\s+(?=[^a-z])")

_TOLD = re.compile(
    r"\bhints?\b|\bprompts?\b|\b(?:last|final) line\b|\bground truth\b|\bas an? (?:ai|language model)\b"
    r"|\b(?:provided|given|supplied|stated) (?:address|location|hint|information|facts?|details|context)\b"
    r"|\b(?:address|location|hint|facts?|details|context|metadata) (?:that (?:was|were) )?"
    r"(?:provided|given|supplied)\b"
    r"|\b(?:i|we) (?:was|were|am|are|have been) (?:told|given|informed)\b"
    r"|\b(?:according to|based on|per) the (?:facts?|address|information|metadata|json|text)\b"
    r"|\bas (?:was )?(?:told|stated|given|provided|instructed)\b",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"\b(?:sorry|apologi[sz]e)\b|\b(?:i|we) (?:am|are) (?:unable|not able)\b"
    r"|\b(?:i|we) (?:cannot|can not|cant) "
    r"(?:determine|identify|tell|deduce|provide|assist|help|see|view|answer)\b"
    r"|\b(?:unable|not able|impossible|not possible) to "
    r"(?:determine|identify|tell|deduce|provide|assist|say)\b"
    r"|\b(?:cannot|can not|could not) be (?:determined|identified|deduced)\b",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"<\|?/?[a-z_]+\|?>|\[/?INST\]", re.IGNORECASE)
_VIEW = r"(?:photo(?:graph)?|picture|image|view|scene|shot|camera|photographer|it|this|we|i)"
_PREPOSITION = r"(?:on|along|in|at|from|within)(?: the)?"
# The words right before a name that say: this is where the photo was taken.
_PLACED = re.compile(
    rf"\b{_VIEW}\b.* (?:taken|captured|shot|photographed) (?:\w+ )?{_PREPOSITION}$"
    rf"|\b{_VIEW} (?:\w+ ){{0,3}}(?:located|situated|positioned|standing|placed) {_PREPOSITION}$"
    rf"|\b{_VIEW} (?:is|was|lies) (?:\w+ )?{_PREPOSITION}$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Truth:
    """What a label is about; `on_map` are the street names legible on the map.

    Where the street was not in the hint, a label need not name it.
    """

    district: str
    street: str
    on_map: tuple[str, ...] = ()
    street_hinted: bool = True


class Names:
    """The names of a city, found in texts: the longest that fits at every place, whatever its punctuation."""

    def __init__(self, rows: Iterable[Mapping[str, object]]):
        self._by_first: dict[str, list[tuple[Words, Words]]] = defaultdict(list)
        self._meant: dict[Words, set[tuple[_Level, str]]] = defaultdict(set)
        for row in rows:
            level: _Level = "street" if row["level"] == "street" else "district"
            name, spellings = str(row["name"]), row["spellings"]
            assert isinstance(spellings, Sequence), "a list of texts"
            for spelling in {name, *map(str, spellings)}:
                if exact := words(spelling):
                    folded = tuple(map(str.casefold, exact))
                    if folded not in self._meant:
                        self._by_first[folded[0]].append((folded, exact))
                    self._meant[folded].add((level, name))
        for known in self._by_first.values():
            known.sort(key=lambda pair: -len(pair[0]))

    @classmethod
    def read(cls, gazetteer: Path) -> "Names":
        """The names of a gazetteer file, read without its geometry."""
        try:
            table = pq.read_table(gazetteer, columns=["level", "name", "spellings"], partitioning=None)
        except (OSError, pa.ArrowException) as error:
            raise AddressVLMError(f"{gazetteer} cannot be read: {error}; build the data set again") from error
        return cls(table.to_pylist())

    def found(self, text: str) -> list["Mention"]:
        """All mentions of names in a text, in their order.

        A name of one plain word counts only where it is written as the city writes it: `a park` is no street.
        """
        said = words(text)
        folded = tuple(map(str.casefold, said))
        mentions, place = [], 0
        while place < len(said):
            for name, exact in self._by_first.get(folded[place], ()):
                end = place + len(name)
                if folded[place:end] == name and (len(name) > 1 or said[place] == exact[0]):
                    mentions.append(Mention(frozenset(self._meant[name]), " ".join(said[:place]), place, end))
                    place = end
                    break
            else:
                place += 1
        return mentions


@dataclass(frozen=True)
class Mention:
    """Names (more than one where a street is called as a district), and the words of the text before them."""

    names: frozenset[tuple[_Level, str]]
    before: str
    begin: int
    end: int


def words(text: str) -> Words:
    """The words of a text without punctuation, apostrophes and compatibility forms, case kept."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)))


def tidy(text: str) -> str:
    """A text as it is kept: without a model's thoughts before the answer, on one line."""
    return " ".join(re.sub(r"^\s*<think>.*?</think>", "", text, flags=re.DOTALL).split())


def fault(text: str, truth: Truth, names: Names, options: LabelOptions, *, cut: bool = False) -> Fault | None:
    """What is wrong with a label, or None: a kind and the words that show it.

    It must name the true street and district; places the photo on no other; names no street that is neither
    true nor on the map, and no other district. Mentions of streets on the map (a crossing, a parallel) are
    fine.
    """
    said = words(text)
    if not said:
        return "empty", "it holds no words"
    if cut:
        return "cut off", "it ended at max_tokens"
    if marked := _CONTROL.search(text):
        return "control token", marked[0]
    plain = " ".join(_without_names(said, names.found(text)))
    if refused := _REFUSED.search(plain):
        return "refusal", refused[0]
    if told := _told(plain):
        return "hint told", told
    if not options.min_words <= len(said) <= options.max_words:
        return "length", f"{len(said)} words, not {options.min_words} to {options.max_words}"
    sentences = _SENTENCE.split(text)
    if len(sentences) > 2 * len(set(sentences)):
        return "repetition", sentences[-1]
    return _misplaced([names.found(sentence) for sentence in sentences], truth)


def _misplaced(sentences: list[list[Mention]], truth: Truth) -> Fault | None:
    true: set[tuple[_Level, str]] = {("district", truth.district), ("street", truth.street)}
    on_map: set[tuple[_Level, str]] = {("street", name) for name in truth.on_map}
    named = {name for mentions in sentences for mention in mentions for name in mention.names}
    for level, name in sorted(true - named):
        if level == "district" or truth.street_hinted:
            return f"no {level}", f"it does not name {name}"
    for mentions in sentences:
        for mention in mentions:
            if mention.names & true:
                continue
            level, name = min(mention.names)
            if not mention.names & on_map:
                return f"other {level}", f"it names {name}"
            if _PLACED.search(mention.before):
                return "other place", f"it places the photo on {name}"
    # The address comes first: a sentence that names streets before the true one is named is about another.
    streets = [
        {name for mention in mentions for level, name in mention.names if level == "street"}
        for mentions in sentences
    ]
    first = next((those for those in streets if those), set())
    if truth.street_hinted and truth.street not in first:
        return "other place", f"it begins with {min(first)}"
    return None


def _without_names(said: Words, mentions: Sequence[Mention]) -> list[str]:
    """The words that belong to no name: a place may be called Hint Road."""
    inside = {place for mention in mentions for place in range(mention.begin, mention.end)}
    return [word for place, word in enumerate(said) if place not in inside]


def _told(plain: str) -> str | None:
    """Words that tell of the hint; what is "provided in the image" is not."""
    for told in _TOLD.finditer(plain):
        if not re.match(r" (?:in|by|on) (?:the|this) (?!hint|text|line)\w+", plain[told.end() :]):
            return told[0]
    return None

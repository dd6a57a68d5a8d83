"""Text to build the mini tokenizer from: questions about streets, descriptions of buildings, invented names.

It only has to contain the words and name parts that such texts are made of, in believable proportions, so
that a city never seen still reads in few tokens. Between the parts of a mini city's name stands a SEAM,
over which no token may reach. It is the same on every machine.
"""

import itertools
import random
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SEAM = "\x1f"  # stands in no text of ours

Parts = dict[str, Any]  # the file's keys

_FILE = Path(__file__).parent / "assets" / "corpus.toml"
_LINES = 24_000


def corpus() -> Iterator[str]:
    """Lines of text, always the same."""
    parts: Parts = tomllib.loads(_FILE.read_text("utf-8"))
    rng = random.Random(0)
    words = {key: value.split(", ") for key, value in parts["words"].items()}
    texts = parts["questions"] + parts["descriptions"] + parts["lessons"]
    templates = itertools.cycle(texts.splitlines())
    for template in itertools.islice(templates, _LINES):
        yield template.format(
            **{key: rng.choice(values) for key, values in words.items()},
            **{key: _street(rng, parts) for key in ("street", "other", "third", "fourth")},
            district=_district(rng, parts),
        )
        yield _mini_name(rng, parts["mini"])


def _street(rng: random.Random, parts: Parts) -> str:
    return f"{_name(rng, parts)} {rng.choice(parts['kinds'].split())}"


def _district(rng: random.Random, parts: Parts) -> str:
    name, area = _name(rng, parts), rng.choice(parts["areas"].split())
    return rng.choice((f"{name} {area}", f"{area} {name}", name))


def _name(rng: random.Random, parts: Parts) -> str:
    draw = rng.random()
    if draw < 0.25:
        return str(rng.choice(parts["plain"].split()))
    if draw < 0.3:
        return f"{rng.randint(1, 199)}{rng.choice(('th', 'st', 'nd', 'rd', '-chome'))}"
    return _invented(rng, parts["syllables"])


def _mini_name(rng: random.Random, mini: dict[str, str]) -> str:
    def one(key: str) -> str:
        return rng.choice(mini[key].split())

    draw = rng.random()
    if draw < 0.2:
        return f"{one('kana_fronts')}{SEAM}{one('kana_backs')}-{one('kana_types')}"
    if draw < 0.25:
        town = f"{one('kana_fronts')}{SEAM}{one('kana_backs')}{SEAM}{one('kana_towns')}"
        return f"{town} {rng.randint(1, 3)}-chome"
    if draw < 0.3:
        return f"{one('californian')} {one('spanish_ends')}"
    return f"{one('fronts')}{SEAM}{one('backs')} {one(rng.choice(('types', 'types', 'types', 'quarters')))}"


def _invented(rng: random.Random, syllables: dict[str, str]) -> str:
    onsets, nuclei, codas, endings = (
        syllables[key].split() for key in ("onsets", "nuclei", "codas", "endings")
    )
    stem = "".join(
        rng.choice(onsets) + rng.choice(nuclei) + rng.choice(["", "", "", *codas])
        for _ in range(rng.choice((1, 1, 2, 2, 3)))
    )
    return (stem + rng.choice(("", *endings))).capitalize()

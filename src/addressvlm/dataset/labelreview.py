"""review.html: fifty random labels beside their pictures, and some of what was set aside, for a person to
read.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from addressvlm.dataset.labelprompts import Prompts
from addressvlm.dataset.seeds import generator
from addressvlm.errors import AddressVLMError
from addressvlm.folders import write_atomically
from addressvlm.imagery.opening import data_uri, open_image

REVIEW = "review.html"
SHOWN, SET_ASIDE_SHOWN = 50, 12
_PICTURE_PX = 420

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("addressvlm.dataset"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)


@dataclass(frozen=True)
class Card:
    """A sample as it is shown: its pictures, and its texts in pieces, those that name its address marked."""

    photo: str
    address: str
    pictures: tuple[tuple[str, int, int], ...]
    texts: tuple[tuple[str, list[tuple[str, bool]]], ...]


def write_review(
    out: Path,
    labelled: Sequence[Mapping[str, Any]],
    rejected: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    source: Mapping[str, Any],
    prompts: Prompts,
    rows: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write the page of a label job; `labelled` are rows of its table, `rows` the data set's by photo."""
    chosen = generator(prompts.options.seed, "review").permutation(len(labelled))[:SHOWN]
    shown = [labelled[place] for place in sorted(chosen)]
    html = _ENVIRONMENT.get_template("review.html.j2").render(
        title=f"Labels of {source['city']}",
        facts=facts,
        answers=len(labelled) + sum(facts["rejected_answers"].values()),
        attribution=source["attribution"],
        question=labelled[0]["question"],
        cards=[_card(out, row, [("", row["answer"])]) for row in shown],
        set_aside=[
            _card(
                out,
                prompts.row(rows[sample["photo"]]),
                [(answer["fault"], answer["text"]) for answer in sample["answers"]]
                or [(sample["reason"], "")],
            )
            for sample in rejected[:SET_ASIDE_SHOWN]
        ],
    )
    with write_atomically(out / REVIEW) as temporary:
        temporary.write_text(html, "utf-8")


def _card(out: Path, row: Mapping[str, Any], texts: Sequence[tuple[str, str]]) -> Card:
    names = (row["street"], row["district"])
    return Card(
        row["photo"],
        ", ".join(names),
        tuple(_pictures(out, row["images"])),
        tuple((fault, _pieces(text, names)) for fault, text in texts),
    )


def _pictures(out: Path, images: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    for image in images:
        try:
            picture = open_image(out / image)
        except AddressVLMError:
            continue  # that is why it was set aside
        picture.thumbnail((_PICTURE_PX, _PICTURE_PX))
        yield data_uri(picture), picture.width, picture.height


def _pieces(text: str, names: Sequence[str]) -> list[tuple[str, bool]]:
    """The text cut where one of the names begins and ends, and whether a piece is one."""
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return [
        (piece, place % 2 == 1)
        for place, piece in enumerate(re.split(f"({known})", text, flags=re.IGNORECASE))
        if piece
    ]

"""Tables for VLMEvalKit: multiple-choice questions in one, all others in another, pictures inside."""

import base64
import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from addressvlm.dataset.answers import LETTERS
from addressvlm.dataset.exports.items import Export, Item, Turn
from addressvlm.dataset.exports.naming import slug
from addressvlm.dataset.wording import lettered
from addressvlm.folders import write_atomically

_COMMON = ("index", "image", "question", "answer", "category", "photo", "location")
CHOICE_COLUMNS = (*_COMMON, *LETTERS, "asked")

Rows = Iterator[Mapping[str, Any]]


def write_vlmevalkit(export: Export) -> None:
    """`NAME_SPLIT_choice.tsv` and `NAME_SPLIT_open.tsv` for test and val."""
    name = f"addressvlm_{slug(export.about['city'])}"
    for split in ("test", "val"):
        write_tsv(export.out / f"{name}_{split}_choice.tsv", CHOICE_COLUMNS, _choices(export, split))
        write_tsv(export.out / f"{name}_{split}_open.tsv", _COMMON, _open_ended(export, split))


def write_tsv(path: Path, columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as tab-separated values with a header, quoted as spreadsheets and pandas do, atomically."""
    with write_atomically(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, dialect="excel-tab", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _choices(export: Export, split: str) -> Rows:
    def columns(turn: Turn) -> dict[str, Any]:
        # The kit lists the options itself, so the question goes without ours; `asked` keeps it whole.
        stem = turn.question.partition(lettered(turn.options))[0].strip()
        return {"question": stem, "asked": turn.question, **dict(zip(LETTERS, turn.options, strict=False))}

    return _rows(export, split, lambda turn: turn.kind == "multiple_choice", columns)


def _open_ended(export: Export, split: str) -> Rows:
    return _rows(
        export,
        split,
        lambda turn: turn.kind != "multiple_choice",
        lambda turn: {"question": turn.question},
    )


def _rows(
    export: Export, split: str, wanted: Callable[[Turn], bool], columns: Callable[[Turn], dict[str, Any]]
) -> Rows:
    index = 0
    for item, pictures in export.items(split):
        for place, turn in enumerate(filter(wanted, item.turns)):
            # The kit takes a short text for the index of the row that holds the picture.
            picture = str(index - place) if place else base64.b64encode(pictures[0]).decode()
            yield {"index": index, "image": picture, **_about(item, turn), **columns(turn)}
            index += 1


def _about(item: Item, turn: Turn) -> dict[str, str]:
    category = f"{turn.kind} {turn.level}"
    return {"answer": turn.answer, "category": category, "photo": item.photo, "location": item.location}

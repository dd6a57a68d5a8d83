"""What every format is written from: the photos of a part of the data set, with what is asked about them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from addressvlm.dataset.exports.pictures import clean_picture
from addressvlm.dataset.tables import read_config, read_table, rows_of
from addressvlm.errors import AddressVLMError
from addressvlm.folders import require_complete
from addressvlm.work import track

PARTS = ("alignment", "train", "val", "test")
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True)
class Turn:
    """A question and its answer; the fields are those of the tables, `answer` is the truth."""

    kind: str
    level: str
    question: str
    options: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Item:
    """A photo with its pictures (paths under the data set) and what is asked about it, in order."""

    photo: str
    location: str
    images: tuple[str, ...]
    district: str
    street: str
    turns: tuple[Turn, ...]


@dataclass
class Export:
    """A data set on its way into the folder `out`; what had to be left out is collected in `skipped`.

    `skipped` holds reasons by part and photo, `counts` what was handed out by part.
    """

    dataset: Path
    out: Path
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    @cached_property
    def about(self) -> dict[str, Any]:
        """The summary of the data set."""
        return require_complete(self.dataset)

    @cached_property
    def config(self) -> dict[str, Any]:
        """How the data set was made."""
        return read_config(self.dataset)

    def parts(self, names: Mapping[str, str]) -> list[tuple[str, str]]:
        """Of `names` by part, those whose part has any rows; a split may have no share of the locations."""
        return [(part, name) for part, name in names.items() if read_table(self.dataset, part, []).num_rows]

    def pictures_each(self, part: str) -> int:
        """How many pictures an item of a part has: 1, or 2 where map and street view are a pair."""
        images = read_table(self.dataset, part, ["images"])["images"]
        return max((len(some) for some in images.to_pylist()), default=1)

    def items(self, part: str, *, without: str = "") -> Iterator[tuple[Item, tuple[bytes, ...]]]:
        """The items of a part, sorted by photo, with the bytes of their pictures.

        Those whose pictures cannot be read, or whose texts hold the word `without` (which the format uses for
        itself), are left out and noted with the reason.
        """
        skipped, rights = self.skipped.setdefault(part, {}), self.about.get("attribution", "")
        asked = handed = 0
        for item in track(read_items(self.dataset, part), part):
            try:
                if without:
                    _require_without(item, without)
                pictures = tuple(clean_picture(self.dataset / image, rights) for image in item.images)
            except AddressVLMError as error:
                skipped[item.photo] = str(error).replace(f"{self.dataset}/", "")
                continue
            yield item, pictures
            handed, asked = handed + 1, asked + len(item.turns)
        self.counts[part] = {"photos": handed, "questions": asked}


def read_items(dataset: Path, part: str) -> Iterator[Item]:
    """The items of a part of a complete data set, pictures unread.

    Raises `AddressVLMError` for ids and paths that could leave a folder: they become names of files.
    """
    rows = rows_of(read_table(dataset, part))
    for photo, group in groupby(rows, key=lambda row: row["photo"]):
        row, *others = group
        for name in (photo, row["location"]):
            if not _ID.fullmatch(str(name)):
                raise AddressVLMError(f"{name!r} in {dataset} is no id (letters, digits, '-', '_')")
        for image in row["images"]:
            path = PurePosixPath(image)
            if path.is_absolute() or ".." in path.parts or "\\" in image or "\0" in image:
                raise AddressVLMError(f"the picture {image!r} of {photo} does not lie in {dataset}")
        turns = row.get("turns") or [row, *others]
        yield Item(
            photo,
            row["location"],
            tuple(row["images"]),
            row["district"],
            row["street"],
            tuple(_turn(turn) for turn in turns),
        )


def _turn(row: Mapping[str, Any]) -> Turn:
    answer = row["truth"] if "truth" in row else row["answer"]
    # The samples of stage 1 have but one question, of no kind of the second stage's.
    kind, level = row.get("kind", "alignment"), row.get("level", "both")
    return Turn(kind, level, row["question"], tuple(row.get("options") or ()), answer)


def _require_without(item: Item, word: str) -> None:
    if any(word in text for turn in item.turns for text in (turn.question, turn.answer)):
        raise AddressVLMError(f"a text about it holds {word}, which stands for the picture in this format")

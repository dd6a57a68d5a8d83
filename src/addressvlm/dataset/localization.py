"""Stage 2, address localization (Sec. 3.3): questions about the street view alone."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pandas as pd

from addressvlm.dataset.files import photo_file
from addressvlm.dataset.questions import Names, Question, Vocabulary, test_questions, training_rounds
from addressvlm.dataset.seeds import generator
from addressvlm.geo.places import Address

Row = dict[str, Any]


def vocabulary(levels: tuple[str, str], training: pd.DataFrame) -> Vocabulary:
    """The names of the training photos, from which wrong ones are drawn for all splits."""
    district, street = (Names(Counter(training[level])) for level in ("district", "street"))
    return Vocabulary(levels, district, street)


def training_rows(photos: pd.DataFrame, words: Vocabulary, *, rounds: int, seed: int) -> Iterator[Row]:
    """The rows of the train table: a photo and its conversation."""
    for photo in cast(list[Row], photos.to_dict("records")):
        rng = generator(seed, "train", photo["photo"])
        asked = training_rounds(_address(photo), words, rng, rounds=rounds)
        turns = [{**_asked(question), "answer": question.truth} for question in asked]
        yield {**_about(photo), "turns": turns}


def question_rows(photos: pd.DataFrame, words: Vocabulary, *, seed: int) -> Iterator[Row]:
    """The rows of the val or test table: one question each, those of a photo one after the other."""
    for photo in cast(list[Row], photos.to_dict("records")):
        corner = {name: None if pd.isna(photo[name]) else photo[name] for name in ("runner_up", "margin_m")}
        for question in test_questions(_address(photo), words, generator(seed, "questions", photo["photo"])):
            yield {**_about(photo), **corner, **_asked(question), "truth": question.truth}


def _about(photo: Mapping[str, Any]) -> Row:
    images = [photo_file(photo["photo"])]
    return {name: photo[name] for name in ("photo", "location", "district", "street")} | {"images": images}


def _address(photo: Mapping[str, Any]) -> Address:
    return Address(photo["district"], photo["street"])


def _asked(question: Question) -> Row:
    return {
        "kind": question.kind,
        "level": question.level,
        "question": question.text,
        "options": list(question.options),
    }

"""Ask every test question, keep the answers, score them: a step from a data set to an evaluation folder.

Whatever can answer can be evaluated: it comes in as a function from questions to texts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from addressvlm.dataset.tables import read_questions, read_table
from addressvlm.errors import AddressVLMError
from addressvlm.evaluation.metrics import Scores, known_from_training, score
from addressvlm.evaluation.neighbours import answer_by_address, neighbour_addresses
from addressvlm.evaluation.predictions import (
    CONSTRAINED,
    FIELDS,
    append_predictions,
    read_predictions,
    resume_predictions,
)
from addressvlm.evaluation.report import write_report
from addressvlm.folders import fingerprint, open_step, read_json, require_complete, sha256, write_json
from addressvlm.work import track

PREDICTIONS = "predictions.jsonl"
METRICS = "metrics.json"
REPORT = "report.html"

# Questions between two writes, or more to the end of a photo: answers may depend on others of the same photo
# (`joint`), and in low precision on all of a chunk.
CHUNK = 512

_ASKED = FIELDS[:-1]


@dataclass(frozen=True)
class Request:
    """One question about one or more pictures; what kind it is of, and with which options."""

    images: tuple[Path, ...]
    question: str
    kind: str
    level: str
    options: tuple[str, ...]


Answer = Callable[[Sequence[Request]], Iterable[str]]
# Answers to the same questions under constraints, by the name of the constraint.
Constrained = Callable[[Sequence[Request]], Iterable[Mapping[str, str]]]


def evaluate(
    dataset: Path,
    answer: Answer,
    out: Path,
    *,
    split: str = "test",
    name: str = "",
    config: Mapping[str, Any] | None = None,
    constrained: Constrained | None = None,
    report: bool = True,
    workers: int | None = None,
) -> dict[str, Any]:
    """Ask `answer` all questions of a split and write predictions, metrics and report into `out`.

    `answer` takes a list of requests and gives their answers in that order. `name` says who answers, `config`
    what else decides the answers (the fingerprint of a run, say): the answers of one model are never
    continued with those of another. `constrained` gives further answers to the same requests, by the name of
    the constraint they were given under; they are scored beside. A killed evaluation goes on where it
    stopped. Returns what `metrics.json` holds.
    """
    asked = {"dataset": fingerprint(dataset), "split": split, "name": name, "chunk": CHUNK, **(config or {})}
    with open_step(out, "evaluation", asked) as step:
        if step.summary is None:
            questions = _questions(dataset, split)
            answered = _ask(answer, constrained, questions, dataset, out / PREDICTIONS)
            metrics = {"name": name, "split": split, **_score(answered, dataset, workers).to_json()}
            write_json(out / METRICS, metrics)
            files = [PREDICTIONS, METRICS]
            if report:
                _report(answered, metrics, dataset, out / REPORT)
                files.append(REPORT)
            step.finish(
                {"questions": len(questions), **{f"sha256_{file}": sha256(out / file) for file in files}}
            )
        result: dict[str, Any] = read_json(out / METRICS)
        return result


def score_file(path: Path) -> dict[str, Any]:
    """Score a predictions file by itself, without a model or a data set; what `metrics.json` would hold."""
    return score(read_predictions(path)).to_json()


def _questions(dataset: Path, split: str) -> pd.DataFrame:
    questions = read_questions(dataset, split)
    if questions.empty:
        raise AddressVLMError(
            f"the {split} split of {dataset} has no questions; make the data set with more locations"
        )
    return questions


def _ask(
    answer: Answer, constrained: Constrained | None, questions: pd.DataFrame, dataset: Path, path: Path
) -> pd.DataFrame:
    """The questions with their answers; those that `path` has already are not asked for again."""
    ends = chunk_ends(questions["photo"].tolist(), CHUNK)
    done = resume_predictions(path, ends)
    _require_same_questions(done, questions, path)
    chunks = [questions.iloc[begin:end] for begin, end in pairwise([0, *ends]) if begin >= len(done)]
    new = _answered(answer, constrained, chunks, dataset, path)
    answers = [
        *zip(done["answer"], done[CONSTRAINED], strict=True),
        *track(new, "questions", len(questions) - len(done)),
    ]
    columns = zip(*answers, strict=True)
    return questions.assign(answer=list(next(columns)), **{CONSTRAINED: list(next(columns))})


def chunk_ends(photos: Sequence[str], size: int) -> list[int]:
    """Behind which questions (of these photos) chunks end: of `size` or a few more, never within a photo."""
    ends, begin = [], 0
    for place in range(1, len(photos) + 1):
        if place == len(photos) or (place - begin >= size and photos[place] != photos[place - 1]):
            ends.append(place)
            begin = place
    return ends


def _answered(
    answer: Answer,
    constrained: Constrained | None,
    chunks: Iterable[pd.DataFrame],
    dataset: Path,
    path: Path,
) -> Iterator[tuple[str, Mapping[str, str]]]:
    for chunk in chunks:
        rows = chunk.to_dict("records")
        requests = [
            Request(
                tuple(dataset / image for image in row["images"]),
                row["question"],
                row["kind"],
                row["level"],
                tuple(row["options"]),
            )
            for row in rows
        ]
        further: Iterable[Mapping[str, str]] = (
            constrained(requests) if constrained else repeat({}, len(requests))
        )
        answers = []
        for text, more in zip(answer(requests), further, strict=True):
            answers.append((text, more))
            yield text, more
        texts, others = zip(*answers, strict=True)
        append_predictions(path, rows, texts, others if constrained else None)


def _require_same_questions(done: pd.DataFrame, questions: pd.DataFrame, path: Path) -> None:
    asked = questions.iloc[: len(done)]
    for number, (there, here) in enumerate(zip(_rows(done), _rows(asked), strict=True), start=1):
        if there != here:
            raise AddressVLMError(
                f"{path}, line {number} is not the question of the data set; remove the file"
            )


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table[list(_ASKED)].to_dict("records")


def _score(answered: pd.DataFrame, dataset: Path, workers: int | None) -> Scores:
    train = read_table(dataset, "train", ["photo", "images", "district", "street"]).to_pandas()
    addresses = neighbour_addresses(train, answered, dataset, workers)
    names = {
        level: sorted({*train[level], *answered[level], *_options(answered, level)})
        for level in ("district", "street")
    }
    return score(
        answered,
        known=known_from_training(train),
        neighbour_answers=answer_by_address(answered, addresses, names),
    )


def _options(answered: pd.DataFrame, level: str) -> Iterator[str]:
    for options in answered.loc[answered["level"] == level, "options"]:
        yield from options


def _report(answered: pd.DataFrame, metrics: Mapping[str, Any], dataset: Path, path: Path) -> None:
    about = require_complete(dataset)
    write_report(
        path,
        answered,
        metrics,
        gpd.read_parquet(dataset / "gazetteer.parquet"),
        dataset,
        title=f"{metrics['name'] or 'Evaluation'} on {about['city']}",
        levels=tuple(about["levels"]),
        attribution=about["attribution"],
    )

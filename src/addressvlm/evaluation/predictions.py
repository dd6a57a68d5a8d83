"""predictions.jsonl: one answered question a line, read with care, written so that a kill loses nothing."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from addressvlm.dataset.answers import LETTERS
from addressvlm.errors import AddressVLMError

FIELDS = ("photo", "location", "kind", "level", "question", "options", "truth", "answer")
CONSTRAINED = "constrained"
KINDS = ("generation", "judgment", "multiple_choice", "joint")
LEVELS = ("district", "street", "both")

Row = dict[str, Any]


def read_predictions(path: Path) -> pd.DataFrame:
    """A predictions file as a table with the columns of `FIELDS` and `constrained`, in the order of the file.

    Every line is checked; the error names the first bad one by its number. `constrained` are answers under
    constraints, by their names; it may be missing. Further fields are ignored.
    """
    rows: list[Row] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        row = _checked(path, number, line)
        key = (row["photo"], row["kind"], row["level"], row["question"])
        if key in seen:
            raise _error(
                path, number, f"asks the same question of photo {row['photo']!r} as line {seen[key]}"
            )
        seen[key] = number
        rows.append(row)
    if not rows:
        raise AddressVLMError(
            f"{path} holds no predictions; it needs one JSON object a line ({', '.join(FIELDS)})"
        )
    return _table(rows)


def append_predictions(
    path: Path,
    questions: Sequence[Mapping[Any, Any]],
    answers: Sequence[str],
    constrained: Sequence[Mapping[str, str]] | None = None,
) -> None:
    """Add questions (the fields of `FIELDS` but the last) with their answers, and flush them to disk."""
    rows: list[Row] = [
        {**{field: question[field] for field in FIELDS[:-1]}, "answer": answer}
        for question, answer in zip(questions, answers, strict=True)
    ]
    if constrained is not None:
        rows = [{**row, CONSTRAINED: dict(more)} for row, more in zip(rows, constrained, strict=True)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    try:
        with path.open("ab") as file:
            file.write(text.encode("utf-8", "replace"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise AddressVLMError(f"cannot write {path}: {error.strerror or error}") from error


def resume_predictions(path: Path, ends: Sequence[int]) -> pd.DataFrame:
    """What a killed run left in `path`, cut back to whole chunks; an absent file is an empty table.

    `ends` are the numbers of questions behind which chunks end, that are answered together. A chunk that was
    written in part is answered again as a whole, so that batches, and with them the bits of low-precision
    answers, are always the same.
    """
    if not path.exists():
        return _table([])
    complete = path.read_bytes().split(b"\n")[:-1]
    keep = max((end for end in ends if end <= len(complete)), default=0)
    os.truncate(path, sum(len(line) + 1 for line in complete[:keep]))
    return read_predictions(path) if keep else _table([])


def _table(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*FIELDS, CONSTRAINED])


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise AddressVLMError(f"{path} does not exist") from None
    except OSError as error:
        raise AddressVLMError(f"{path} cannot be read: {error.strerror or error}") from error


def _checked(path: Path, number: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise _error(path, number, "is not JSON") from None
    if not isinstance(row, dict):
        raise _error(path, number, "is not a JSON object")
    missing = [field for field in FIELDS if field not in row]
    if missing:
        raise _error(path, number, f"has no field {missing[0]!r}")
    if problem := _problem(row):
        raise _error(path, number, problem)
    return {**{field: row[field] for field in FIELDS}, CONSTRAINED: row.get(CONSTRAINED) or {}}


def _problem(row: Row) -> str:
    """What is wrong with the values of a row that has all fields, or nothing."""
    for field in FIELDS:
        if field != "options" and not isinstance(row[field], str):
            return f"has {field} = {row[field]!r}, which is not a text"
    options = row["options"]
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        return f"has options = {options!r}, which is not a list of texts"
    for field, known in (("kind", KINDS), ("level", LEVELS)):
        if row[field] not in known:
            return f"has {field} = {row[field]!r}; known are {', '.join(known)}"
    if (row["kind"] == "joint") != (row["level"] == "both"):
        return (
            f"has kind {row['kind']!r} with level {row['level']!r}; level 'both' is that of joint questions"
        )
    constrained = row.get(CONSTRAINED) or {}
    if not isinstance(constrained, dict) or not all(isinstance(text, str) for text in constrained.values()):
        return f"has {CONSTRAINED} = {constrained!r}, which is not texts by names"
    return _wrong_truth(row)


def _wrong_truth(row: Row) -> str:
    letters = LETTERS[: len(row["options"])]
    if row["kind"] == "multiple_choice" and row["truth"] not in tuple(letters):
        return f"has truth {row['truth']!r}, which is not the letter of one of its {len(letters)} options"
    if row["kind"] == "judgment" and row["truth"] not in ("Yes", "No"):
        return f"has truth {row['truth']!r}; that of a judgment is Yes or No"
    if not row["truth"].strip():
        return "has an empty truth"
    return ""


def _error(path: Path, number: int, problem: str) -> AddressVLMError:
    return AddressVLMError(f"{path}, line {number}: the line {problem}")

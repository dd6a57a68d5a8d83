"""What lmms-eval calls for a task: pictures, and what an answer adds to which of the ten figures.

This source is copied into the `utils.py` of an exported task, behind that of `answers.py`; it must not need
this package there. `d_mean`, `s_mean` and `mean` are averages over questions, the joint question apart.
"""

from pathlib import Path
from typing import Any

from addressvlm.dataset.answers import is_correct

METRICS = ("d_G", "d_J", "d_M", "d_mean", "s_G", "s_J", "s_M", "s_mean", "mean", "sd")
HERE = Path(__file__).resolve().parent
TEST, VAL = str(HERE / "test.jsonl"), str(HERE / "val.jsonl")

_KIND_LETTERS = {"generation": "G", "judgment": "J", "multiple_choice": "M"}


def doc_to_visual(doc: dict[str, Any]) -> list[Any]:
    """The pictures of a question."""
    from PIL import Image

    return [Image.open(HERE / image).convert("RGB") for image in doc["images"]]


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """1 or 0 under the names of all figures that a question counts for."""
    right = is_correct(doc["kind"], doc["level"], results[0], doc["truth"], options=doc["options"])
    if doc["kind"] == "joint":
        return {"sd": float(right)}
    level = doc["level"][0]
    figures = (f"{level}_{_KIND_LETTERS[doc['kind']]}", f"{level}_mean", "mean")
    return dict.fromkeys(figures, float(right))


def percent(values: list[float]) -> float:
    """The mean in percent."""
    return 100 * sum(values) / len(values)

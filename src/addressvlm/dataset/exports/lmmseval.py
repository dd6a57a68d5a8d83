"""A task folder for lmms-eval that scores the ten figures of the paper just as `addressvlm evaluate` does."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

from addressvlm.dataset import answers
from addressvlm.dataset.exports import lmmsevaltask
from addressvlm.dataset.exports.folderfiles import save_pictures, write_lines
from addressvlm.dataset.exports.items import Export
from addressvlm.dataset.exports.lmmsevaltask import METRICS
from addressvlm.dataset.exports.naming import slug
from addressvlm.folders import write_atomically

_OURS = "from addressvlm.dataset.answers import is_correct\n"
_LONGEST_ANSWER = 64  # tokens; the longest joint answers of real cities have about 30


def write_lmms_eval(export: Export) -> None:
    """One YAML a split, `utils.py`, the questions as JSON lines and the pictures as files."""
    name = f"addressvlm_{slug(export.about['city'])}"
    for split in ("test", "val"):
        write_lines(export.out / f"{split}.jsonl", _questions(export, split))
        task = name if split == "test" else f"{name}_{split}"
        _write_text(export, f"{task}.yaml", task_yaml(task, split))
    _write_text(export, "utils.py", standalone_utils())


def task_yaml(task: str, split: str) -> str:
    """The configuration of a task."""
    metrics = "".join(
        f"  - metric: {name}\n    aggregation: !function utils.percent\n    higher_is_better: true\n"
        for name in METRICS
    )
    return (
        f"task: {json.dumps(task)}\n"
        "dataset_path: json\n"
        "dataset_kwargs:\n"
        "  data_files:\n"
        f"    test: !function utils.{split.upper()}\n"  # found from wherever lmms-eval is started
        "test_split: test\n"
        "output_type: generate_until\n"
        "doc_to_visual: !function utils.doc_to_visual\n"
        "doc_to_text: question\n"
        "doc_to_target: truth\n"
        "generation_kwargs:\n"
        f"  max_new_tokens: {_LONGEST_ANSWER}\n"
        "  temperature: 0\n"
        "  do_sample: false\n"
        "process_results: !function utils.process_results\n"
        f"metric_list:\n{metrics}"
        "metadata:\n  - version: 1.0\n"
    )


def standalone_utils() -> str:
    """The source of `utils.py`: how answers are read, and the task's functions, without this package."""
    task = inspect.getsource(lmmsevaltask)
    assert _OURS in task, "the task's functions read answers as the rest of the package does"
    return f"{inspect.getsource(answers)}\n\n{task.replace(_OURS, '')}"


def _questions(export: Export, split: str) -> Iterator[dict[str, Any]]:
    for item, pictures in export.items(split):
        save_pictures(export.out, item.images, pictures)
        for turn in item.turns:
            yield {
                "photo": item.photo,
                "location": item.location,
                "images": list(item.images),
                "kind": turn.kind,
                "level": turn.level,
                "question": turn.question,
                "options": list(turn.options),
                "truth": turn.answer,
            }


def _write_text(export: Export, name: str, text: str) -> None:
    with write_atomically(export.out / name) as temporary:
        temporary.write_text(text, "utf-8")

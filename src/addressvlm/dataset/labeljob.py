"""`addressvlm label`: a data set with labels by a vision-language model, from one without.

Reads a data set folder and writes another, with the same pictures (hard links where the disk allows) and
tables and a new `alignment.parquet`. The ledger in it knows every call; a killed job is continued by the same
command.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from addressvlm.dataset.labelcalls import OpenDescriber
from addressvlm.dataset.labeloptions import LabelOptions, Limits
from addressvlm.dataset.labelprompts import Prompts, prompts_of
from addressvlm.dataset.labelreview import write_review
from addressvlm.dataset.labelworkers import GAZETTEER, Task, work_off
from addressvlm.dataset.ledger import Ledger
from addressvlm.dataset.tables import SCHEMAS, SOURCE, read_table, table_path, write_table
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import (
    CONFIG,
    SUMMARY,
    Step,
    fingerprint,
    open_step,
    read_json,
    require_complete,
    sha256,
    write_atomically,
    write_json,
)

LEDGER = "ledger.sqlite"
REJECTED = "rejected.jsonl"
_ALIGNMENT = "alignment"


def label_dataset(
    dataset: Path,
    out: Path,
    describer: OpenDescriber,
    model: str,
    *,
    options: LabelOptions | None = None,
    limits: Limits | None = None,
    workers: int = 1,
    at_once: int = 1,
    settings: Mapping[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Label the alignment samples of a data set by a describer; returns the summary and an account of the
    calls.

    `model` says in a word who describes, `settings` what else decides its texts; both are kept in the config.
    `workers` processes share `limits.concurrency` calls in flight, each asking about `at_once` samples.
    `fields` are single fields of `LabelOptions`. Samples whose answers were all rejected are left out of the
    new table and kept, with the reasons, in `rejected.jsonl`. The rows are in the order of the data set,
    whatever came first.

    Raises `InterruptedJob` when the budget is spent or nobody answers, to be continued by the same call, and
    `AddressVLMError` where no sample got a label.
    """
    if workers < 1:
        raise UsageError(f"workers is {workers}, but it must be at least 1")
    if out.resolve() == dataset.resolve():
        raise UsageError(f"{out} is the data set itself; choose another folder for the labelled one")
    options = replace(options or LabelOptions(), **fields)
    limits = limits or Limits()
    source, config = _source(dataset)
    prompts = prompts_of(source, config, options)
    decisive = {name: value for name, value in asdict(options).items() if name != "tries"}
    job = {"dataset": fingerprint(dataset), "model": model, **decisive, **(settings or {})}
    with open_step(out, "labels", job) as step:
        if not (out / SOURCE).exists():
            write_json(out / SOURCE, config)
        done = step.summary
        if done is not None and options.tries <= done["labels"]["tries"]:
            return {**done, "account": _account(out, limits)}
        (out / SUMMARY).unlink(missing_ok=True)
        rows = read_table(dataset, _ALIGNMENT).to_pylist()
        _link_all(dataset, out, source)
        ledger = Ledger(out / LEDGER)
        try:
            mark = hashlib.sha256(json.dumps(step.config, sort_keys=True).encode()).hexdigest()
            ledger.begin(mark, [row["photo"] for row in rows], options.tries)
            task = Task(out / LEDGER, dataset, prompts, limits, describer, at_once)
            work_off(task, workers)
            summary = _publish(step, ledger, rows, prompts, source, model)
        finally:
            ledger.close()
        return {**summary, "account": _account(out, limits)}


def _source(dataset: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Summary and config of the data set to be labelled."""
    summary, config = require_complete(dataset), read_json(dataset / CONFIG)
    if config.get("step") != "dataset":
        raise UsageError(
            f"{dataset} is no data set made by `dataset build` (its step is {config.get('step')!r})"
        )
    if config["control"] not in ("none", "aside"):  # aside is another lesson, not a spoilt one
        raise UsageError(
            f"the pictures or texts of {dataset} are spoilt on purpose (control = {config['control']}); "
            "label a data set made without"
        )
    return summary, config


def _link_all(dataset: Path, out: Path, source: Mapping[str, Any]) -> None:
    """Give the new data set the pictures and tables of the old one that stay as they are."""
    files = [table_path(dataset, name) for name in SCHEMAS if name != _ALIGNMENT]
    files = [file for file in files if file.exists()]  # a data set made earlier lacks some
    files += [dataset / GAZETTEER, *sorted((dataset / "images").rglob("*.jpg"))]
    made: set[Path] = set()
    for file in files:
        target = out / file.relative_to(dataset)
        if target.exists():
            continue
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        try:
            os.link(file, target)
        except OSError:  # another disk, or one without links
            with write_atomically(target, durable=False) as temporary:
                shutil.copyfile(file, temporary)


def _publish(
    step: Step,
    ledger: Ledger,
    rows: list[dict[str, Any]],
    prompts: Prompts,
    source: Mapping[str, Any],
    model: str,
) -> dict[str, Any]:
    """Write the table, what was set aside, and the page to look at; returns the summary."""
    out, labels, rejected = step.folder, ledger.labels(), ledger.rejected()
    reasons = Counter(sample["reason"] for sample in rejected)
    if not labels:
        told = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
        example = next((answer for sample in rejected for answer in sample["answers"]), None)
        shown = f"; the first answer was {example['text'][:80]!r} ({example['fault']})" if example else ""
        raise AddressVLMError(f"no sample got a label: {told}{shown}; choose a stronger model, or more tries")
    labelled = [
        {**prompts.row(row), "answer": labels[row["photo"]]} for row in rows if row["photo"] in labels
    ]
    write_table(out, _ALIGNMENT, labelled)
    with write_atomically(out / REJECTED) as temporary:
        lines = (json.dumps(sample, ensure_ascii=False) for sample in rejected)
        temporary.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    facts = {
        "prompt": prompts.options.prompt,
        "model": model,
        "tries": prompts.options.tries,
        "labelled": len(labelled),
        "set_aside": {"samples": len(rejected), "reasons": dict(sorted(reasons.items()))},
        "rejected_answers": ledger.faults(),
    }
    by_photo = {row["photo"]: row for row in rows}
    write_review(out, labelled, rejected, facts, source, prompts, by_photo)
    digests = dict(
        source["sha256"], **{table_path(out, _ALIGNMENT).name: sha256(table_path(out, _ALIGNMENT))}
    )
    return step.finish(
        {
            **source,
            "alignment": {"samples": len(labelled), "maps": len({row["location"] for row in labelled})},
            "labels": facts,
            "sha256": digests,
        },
        flush=True,
    )


def _account(out: Path, limits: Limits) -> dict[str, Any]:
    """What the job has cost, over all its runs."""
    ledger = Ledger(out / LEDGER)
    try:
        account = ledger.account()
    finally:
        ledger.close()
    cost = limits.cost(account["prompt_tokens"], account["completion_tokens"])
    return {**account, "cost": round(cost, 4)} if limits.price_in is not None else account

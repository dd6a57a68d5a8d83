"""One stage of training, from a data set and a base to a run folder."""

from collections.abc import Sized
from dataclasses import asdict
from functools import partial
from pathlib import Path
from shutil import copyfile, rmtree
from typing import Any, cast

import torch
from peft import PeftModel
from torch import nn
from torch.utils.data import Dataset

from addressvlm.dataset.options import DatasetOptions
from addressvlm.dataset.tables import read_config, read_conversations
from addressvlm.environment import versions
from addressvlm.errors import UsageError
from addressvlm.folders import (
    CONFIG,
    SUMMARY,
    Step,
    fingerprint,
    read_json,
    require_complete,
    write_atomically,
)
from addressvlm.model.backbone import ADAPTER, MODEL, RUN_FORMAT, Backbone, save_backbone
from addressvlm.model.checkpoints import digests, publish
from addressvlm.model.lora import save_adapter
from addressvlm.model.pictures import reads_trees
from addressvlm.training import processes
from addressvlm.training.bases import identify, start
from addressvlm.training.batches import Conversations, collate
from addressvlm.training.features import keep_features
from addressvlm.training.log import plot_loss, read_log
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.memory import require_memory
from addressvlm.training.precision import computes_in_bf16, device
from addressvlm.training.recompute import fit_into_memory
from addressvlm.training.sharding import put_together, shard
from addressvlm.training.shards import open_shards
from addressvlm.training.stages import Stage
from addressvlm.training.trainer import CHECKPOINTS, Collate, fit
from addressvlm.work import keep_freed_memory, say

GAZETTEER, FEATURES = "gazetteer.parquet", "features"
_LEGIBLE_PX = 8.0


def train(stage: Stage, dataset: Path, base: str | Path, out: Path) -> dict[str, Any]:
    """Train a stage on a data set, from a preset, a model folder or an earlier run on; returns the summary.

    A killed run is continued by the same call and ends with the same bytes; a complete one is left as it is.
    Raises InterruptedJob after SIGTERM or Ctrl-C.
    """
    config = {**asdict(stage), "base": identify(str(base), stage.seed), "dataset": fingerprint(dataset)}
    with processes.open_together(out, "run", config) as step:
        if step.summary is not None:
            for leftover in (CHECKPOINTS, FEATURES):
                rmtree(out / leftover, ignore_errors=True)
            return step.summary
        keep_freed_memory()
        with processes.first_before_others():
            backbone, model = start(str(base), stage, out)
        _require_rounds(stage, backbone)
        _warn_of_small_names(stage, dataset, backbone)
        conversations = Conversations(
            read_conversations(dataset, stage.name),
            backbone,
            seed=stage.seed,
            max_length=stage.max_length,
            rounds=stage.rounds,
            rounds_drawn=stage.rounds_drawn,
            shards=open_shards(dataset, stage.name, backbone.preprocessing),
        )
        sharded = processes.are_sharding()
        if sharded and stage.quantization != "none":
            raise UsageError(
                f"weights in {stage.quantization} cannot be sharded; start the processes with --multi_gpu"
            )
        loss = AnswerLoss(model, backbone.preprocessing, bf16=computes_in_bf16(stage), sharded=sharded)
        if sharded:
            shard(loss)
        else:
            loss.to(device())
        padded = partial(collate, pad_id=_padding(backbone))
        longest = partial(_longest, conversations, padded)
        if stage.gradient_checkpointing:
            backbone.model.gradient_checkpointing_enable({"use_reentrant": False})
        elif torch.cuda.is_available() and not sharded:
            _recompute_what_must_be(loss, stage, longest(1))
        if not sharded:  # what a layer needs while it is whole cannot be counted so
            require_memory(loss, stage, longest)
            features = keep_features(loss, stage, conversations, out / FEATURES)
            if features is not None:
                conversations.use_features(features.of)
        return carry_out(step, stage, loss, conversations, backbone, model, padded, dataset=dataset)


def _longest(conversations: Conversations, padded: Collate, count: int) -> dict[str, Any]:
    """The longest conversation, so many times, as a batch on the device of this process."""
    batch = padded([conversations[0, conversations.longest]] * count)
    return {name: item.to(device()) for name, item in batch.items() if name != "photos"}


def _padding(backbone: Backbone) -> int:
    """What shorter conversations are filled up with; it is never seen."""
    padding = backbone.tokenizer.pad_token_id
    return backbone.end_id if padding is None else int(padding)


def _require_rounds(stage: Stage, backbone: Backbone) -> None:
    """Rounds that do not see each other need a model that can read them so."""
    if stage.rounds == "star" and not reads_trees(backbone.model.config):
        raise UsageError(
            f"{backbone.name} reads rounds one after the other only; set rounds = chain, not star"
        )


def _warn_of_small_names(stage: Stage, dataset: Path, backbone: Backbone) -> None:
    """Names that are drawn for larger pictures than the model sees may be too small to be read in them."""
    if stage.name != "alignment" or not processes.is_first():
        return
    stored = read_json(dataset / CONFIG)
    if stored.get("step") == "labels":
        stored = read_config(dataset)
    if not {"image_px", "font_px"} <= stored.keys():
        return  # made by other hands
    drawn = DatasetOptions(image_px=stored["image_px"], font_px=stored["font_px"])
    seen_px = backbone.preprocessing.size_px
    name_px = drawn.label_px * seen_px / drawn.image_px
    if name_px < _LEGIBLE_PX:
        say(
            f"warning: street names are {name_px:.1f} px high in what {backbone.name} sees, too small to be "
            f"read; build the data set with --image-px {seen_px}"
        )


def carry_out(
    step: Step,
    stage: Stage,
    loss: nn.Module,
    samples: Dataset[Any],
    backbone: Backbone,
    model: nn.Module,
    collate: Collate,
    *,
    dataset: Path | None = None,
) -> dict[str, Any]:
    """Fit, save the model, sum up, and only then drop the checkpoints; returns the summary.

    What the names of a `dataset` are, and what its city calls its levels, goes with the run.
    """
    out = step.folder
    steps = fit(loss, stage, samples, out, collate=collate)
    if processes.are_sharding():
        put_together(loss)
    if not processes.is_first():
        processes.wait_for_others()
        summed: dict[str, Any] = read_json(out / SUMMARY)
        return summed
    result = _save(backbone, model, out)
    about: dict[str, Any] = {}
    if dataset is not None:
        _copy(dataset / GAZETTEER, out / GAZETTEER)
        summed_up = require_complete(dataset)
        about = {key: summed_up[key] for key in ("city", "levels", "attribution")}
    plot_loss(out)
    summary = step.finish(
        {
            "format": RUN_FORMAT,
            "stage": stage.name,
            **about,
            "base": backbone.name,
            "samples": len(cast(Sized, samples)),
            "steps": steps,
            "loss": read_log(out)[-1]["loss"],
            "parameters": _count(model),
            "trained": _count(model, trained=True),
            "precision": "bf16" if computes_in_bf16(stage) else "fp32",
            "versions": versions(),
            "sha256": {f"{result.name}/{name}": digest for name, digest in digests(result).items()},
        }
    )
    rmtree(out / CHECKPOINTS)
    rmtree(out / FEATURES, ignore_errors=True)
    processes.wait_for_others()
    return summary


def _recompute_what_must_be(loss: nn.Module, stage: Stage, batch: dict[str, Any]) -> None:
    """Have as few layers recomputed as the free memory of the GPU asks for, and say how many."""
    count = fit_into_memory(loss, batch, stage.per_device_train_batch_size)
    if count:
        say(f"memory is short: {count} layers of the language model are computed twice")


def _save(backbone: Backbone, model: nn.Module, out: Path) -> Path:
    if not isinstance(model, PeftModel):
        save_backbone(backbone, out / MODEL)
        return out / MODEL
    with publish(out / ADAPTER) as staging:
        save_adapter(model, staging)
        backbone.preprocessing.save(staging)
    return out / ADAPTER


def _copy(source: Path, target: Path) -> None:
    with write_atomically(target) as temporary:
        copyfile(source, temporary)


def _count(model: nn.Module, *, trained: bool = False) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad or not trained)

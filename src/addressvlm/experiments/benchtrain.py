"""Pictures a second in training, side by side: other libraries as they come, at their best, and this one.

All lanes have the same weights and the same batches and take turns. Pictures and conversations are drawn
at random in exact lengths, so that nothing but PyTorch, transformers, peft and accelerate is needed.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForImageTextToText

from addressvlm.environment import environment, has_bf16
from addressvlm.experiments.benchloader import loader_rates, processes_needed
from addressvlm.experiments.results import publish
from addressvlm.experiments.trainlanes import Clock, Lane, Work, lanes, stock_batch, wait_for_device
from addressvlm.folders import write_atomically
from addressvlm.model.backbone import Backbone, build_backbone
from addressvlm.model.conversation import IGNORED, Encoded
from addressvlm.model.flops import training_flops
from addressvlm.model.pictures import picture_tokens
from addressvlm.model.presets import PRESETS
from addressvlm.model.template import BOS, IMAGE
from addressvlm.model.tokenizer import mini_tokenizer
from addressvlm.training.batches import Sample, collate
from addressvlm.training.loss import AnswerLoss
from addressvlm.work import keep_freed_memory, say

FULL = PRESETS["llava-phi3-mini"]
PITTS_PHOTOS = 177_840  # training photos of Pitts-VQA (Table B2)

# Data sheets, dense bfloat16 with float32 sums; what 40 % of them give is an estimate, not a measurement.
_ELSEWHERE = {"8 x RTX 3090": 8 * 71e12, "8 x RTX 4090": 8 * 165e12}
_H200 = 990e12
_SHARE = 0.4


@dataclass(frozen=True)
class TrainBenchPlan:
    """What is trained, and how often. A turn of a lane is `warmup` steps and `steps` that count."""

    size: str = "mini"  # or full
    batch: int = 16
    rounds: int = 7
    question_tokens: int = 45  # of a round, its template with them
    answer_tokens: int = 4  # likewise; what is learned
    rank: int = 16
    dropout: float = 0.05
    warmup: int = 2
    steps: int = 4
    turns: int = 3
    precisions: tuple[str, ...] = ("fp32", "bf16")  # bf16 where the machine has it
    agreement: int = 2  # conversations of which loss and gradients are compared
    loaded: int = 128  # pictures of which a loader makes batches


QUICK = TrainBenchPlan(batch=2, rounds=1, rank=4, warmup=0, steps=1, turns=1, agreement=1, loaded=4)
FULL_SIZE = TrainBenchPlan(
    size="full", rank=128, warmup=3, steps=6, turns=3, precisions=("bf16",), agreement=1
)


def bench_training(
    plan: TrainBenchPlan | None = None, *, chosen: Sequence[str] | None = None
) -> dict[str, Any]:
    """Measure all lanes, or those whose name begins with one of `chosen`; returns all figures."""
    plan = plan or TrainBenchPlan()
    if not has_bf16():
        plan = replace(plan, precisions=tuple(one for one in plan.precisions if one != "bf16"))
    keep_freed_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    backbone = full_backbone(device) if plan.size == "full" else build_backbone("mini", seed=0)
    backbone.model.to(device)
    samples = _samples(backbone, plan)
    work = Work(
        backbone,
        [samples[i : i + plan.batch] for i in range(0, len(samples), plan.batch)],
        partial(collate, pad_id=backbone.tokenizer.pad_token_id),
        plan.warmup + plan.steps,
        plan.rank,
        plan.dropout,
    )
    tokens = float(np.mean([len(sample.encoded.ids) for sample in samples]))
    labels = plan.rounds * plan.answer_tokens
    flops = training_flops(backbone.model, tokens=tokens, labels=labels, rank=plan.rank)
    ceilings = {precision: matrix_rate(precision, device) for precision in plan.precisions}
    wanted = [
        lane
        for precision in plan.precisions
        for lane in lanes(bf16=precision == "bf16")
        if chosen is None or lane.name.startswith(tuple(chosen))
    ]
    load = os.getloadavg()[0]  # what the machine does beside this, before it begins
    measured = _take_turns(wanted, work, plan)
    return {
        "plan": asdict(plan),
        "tokens": tokens,
        "labels": labels,
        "tflop_a_picture": flops / 1e12,
        "matrix_tflops": {precision: rate / 1e12 for precision, rate in ceilings.items()},
        "lanes": [
            _figures(lane, found, plan, flops / ceilings[lane.precision])
            for lane, found in zip(wanted, measured, strict=True)
        ],
        "loader": loader_rates(pictures=plan.loaded, rounds=plan.turns),
        "agreement": _agreement(work, samples[: plan.agreement]),
        "estimates": predictions(),
        **environment(),
        "threads": torch.get_num_threads(),
        "load": load,
    }


def bench_training_table(result: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    plan = result["plan"]
    rows = [
        f"{plan['size']} model, {plan['rounds']} rounds a picture ({result['tokens']:.0f} tokens), batches "
        f"of {plan['batch']}, adapters of rank {plan['rank']}; {', '.join(result['accelerators'])} "
        f"(accelerator), {result['cores']} cores, {result['threads']} threads. Medians of {plan['turns']} "
        f"turns of {plan['steps']} steps; the lanes take turns. Load of the machine when it began: "
        f"{result['load']:.1f}. Matrix products alone: "
        + ", ".join(f"{rate:.2f} TFLOP/s ({name})" for name, rate in result["matrix_tflops"].items())
        + f". A picture takes {1000 * result['tflop_a_picture']:.1f} GFLOP.",
        "",
        "| lane | precision | pictures a second (quartiles) | CPU s a step | peak GiB "
        "| share of the matrix rate | ours is faster by (in CPU seconds) |",
        "|---|---|---|---|---|---|---|",
        *(_row(lane, result["lanes"]) for lane in result["lanes"]),
        "",
        "Loss and gradients of ours against Hugging Face's model with peft's adapters in float32: relative "
        f"difference {result['agreement']['loss']:.1e} and {result['agreement']['gradients']:.1e}.",
        "",
        *_loader(result),
        "",
        *_hours(result),
    ]
    return "\n".join(rows) + "\n"


def publish_bench_training(result: Mapping[str, Any], folder: Path, command: str) -> None:
    """Write bench-train.json and bench-train.md (full size: bench-train-full) into a folder."""
    name = "bench-train-full" if result["plan"]["size"] == "full" else "bench-train"
    publish(dict(result), folder / f"{name}.json", command)
    with write_atomically(folder / f"{name}.md") as temporary:
        temporary.write_text(bench_training_table(result), "utf-8")


def epoch_hours(flops_a_picture: float, *, flops_a_second: float, pictures: int = PITTS_PHOTOS) -> float:
    """Hours for every picture once."""
    return pictures * flops_a_picture / flops_a_second / 3600


def predictions(plan: TrainBenchPlan = FULL_SIZE) -> dict[str, Any]:
    """Estimates of one epoch of Pitts-VQA at full size, by arithmetic alone: hours at 40 % of data sheets."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(full_config())
    tokens = picture_tokens(model.config) + plan.rounds * (plan.question_tokens + plan.answer_tokens)
    labels = plan.rounds * plan.answer_tokens
    flops = training_flops(model, tokens=tokens, labels=labels, rank=plan.rank)
    machines = {"1 x H200": _H200, **_ELSEWHERE}
    return {
        "tokens": tokens,
        "tflop_a_picture": flops / 1e12,
        "share_of_data_sheet": _SHARE,
        "hours": {name: epoch_hours(flops, flops_a_second=_SHARE * rate) for name, rate in machines.items()},
    }


def matrix_rate(precision: str, device: str) -> float:
    """Floating-point operations a second of plain matrix products of this size of machine, best of a few."""
    side = 8192 if device == "cuda" else 1024
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    one, other = torch.randn(2, side, side, device=device, dtype=dtype)
    seconds = []
    for _ in range(8):
        wait_for_device()
        begun = time.perf_counter()
        one @ other
        wait_for_device()
        seconds.append(time.perf_counter() - begun)
    return 2 * side**3 / min(seconds)


def _take_turns(
    wanted: Sequence[Lane], work: Work, plan: TrainBenchPlan
) -> list[tuple[list[float], list[float], float | None, str]]:
    """Seconds and CPU seconds of all counted steps, peak bytes, and what went wrong, for every lane."""
    found: list[tuple[list[float], list[float], float | None, str]] = []
    found += [([], [], None, f"{lane.missing} is not installed" if lane.missing else "") for lane in wanted]
    for turn in range(plan.turns):
        for number, lane in enumerate(wanted):
            seconds, cpu_seconds, peak, wrong = found[number]
            if wrong:
                continue
            say(f"bench: turn {turn + 1} of {plan.turns}, {lane.name}, {lane.precision}")
            clock = Clock()
            try:
                memory = _with_peak(partial(lane.run, work, clock))
            except Exception as error:  # of other libraries, all sorts; the lane's row says it
                found[number] = (seconds, cpu_seconds, peak, f"{type(error).__name__}: {error}"[:200])
                continue
            seconds += clock.seconds[plan.warmup :]
            cpu_seconds += clock.cpu_seconds[plan.warmup :]
            found[number] = (seconds, cpu_seconds, memory, "")
    return found


def _with_peak(run: Callable[[], None]) -> float | None:
    """Run, and return the most bytes that were taken on the GPU, if there is one."""
    if not torch.cuda.is_available():
        run()
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        run()
        return float(torch.cuda.max_memory_allocated())
    finally:
        torch.cuda.empty_cache()


def _figures(
    lane: Lane,
    found: tuple[list[float], list[float], float | None, str],
    plan: TrainBenchPlan,
    floor_s: float,
) -> dict[str, Any]:
    seconds, cpu_seconds, peak, wrong = found
    figures: dict[str, Any] = {"lane": lane.name, "precision": lane.precision}
    if wrong:
        return {**figures, "wrong": wrong}
    rates = sorted(plan.batch / taken for taken in seconds)
    median = statistics.median(rates)
    return {
        **figures,
        "pictures_a_second": median,
        "quartiles": [float(q) for q in np.quantile(rates, [0.25, 0.75])],
        "cpu_seconds_a_step": statistics.median(cpu_seconds),
        "peak_gib": None if peak is None else peak / 2**30,
        "share_of_matrix_rate": floor_s * median,
        "steps": len(rates),
    }


def _row(lane: Mapping[str, Any], all_lanes: Sequence[Mapping[str, Any]]) -> str:
    if "wrong" in lane:
        return f"| {lane['lane']} | {lane['precision']} | {lane['wrong']} | | | | |"
    ours = next((one for one in all_lanes if _is_ours(one) and one["precision"] == lane["precision"]), None)
    faster = ""
    if ours:
        by_wall = ours["pictures_a_second"] / lane["pictures_a_second"]
        by_cpu = lane["cpu_seconds_a_step"] / max(1e-9, ours["cpu_seconds_a_step"])
        faster = f"{by_wall:.2f} ({by_cpu:.2f})"
    low, high = lane["quartiles"]
    peak = "" if lane["peak_gib"] is None else f"{lane['peak_gib']:.1f}"
    return (
        f"| {lane['lane']} | {lane['precision']} | {lane['pictures_a_second']:.1f} "
        f"({low:.1f} to {high:.1f}) | {lane['cpu_seconds_a_step']:.2f} | {peak} "
        f"| {100 * lane['share_of_matrix_rate']:.0f} % | {faster} |"
    )


def _hours(result: Mapping[str, Any]) -> list[str]:
    """An epoch of Pitts-VQA at full size: measured lanes where this was one, and arithmetic."""
    rows = [f"Hours for the {PITTS_PHOTOS:,} training photos of Pitts-VQA once, at full size:", ""]
    if result["plan"]["size"] == "full":
        rows += [
            f"- {lane['lane']}: {PITTS_PHOTOS / lane['pictures_a_second'] / 3600:.2f} (measured rate)"
            for lane in result["lanes"]
            if "wrong" not in lane
        ]
    estimates = result["estimates"]
    return rows + [
        f"- {machine}: {hours:.1f} (estimate: {estimates['tflop_a_picture']:.2f} TFLOP a photo at "
        f"{100 * estimates['share_of_data_sheet']:.0f} % of the data sheet)"
        for machine, hours in estimates["hours"].items()
    ]


def _loader(result: Mapping[str, Any]) -> list[str]:
    """What one loader process makes, and how many of them the fastest of our lanes keeps busy."""
    trained = "llava-phi3-mini" if result["plan"]["size"] == "full" else "mini"
    ours = [lane for lane in result["lanes"] if lane["lane"].startswith("ours") and "wrong" not in lane]
    taken = max((lane["pictures_a_second"] for lane in ours), default=None)
    rows = [
        "Batches of one loader process, tokens and all; the fastest of our lanes keeps so many of them busy:",
        "",
        "| pictures | from JPEG, a second | from shards, a second | processes busy (JPEG; shards) |",
        "|---|---|---|---|",
    ]
    for name, found in result["loader"].items():
        rates = found["pictures_a_second"]
        busy = processes_needed(taken, rates) if taken and name == trained else None
        shown = f"{busy['decoded']:.2f}; {busy['shards']:.2f}" if busy else ""
        rows.append(
            f"| {found['size_px']} px, {found['jpeg_bytes'] / 1e3:.0f} kB | {rates['decoded']:.0f} "
            f"| {rates['shards']:.0f} | {shown} |"
        )
    return rows


def _is_ours(lane: Mapping[str, Any]) -> bool:
    return lane["lane"] == "ours" and "wrong" not in lane


def _agreement(work: Work, samples: Sequence[Sample]) -> dict[str, float]:
    """Relative differences of loss and of all gradients together, float32, adapters that do something."""
    plain = replace(work, backbone=_in_float32(work.backbone))
    batch = {key: value for key, value in work.collate(samples).items() if key != "photos"}
    device = plain.backbone.model.device
    batch = {key: value.to(device) for key, value in batch.items()}
    models = [_moved(plain.adapted(dropout=0.0, casts=False)) for _ in range(2)]
    theirs = models[0](**stock_batch(plain.backbone, batch, masked=True)).loss
    theirs.backward()
    expected = _gradients(models[0])
    models[0].zero_grad()
    ours = AnswerLoss(models[1], plain.backbone.preprocessing, bf16=False)(**batch)["loss"]
    ours.backward()
    found = _gradients(models[1])
    apart = sum((found[name] - gradient).square().sum() for name, gradient in expected.items())
    size = sum(gradient.square().sum() for gradient in expected.values())
    return {
        "loss": float(((ours - theirs).abs() / theirs.abs()).detach()),
        "gradients": float(torch.as_tensor(apart / size).sqrt()),
    }


def _in_float32(backbone: Backbone) -> Backbone:
    if backbone.model.dtype == torch.float32:
        return backbone
    return replace(backbone, model=deepcopy(backbone.model).float())


def _moved(model: nn.Module) -> nn.Module:
    """With adapters that change what the model says; the same ones at every call."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in sorted(model.named_parameters()):
        if "lora_B" in name:
            weight.data.copy_(torch.randn(weight.shape, generator=generator) * 0.02)
    return model


def _gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: w.grad.detach().clone() for n, w in model.named_parameters() if w.grad is not None}


def _samples(backbone: Backbone, plan: TrainBenchPlan) -> list[Sample]:
    """Enough for all batches of a turn: noise and random tokens, answers where a round has its end.

    Lengths differ by a few tokens, as those of a data set do.
    """
    dice = np.random.default_rng(0)
    bos, image = backbone.tokenizer.convert_tokens_to_ids([BOS, IMAGE])
    words = np.setdiff1d(np.arange(len(backbone.tokenizer)), backbone.tokenizer.all_special_ids)
    words = np.setdiff1d(words, list(backbone.tokenizer.get_added_vocab().values()))
    size = backbone.preprocessing.size_px
    samples = []
    for number in range(plan.batch * (plan.warmup + plan.steps)):
        ids, labels = [bos, *[image] * backbone.image_tokens], [IGNORED] * (backbone.image_tokens + 1)
        for _ in range(plan.rounds):
            question = dice.choice(words, plan.question_tokens + int(dice.integers(-2, 3))).tolist()
            answer = dice.choice(words, plan.answer_tokens).tolist()
            ids += question + answer
            labels += [IGNORED] * len(question) + answer
        pixels = dice.integers(0, 256, (1, 3, size, size), dtype=np.uint8)
        samples.append(Sample(f"p{number}", Encoded(ids, labels, list(range(-1, len(ids) - 1))), pixels))
    return samples


def full_config() -> Any:
    """The paper's model as a Hugging Face configuration."""
    return FULL.config(mini_tokenizer())


def full_backbone(device: str) -> Backbone:
    """The paper's sizes with random weights in bfloat16, made on the device."""
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(full_config(), dtype=torch.bfloat16)
    return Backbone(model.eval(), mini_tokenizer(), FULL.preprocessing, "random:full")

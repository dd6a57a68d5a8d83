"""Answers a second, side by side: plain `generate`, one by one and in its best batch, and the one pass.

All lanes have the same weights and the same questions about the same photos, take turns, and must give the
same answers. The second part sets the exact distribution over streets beside a hundred sampled answers.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from addressvlm.cities.build import build_city
from addressvlm.dataset.build import build_dataset
from addressvlm.dataset.options import DatasetOptions
from addressvlm.dataset.questions import plain_questions
from addressvlm.dataset.tables import read_questions
from addressvlm.environment import environment
from addressvlm.errors import UsageError
from addressvlm.experiments.results import publish
from addressvlm.folders import write_atomically
from addressvlm.inference.localizer import GAZETTEER, Localizer
from addressvlm.inference.onepass import read_questions as read_together
from addressvlm.inference.onepass import tokens_at_once
from addressvlm.inference.prompts import Request, normalised, sights
from addressvlm.model.backbone import Backbone
from addressvlm.model.presets import PRESETS
from addressvlm.training.bases import load_base
from addressvlm.work import batched_by, say


@dataclass(frozen=True)
class BenchPlan:
    """What is asked, and how often. `photos` of the test split are asked all their questions."""

    city: str = "mini-pitts"
    locations: int = 60
    views: int = 8
    photos: int = 96
    alone: int = 8  # photos for the lanes that take a question (or a hundred samples) at a time
    batches: tuple[int, ...] = (16, 32, 64, 128)
    repeats: int = 5
    max_new_tokens: int = 24
    samples: int = 100
    temperature: float = 0.8


def bench_inference(
    out: Path, base: str | Path = "mini", *, workers: int | None = None, plan: BenchPlan | None = None
) -> dict[str, Any]:
    """Measure a run (or a preset) on photos of a mini city that is built under `out`; returns all figures."""
    plan = plan or BenchPlan()
    build_city(plan.city, out / "city", locations=plan.locations, views=plan.views, workers=workers)
    data = out / "dataset"
    build_dataset(
        out / "city",
        data,
        DatasetOptions(image_px=PRESETS["mini"].image_px, split=(0.7, 0.1, 0.2)),
        workers=workers,
    )
    localizer = _localizer(base, data)
    requests = _requests(data, plan.photos)
    return {
        "plan": asdict(plan),
        "model": localizer.backbone.name,
        "precision": str(localizer.backbone.model.dtype).removeprefix("torch."),
        "photos": len({request.images for request in requests}),
        "questions": len(requests),
        "answers": _bench_answers(localizer, requests, plan),
        "logits": _logit_difference(localizer, requests),
        "bf16": _flips_in_bf16(localizer, requests),
        "streets": _bench_streets(localizer, requests, plan),
        **environment(),
    }


def bench_table(result: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    answers, streets, logits, bf16 = (result[part] for part in ("answers", "streets", "logits", "bf16"))
    rates = answers["questions_a_second"]
    rows = [
        f"{result['questions']} questions about {result['photos']} photos; {result['model']}, "
        f"{result['precision']}, {', '.join(result['accelerators'])} (accelerator), {result['cores']} cores; "
        f"median of "
        f"{result['plan']['repeats']} interleaved repeats.",
        "",
        "| answers | questions a second | one pass is faster by |",
        "|---|---|---|",
        *(f"| {lane} | {rate:.0f} | {rates['one pass'] / rate:.1f} |" for lane, rate in rates.items()),
        "",
        f"Same answers: {100 * answers['same']:.2f} %. Largest difference between logits of one pass and of "
        f"separate ones: {logits['largest']:.1e} (logits from {logits['low']:.1f} to {logits['high']:.1f}).",
        "",
        f"In bfloat16 {100 * bf16['flipped']:.2f} % of the answers begin differently; where they do, the two "
        f"best logits are at most {100 * bf16['largest_gap']:.2f} % of the range of logits apart.",
        "",
        "| streets of a photo | milliseconds |",
        "|---|---|",
        f"| {result['plan']['samples']} samples (`num_return_sequences`) | {streets['samples_ms']:.0f} |",
        f"| exact distribution over {streets['names']} streets | {streets['exact_ms']:.1f} |",
        "",
        f"The exact distribution is faster by {streets['samples_ms'] / streets['exact_ms']:.1f}.",
    ]
    return "\n".join(rows) + "\n"


def publish_bench(result: Mapping[str, Any], folder: Path, command: str) -> None:
    """Write bench-infer.json and bench-infer.md into a folder."""
    publish(dict(result), folder / "bench-infer.json", command)
    with write_atomically(folder / "bench-infer.md") as temporary:
        temporary.write_text(bench_table(result), "utf-8")


def _localizer(base: str | Path, dataset: Path) -> Localizer:
    import geopandas as gpd

    if isinstance(base, Path) or Path(base).is_dir():
        return Localizer.load(Path(base))
    localizer = Localizer(load_base(str(base), seed=0))
    localizer.gazetteer = gpd.read_parquet(dataset / GAZETTEER)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    localizer.backbone.model.to(device, torch.bfloat16 if device == "cuda" else torch.float32)
    return localizer


def _requests(dataset: Path, photos: int) -> list[Request]:
    questions = read_questions(dataset, "test")
    chosen = questions["photo"].unique()[:photos]
    questions = questions[questions["photo"].isin(chosen)]
    if questions.empty:
        raise UsageError("the test split is empty; give the bench more locations")
    return [
        Request(tuple(dataset / image for image in images), question)
        for images, question in zip(questions["images"], questions["question"], strict=True)
    ]


def _bench_answers(localizer: Localizer, requests: list[Request], plan: BenchPlan) -> dict[str, Any]:
    """Questions a second by lane, and the share of answers that are those of plain `generate`."""
    few = [request for request in requests if request.images in _first_photos(requests, plan.alone)]
    most = plan.max_new_tokens

    def generated(batch_size: int, asked: list[Request]) -> Callable[[], list[str]]:
        return lambda: list(
            localizer.answer(asked, engine="generate", batch_size=batch_size, max_new_tokens=most)
        )

    rates = {size: len(requests) / _seconds(generated(size, requests)) for size in plan.batches}
    best = max(rates, key=lambda size: rates[size])
    say(f"bench: the best batch of generate is {best}")
    lanes = {
        "generate, one by one": (generated(1, few), len(few)),
        f"generate, batches of {best}": (generated(best, requests), len(requests)),
        "one pass": (lambda: list(localizer.answer(requests, max_new_tokens=most)), len(requests)),
    }
    answers = {name: lane() for name, (lane, _) in lanes.items()}
    reference = answers[f"generate, batches of {best}"]
    same = np.mean([a == b for a, b in zip(answers["one pass"], reference, strict=True)])
    seconds = _interleaved({name: lane for name, (lane, _) in lanes.items()}, plan.repeats)
    return {
        "questions_a_second": {name: asked / seconds[name] for name, (_, asked) in lanes.items()},
        "same": float(same),
        "batches_of_generate": {str(size): rate for size, rate in rates.items()},
    }


def _bench_streets(localizer: Localizer, requests: list[Request], plan: BenchPlan) -> dict[str, Any]:
    """Milliseconds a photo for sampled answers to the street question and for their exact distribution."""
    question = plain_questions(localizer.levels)["street"]
    photos = [images[0] for images in _first_photos(requests, plan.alone)]

    def sampled() -> None:
        for photo in photos:
            localizer.sample(
                photo,
                question,
                samples=plan.samples,
                temperature=plan.temperature,
                batch_size=plan.samples,
                max_new_tokens=plan.max_new_tokens,
            )

    def exact() -> None:
        for photo in photos:
            localizer.distribution(photo, question, "street", temperature=plan.temperature)

    lanes = {"samples": sampled, "exact": exact}
    for lane in lanes.values():
        lane()
    seconds = _interleaved(lanes, plan.repeats)
    return {
        "names": len(localizer.names.streets),
        **{f"{lane}_ms": 1000 * taken / len(photos) for lane, taken in seconds.items()},
    }


def _logit_difference(localizer: Localizer, requests: list[Request]) -> dict[str, float]:
    """How far the logits behind questions differ between one pass and a pass of their own."""
    together, alone = _logits(localizer.backbone, requests)
    return {
        "largest": float((together - alone).abs().max()),
        "low": float(alone.min()),
        "high": float(alone.max()),
    }


def _flips_in_bf16(localizer: Localizer, requests: list[Request]) -> dict[str, float]:
    """How often one pass and a pass of their own disagree on a first token in low precision, and how closely.

    `largest_gap` is that between the two best logits where they disagree, as a share of the range of logits.
    """
    backbone = copy(localizer.backbone)
    backbone.model = deepcopy(backbone.model).to(torch.bfloat16)
    together, alone = _logits(backbone, requests)
    flipped = together.argmax(-1) != alone.argmax(-1)
    best = alone.topk(2).values
    gaps = ((best[:, 0] - best[:, 1]) / (alone.max(-1).values - alone.min(-1).values))[flipped]
    return {
        "flipped": float(flipped.float().mean()),
        "largest_gap": float(gaps.max()) if len(gaps) else 0.0,
        "questions": len(flipped),
    }


@torch.inference_mode()
def _logits(backbone: Backbone, requests: list[Request]) -> tuple[torch.Tensor, torch.Tensor]:
    """What is expected behind every question, (questions, vocabulary): in one pass, and alone."""
    together, alone = [], []
    for seen in batched_by(sights(requests, backbone, 1), tokens_at_once(backbone), lambda one: one.tokens):
        reading, hidden = read_together(backbone, seen)
        together.append(reading.logits(hidden).cpu())
        for sight in seen:
            images = normalised(sight.pixels, backbone)
            for ids in sight.prompts:
                tokens = torch.tensor([ids], device=backbone.model.device)
                alone.append(
                    backbone.model(input_ids=tokens, pixel_values=images).logits[:, -1].float().cpu()
                )
    return torch.cat(together), torch.cat(alone)


def _first_photos(requests: Sequence[Request], number: int) -> list[tuple[Any, ...]]:
    return list(dict.fromkeys(request.images for request in requests))[:number]


def _interleaved(lanes: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The median seconds of every lane; they take turns, so that what else the machine does hits all."""
    taken: dict[str, list[float]] = {name: [] for name in lanes}
    for repeat in range(repeats):
        say(f"bench: repeat {repeat + 1} of {repeats}")
        for name, lane in lanes.items():
            taken[name].append(_seconds(lane))
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _seconds(lane: Callable[[], object]) -> float:
    _wait_for_device()
    begun = time.perf_counter()
    lane()
    _wait_for_device()
    return time.perf_counter() - begun


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()

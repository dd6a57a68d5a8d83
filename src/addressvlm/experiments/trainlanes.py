"""Ways to train the same model on the same batches: other libraries as they come, at their best, and ours."""

import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import nn
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from addressvlm.model.backbone import Backbone
from addressvlm.model.lora import PARTS, add_adapter, train_adapter_parts
from addressvlm.training.batches import Sample
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.stages import LOCALIZATION
from addressvlm.training.trainer import fit

Batch = dict[str, torch.Tensor]


@dataclass
class Clock(TrainerCallback):  # type: ignore[misc]  # Transformers publishes no types
    """Seconds of every optimizer step, by the wall and of this process's cores."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """The batch is there, the forward pass begins."""
        wait_for_device()
        self._begun, self._cpu_begun = time.perf_counter(), time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """The weights are changed."""
        wait_for_device()
        self.seconds.append(time.perf_counter() - self._begun)
        self.cpu_seconds.append(time.process_time() - self._cpu_begun)


@dataclass(frozen=True)
class Lane:
    """A way to train; `run` takes the base, the samples in their batches, the adapters' size and a clock."""

    name: str
    precision: str
    needs: str | None
    run: "Callable[[Work, Clock], None]"

    @property
    def missing(self) -> str | None:
        """The package that this lane needs and that is not installed."""
        return self.needs if self.needs and importlib.util.find_spec(self.needs) is None else None


@dataclass(frozen=True)
class Work:
    """What every lane gets: weights that none may change, and batches; all take `steps` of them."""

    backbone: Backbone
    batches: Sequence[Sequence[Sample]]
    collate: Callable[[Sequence[Sample]], dict[str, Any]]
    steps: int
    rank: int
    dropout: float

    def adapted(self, *, dropout: float, casts: bool) -> PeftModel:
        """The base with fresh adapters on both towers; frozen weights are shared by all copies.

        `casts` leaves peft's habit of turning inputs into float32 on.
        """
        shared = {id(weight): weight for weight in self.backbone.model.parameters()}
        model = deepcopy(self.backbone.model, memo=shared)
        for weight in model.parameters():
            weight.requires_grad_(False)
        adapted = add_adapter(model, PARTS, rank=self.rank, alpha=2 * self.rank, dropout=dropout, seed=0)
        train_adapter_parts(adapted, PARTS)
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()
        for module in adapted.modules():
            if isinstance(module, LoraLayer):
                module.cast_input_dtype_enabled = casts
        return adapted.train()


def lanes(*, bf16: bool) -> list[Lane]:
    """The lanes of one precision, the slowest expected first."""
    precision = "bf16" if bf16 else "fp32"

    def lane(name: str, run: Callable[..., None], needs: str | None = None, **options: Any) -> Lane:
        return Lane(name, precision, needs, lambda work, clock: run(work, clock, bf16=bf16, **options))

    return [
        lane("TRL SFTTrainer, its defaults", _trl, needs="trl"),
        lane("Trainer + PEFT, their defaults", _trainer_and_peft),
        lane("Trainer + PEFT, tuned", _tuned),
        lane("Trainer + PEFT, tuned, Liger", _tuned, needs="liger_kernel", liger=True),
        lane("ours", _ours),
        lane("ours, no dropout", _ours, dropout=0.0),
    ]


def wait_for_device() -> None:
    """Until everything that was asked of a GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def stock_batch(backbone: Backbone, batch: dict[str, Any], *, masked: bool) -> Batch:
    """A batch of ours as Hugging Face's models take it; without a mask where padding lies on the right."""
    found = {
        "input_ids": batch["input_ids"],
        "labels": batch["labels"],
        "pixel_values": backbone.preprocessing.normalise(batch["pixels"]).to(backbone.model.dtype),
    }
    if masked:
        found["attention_mask"] = (batch["input_ids"] != backbone.tokenizer.pad_token_id).long()
    return found


def _ours(work: Work, clock: Clock, *, bf16: bool, dropout: float | None = None) -> None:
    dropout = work.dropout if dropout is None else dropout
    loss = AnswerLoss(work.adapted(dropout=dropout, casts=False), work.backbone.preprocessing, bf16=bf16)
    size = len(work.batches[0])
    stage = replace(
        LOCALIZATION,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=1,
        max_steps=work.steps,
        save_steps=work.steps + 1,
        logging_steps=work.steps + 1,
        bf16="true" if bf16 else "false",
    )
    with tempfile.TemporaryDirectory() as folder:
        fit(loss, stage, _InTurn(work), Path(folder), collate=work.collate, callbacks=[clock])


class _InTurn(Dataset[Sample]):
    """The samples of all batches, one behind the other; keys are (epoch, index) as the trainer asks."""

    def __init__(self, work: Work):
        self._samples = [sample for batch in work.batches for sample in batch]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, key: tuple[int, int] | int) -> Sample:
        return self._samples[key if isinstance(key, int) else key[1]]


def _trainer_and_peft(work: Work, clock: Clock, *, bf16: bool) -> None:
    _train(Trainer, work.adapted(dropout=work.dropout, casts=True), work, clock, bf16=bf16)


def _tuned(work: Work, clock: Clock, *, bf16: bool, liger: bool = False) -> None:
    """No dropout, no casts, no mask (so that attention may be the fast kernel), no recomputation."""
    model = work.adapted(dropout=0.0, casts=False)
    _train(Trainer, model, work, clock, bf16=bf16, masked=False, use_liger_kernel=liger)


def _trl(work: Work, clock: Clock, *, bf16: bool) -> None:
    from datasets import Dataset as Table  # with TRL
    from trl import SFTConfig, SFTTrainer

    model = work.adapted(dropout=work.dropout, casts=True)
    rows = Table.from_list([{"input_ids": [0], "labels": [0]}] * _samples(work))
    ready = partial(SFTConfig, dataset_kwargs={"skip_prepare_dataset": True})
    trainer = {"train_dataset": rows, "processing_class": work.backbone.tokenizer}
    _train(SFTTrainer, model, work, clock, config=ready, bf16=bf16, trainer=trainer)


def _train(
    kind: Callable[..., Any],
    model: nn.Module,
    work: Work,
    clock: Clock,
    *,
    bf16: bool,
    masked: bool = True,
    config: Callable[..., Any] = TrainingArguments,
    trainer: dict[str, Any] | None = None,
    **options: Any,
) -> None:
    """Steps of a stock trainer on batches that are ready when they are asked for."""
    device = next(model.parameters()).device
    ready = [
        stock_batch(
            work.backbone, {k: v for k, v in work.collate(batch).items() if k != "photos"}, masked=masked
        )
        for batch in work.batches
    ]
    taken = iter(range(10**9))

    def next_batch(_: Sequence[Any]) -> Batch:
        return ready[next(taken) % len(ready)]

    with tempfile.TemporaryDirectory() as folder:
        arguments = config(
            output_dir=folder,
            use_cpu=device.type == "cpu",
            bf16=bf16,
            per_device_train_batch_size=len(work.batches[0]),
            max_steps=work.steps,
            logging_steps=work.steps + 1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            **options,
        )
        arguments._n_gpu = min(1, arguments.n_gpu)
        given = {"train_dataset": _InTurn(work), **(trainer or {})}
        running = kind(model=model, args=arguments, data_collator=next_batch, callbacks=[clock], **given)
        running.remove_callback(PrinterCallback)
        running.train()


def _samples(work: Work) -> int:
    return sum(map(len, work.batches))

"""Hugging Face's Trainer, made safe to kill: whole checkpoints, exact resume, a log without doubled lines.

The stock one writes checkpoints in place, takes a torn one for good, and goes on silently without the state
of the optimizer. Here a checkpoint is published by rename with a manifest, and only one that verifies is
continued.
"""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence, Sized
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.tensor import DTensor
from torch.utils.data import Dataset
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from addressvlm.errors import AddressVLMError, InterruptedJob
from addressvlm.model.checkpoints import PREFIX, checkpoints, newest_checkpoint, publish, writing
from addressvlm.training import processes
from addressvlm.training.batches import Shuffled
from addressvlm.training.log import append_log, cut_log
from addressvlm.training.sharding import load_state, part, whole, whole_state
from addressvlm.training.stages import Stage
from addressvlm.work import say, track

Collate = Callable[[list[Any]], dict[str, Any]]

CHECKPOINTS = "checkpoints"
_WEIGHTS, _SUMS, _STATE = "weights.safetensors", "sums.json", "trainer_state.json"
_OPTIMIZER, _SCHEDULER = "optimizer.pt", "scheduler.pt"
_NEEDED = (_WEIGHTS, _SUMS, _STATE, _OPTIMIZER, _SCHEDULER)
_KEPT = 2


def fit(
    loss: nn.Module,
    stage: Stage,
    samples: Dataset[Any],
    run: Path,
    *,
    collate: Collate,
    callbacks: Sequence[TrainerCallback] = (),
) -> int:
    """Train the unfrozen weights of `loss` in place, from the newest good checkpoint on; returns the steps.

    `loss` turns a batch of `collate` into a dict with its `loss`; what else it tells of its last batch in
    `parts` goes into the log. `samples` have keys (epoch, index). A batch may name its `photos`.
    SIGTERM and Ctrl-C end the running step, write a checkpoint and raise `InterruptedJob`.
    """
    trainer = _RunTrainer(loss, stage, samples, run, collate)
    checkpoint, last = newest_checkpoint(run / CHECKPOINTS, _NEEDED), trainer.last_step()
    done = int(checkpoint.name.removeprefix(PREFIX)) if checkpoint else 0
    if checkpoint and done >= last:  # Trainer would take one more step
        _load_weights(loss, checkpoint)
        return done
    kept = cut_log(run, done) if processes.is_first() else []
    trainer.begun -= kept[-1]["seconds"] if kept else 0
    steps = range(done, last)
    shown = track(steps, f"train {stage.name}") if processes.is_first() else (step for step in steps)
    bar = cast("Generator[int]", shown)
    with _stoppable() as asked_to_stop, closing(bar):
        for callback in (_Steps(bar, asked_to_stop), *callbacks):
            trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.state.global_step < last:
        raise InterruptedJob(
            f"stopped after step {trainer.state.global_step} of {last}; the same command continues there"
        )
    return last


class _RunTrainer(Trainer):  # type: ignore[misc]  # Transformers publishes no types
    """Trainer on a loss, with our order of samples, checkpoints and log."""

    def __init__(self, loss: nn.Module, stage: Stage, samples: Dataset[Any], run: Path, collate: Collate):
        super().__init__(
            model=loss,
            args=_arguments(stage, run / CHECKPOINTS),
            train_dataset=samples,
            data_collator=collate,
        )
        self.remove_callback(PrinterCallback)  # prints to stdout, where results go
        self.add_callback(_Sums(self))
        self.run = run
        self.begun = time.monotonic()
        self.sums: dict[str, Any] | None = None
        self._order = Shuffled(len(cast(Sized, samples)), stage.seed)
        self._photos: list[str] = []

    def last_step(self) -> int:
        """The number of optimizer steps of the whole run."""
        *_, steps = self.set_initial_training_values(self.args, self.get_train_dataloader())
        return int(steps)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        self._photos = inputs.pop("photos", [])
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        self._require_finite("loss", loss)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" not in logs:
            return  # Trainer's closing statistics
        line: dict[str, Any] = {"step": self.state.global_step, "epoch": round(self.state.epoch or 0, 6)}
        line |= {name: logs[name] for name in ("loss", "learning_rate", "grad_norm")}
        line |= getattr(self.model, "parts", {})
        if processes.is_first():
            append_log(self.run, {**line, "seconds": round(time.monotonic() - self.begun, 3)})

    def _get_train_sampler(self, train_dataset: Any = None) -> Shuffled:
        return self._order

    def _clip_grad_norm(self, model: nn.Module) -> torch.Tensor:
        norm: torch.Tensor = super()._clip_grad_norm(model)
        if isinstance(norm, DTensor):
            norm = norm.full_tensor()
        self._require_finite("norm of the gradient", norm)
        return norm

    def _require_finite(self, what: str, value: torch.Tensor) -> None:
        """Stop before the weights are spoilt; the checkpoints are from before."""
        if not torch.isfinite(value):
            photos = f" (photos {', '.join(self._photos)})" if self._photos else ""
            raise AddressVLMError(
                f"the {what} became {value.item()} at step {self.state.global_step + 1}{photos}; "
                f"lower learning_rate{', or look at these photos' if photos else ''}"
            )

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = self.run / CHECKPOINTS / f"{PREFIX}{self.state.global_step}"
        sums = {"loss": self._tr_loss.item(), "logged_step": self._globalstep_last_logged}
        with writing(folder):
            of_all = processes.from_all((sums, self._dice()))
        weights = {name: whole(weight) for name, weight in _trained(self.model).items()}
        optimizer = whole_state(self.optimizer)
        if processes.is_first():
            with publish(folder) as staging:
                save_file(weights, staging / _WEIGHTS)
                torch.save(optimizer, staging / _OPTIMIZER)
                torch.save(self.lr_scheduler.state_dict(), staging / _SCHEDULER)
                self.state.save_to_json(str(staging / _STATE))
                (staging / _SUMS).write_text(json.dumps([sums for sums, _ in of_all]), "utf-8")
                for name, dice in (dice for _, dice in of_all):
                    (staging / name).write_bytes(dice)
            for old in checkpoints(folder.parent)[:-_KEPT]:
                shutil.rmtree(old)
        processes.wait_for_others()

    def _dice(self) -> tuple[str, bytes]:
        """Name and content of the file with the state of this process's generators."""
        with TemporaryDirectory() as folder:
            self._save_rng_state(folder)
            (file,) = Path(folder).iterdir()
            return file.name, file.read_bytes()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            states = [
                torch.load(Path(checkpoint) / name, map_location="cpu", weights_only=True)
                for name in (_OPTIMIZER, _SCHEDULER)
            ]
            load_state(self.optimizer, states[0])
            self.lr_scheduler.load_state_dict(states[1])

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        _load_weights(self.model, folder)
        sums = json.loads((folder / _SUMS).read_text("utf-8"))
        if len(sums) == self.args.world_size:
            self.sums = sums[self.args.process_index]
        else:
            self.sums = {**sums[0], "loss": sum(one["loss"] for one in sums) / len(sums)}
            if processes.is_first():
                say(
                    f"warning: {folder.name} was written by {len(sums)} processes, now there are "
                    f"{self.args.world_size}; dropout falls differently from here on"
                )


class _Sums(TrainerCallback):  # type: ignore[misc]  # as above
    """Goes on with the loss summed up since the last line of the log, so that a resume changes no line."""

    def __init__(self, trainer: _RunTrainer):
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self._trainer.sums:
            self._trainer._tr_loss += self._trainer.sums["loss"]
            self._trainer._globalstep_last_logged = self._trainer.sums["logged_step"]


class _Steps(TrainerCallback):  # type: ignore[misc]  # as above
    """Shows the progress, and ends the training with a checkpoint when asked to stop."""

    def __init__(self, bar: Iterator[int], asked_to_stop: threading.Event):
        self._bar = bar
        self._asked_to_stop = asked_to_stop

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        next(self._bar, None)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = True
        elif processes.any_of_all(self._asked_to_stop.is_set()):
            control.should_save = control.should_training_stop = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step >= state.max_steps:
            next(self._bar, None)  # lets the bar say that it is done


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set; the same signal again interrupts at once. Main thread only.

    Ctrl-C reaches all processes of a job, and the parent that it ends then sends SIGTERM to its workers:
    that is not somebody in a hurry.
    """
    event = threading.Event()
    heard: set[int] = set()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if number in heard:
            raise KeyboardInterrupt
        heard.add(number)
        event.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _arguments(stage: Stage, folder: Path) -> TrainingArguments:
    gpu = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(folder),
        use_cpu=not gpu,
        learning_rate=stage.learning_rate,
        weight_decay=stage.weight_decay,
        adam_beta1=stage.adam_beta1,
        adam_beta2=stage.adam_beta2,
        warmup_steps=stage.warmup_ratio,
        lr_scheduler_type=stage.lr_scheduler_type,
        max_grad_norm=stage.max_grad_norm,
        per_device_train_batch_size=stage.per_device_train_batch_size,
        gradient_accumulation_steps=stage.accumulation(processes.count()),
        num_train_epochs=stage.num_train_epochs,
        max_steps=stage.max_steps,
        seed=stage.seed,
        save_steps=stage.save_steps,
        logging_steps=stage.logging_steps,
        dataloader_num_workers=loader_processes(stage),
        ddp_find_unused_parameters=False,  # every weight that is trained gets a gradient
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=gpu,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # no DataParallel; one process drives one GPU
    return arguments


def loader_processes(stage: Stage) -> int:
    """Processes that prepare batches beside this one."""
    if stage.dataloader_num_workers is not None:
        return stage.dataloader_num_workers
    return min(4, os.cpu_count() or 1) if torch.cuda.is_available() else 0


def _trained(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach() for name, weight in module.named_parameters() if weight.requires_grad}


@torch.no_grad()
def _load_weights(module: nn.Module, checkpoint: Path) -> None:
    stored, trained = load_file(checkpoint / _WEIGHTS), _trained(module)
    if stored.keys() != trained.keys():
        strangers = sorted(stored.keys() ^ trained.keys())
        raise AddressVLMError(
            f"{checkpoint} does not fit this run ({strangers[0]}, …); remove it to start again"
        )
    for name, weight in trained.items():
        weight.copy_(part(stored[name], weight))

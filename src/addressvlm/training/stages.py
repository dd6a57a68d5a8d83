"""What a training stage is, and the two of the paper as values.

The command line reads the fields, so nothing heavy is imported here.
"""

from dataclasses import dataclass, replace
from typing import Literal

from addressvlm.errors import UsageError


@dataclass(frozen=True)
class Stage:
    """One training run: what is learned from, which weights, how long. Field names are Hugging Face's.

    Defaults are the paper's; `training/recipes.py` says of each where it is printed, or why we chose it.
    """

    name: Literal["reading", "spelling", "seeing", "speaking", "everything", "alignment", "localization"]
    """Which samples are learned: scenes in pre-training (the first five), those of a data set after it."""
    trains: tuple[str, ...] = ("vision", "projector", "language")
    """Parts of the model that are trained (Table 4)."""
    tuning: Literal["lora", "full"] = "lora"
    """Adapters on the towers (the paper's), or all weights (what random weights need)."""
    earlier_adapter: Literal["continue", "merge"] = "continue"
    """What becomes of the adapters of an earlier run: trained further, or merged under fresh ones."""
    quantization: Literal["none", "nf4"] = "none"
    """Keep the frozen language model under the adapters in four bits; needs a CUDA GPU and bitsandbytes."""
    lora_rank: int = 128
    """Rank of the adapters."""
    lora_alpha: int = 256
    """Scale of the adapters, over the rank."""
    lora_dropout: float = 0.05
    """Dropout in front of the adapters."""
    learning_rate: float = 1e-5
    """Peak learning rate."""
    weight_decay: float = 0.0
    """Weight decay of AdamW."""
    adam_beta1: float = 0.9
    """First beta of AdamW."""
    adam_beta2: float = 0.999
    """Second beta of AdamW."""
    warmup_ratio: float = 0.03
    """Share of the steps in which the learning rate rises."""
    lr_scheduler_type: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """How the learning rate falls after that."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    per_device_train_batch_size: int = 4
    """Conversations in one forward pass on one device."""
    effective_batch_size: int = 512
    """Conversations to one optimizer step, over all devices."""
    gradient_accumulation_steps: int | None = None
    """Forward passes to one optimizer step; left out: as many as make the effective batch size."""
    num_train_epochs: float = 1.0
    """Times that every conversation is seen."""
    max_steps: int = -1
    """Optimizer steps instead of epochs, if positive."""
    max_length: int = 1472
    """Longest conversation in text tokens; a longer one is an error."""
    rounds: Literal["chain", "star"] = "chain"
    """What a round sees: the photo and all earlier rounds (chain, the paper), or the photo alone (star)."""
    rounds_drawn: int | None = None
    """Rounds of a conversation that are learned at a visit, drawn anew in every epoch; left out: all."""
    image_fit: Literal["pad", "crop", "squash"] | None = None
    """How pictures become square; left out: as the base model does."""
    bf16: Literal["auto", "true", "false"] = "auto"
    """Compute in bfloat16; auto: on GPUs and on CPUs with instructions for it."""
    gradient_checkpointing: bool = False
    """Keep no activations inside of layers but compute them again: less memory, more time."""
    seed: int = 0
    """Seed of random weights, order and dropout."""
    save_steps: int = 200
    """Optimizer steps between checkpoints."""
    logging_steps: int = 10
    """Optimizer steps between lines of log.jsonl."""
    dataloader_num_workers: int | None = None
    """Processes that prepare batches beside the training; left out: four beside a GPU, else none."""

    def __post_init__(self) -> None:
        for field in (
            "lora_rank",
            "per_device_train_batch_size",
            "effective_batch_size",
            "gradient_accumulation_steps",
            "save_steps",
            "rounds_drawn",
        ):
            value = getattr(self, field)
            _require(field, value, value is None or value >= 1, "at least 1")
        for field in ("learning_rate", "num_train_epochs", "max_length", "logging_steps", "max_grad_norm"):
            _require(field, getattr(self, field), getattr(self, field) > 0, "more than 0")
        for field in ("lora_dropout", "warmup_ratio"):
            _require(field, getattr(self, field), 0 <= getattr(self, field) < 1, "in [0, 1)")
        known = ("vision", "projector", "language")
        _require(
            "trains",
            ",".join(self.trains),
            bool(self.trains) and {*self.trains} <= {*known},
            f"of {', '.join(known)}",
        )
        if self.quantization != "none" and self.tuning != "lora":
            raise UsageError(f"weights in {self.quantization} cannot be tuned whole; tuning must be lora")

    def accumulation(self, devices: int) -> int:
        """Forward passes to one optimizer step on this many devices.

        Raises UsageError where the effective batch size cannot be reached exactly.
        """
        if self.gradient_accumulation_steps is not None:
            return self.gradient_accumulation_steps
        at_once = self.per_device_train_batch_size * devices
        steps, rest = divmod(self.effective_batch_size, at_once)
        if rest or not steps:
            raise UsageError(
                f"effective_batch_size is {self.effective_batch_size}, but {devices} device(s) with "
                f"per_device_train_batch_size {self.per_device_train_batch_size} take {at_once} at a time; "
                "make it a multiple, or set gradient_accumulation_steps"
            )
        return steps


def _require(field: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise UsageError(f"{field} is {value}; it must be {wanted}")


# Pre-training of a mini model: the tower alone reads letters; in front of it the language model learns to
# spell names; the tower alone learns the rest of the world, the language model to speak of it; all together.
# Batches are small: on a CPU a step of 8 pages costs a quarter of one of 32 and teaches as much.
READING = Stage(
    "reading",
    trains=("vision",),
    tuning="full",
    learning_rate=5e-3,
    weight_decay=0.01,
    warmup_ratio=0.01,
    per_device_train_batch_size=8,
    rounds="star",
    gradient_accumulation_steps=1,
    num_train_epochs=2.5,
)
SPELLING = replace(
    READING, name="spelling", trains=("projector", "language"), learning_rate=2e-3, num_train_epochs=2
)
SEEING = replace(
    READING,
    name="seeing",
    learning_rate=2e-3,
    warmup_ratio=0.02,
    per_device_train_batch_size=1,  # a city: two scenes of sixteen roads
    num_train_epochs=9,
)
SPEAKING = replace(
    SEEING,
    name="speaking",
    trains=("projector", "language"),
    learning_rate=1e-3,
    per_device_train_batch_size=8,
    num_train_epochs=2,
)
EVERYTHING = replace(
    SPEAKING,
    name="everything",
    trains=("vision", "projector", "language"),
    learning_rate=5e-4,
    per_device_train_batch_size=1,  # the same, with a lecture about each map
    num_train_epochs=3,
)
# From a base on that can do all that already, for as long as one likes.
FURTHER = replace(EVERYTHING, learning_rate=1e-3, num_train_epochs=8)
ALIGNMENT = Stage("alignment")
LOCALIZATION = Stage("localization")


def from_scratch(stage: Stage) -> Stage:
    """The stage for random weights: all of them, small batches, a hundredfold rate, ten epochs."""
    return replace(
        stage,
        tuning="full",
        learning_rate=1e-3,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=1,
        rounds="star",
        rounds_drawn=3,
        num_train_epochs=10.0,
    )


def for_mini(stage: Stage) -> Stage:
    """The stage for a pre-trained mini base: adapters of its size, small batches, a rate that suits them.

    Six epochs of localization, because a few hundred photos are what a first try has.
    """
    return replace(
        stage,
        lora_rank=16,
        lora_alpha=32,
        lora_dropout=0.0,  # drawing it takes a fifth of a step on a CPU
        learning_rate=2e-3,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=1,
        rounds="star",
        rounds_drawn=3,
        num_train_epochs=6.0 if stage.name == "localization" else 1.0,
    )

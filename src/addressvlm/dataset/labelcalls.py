"""The words between a label job and whoever describes pictures: what is asked, what comes back, what fails.

A describer takes a batch of asks and gives for each a reply, or a failure that may pass or concerns this ask
alone; it raises an `AddressVLMError` for what no further call can get past (a refused key). The job knows
nothing else of it; endpoints and models in this process are in `inference`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from addressvlm.errors import InterruptedJob

# What went wrong with a call that brought no answer; `picture`: it was not sent, a picture cannot be read.
FailureKind = Literal[
    "timeout",
    "connection",
    "rate_limit",
    "server_error",
    "garbage",
    "web_page",
    "bad_request",
    "picture",
]


@dataclass(frozen=True)
class Ask:
    """One call: the pictures, the instructions that are the same for all samples, the hint that is not."""

    images: tuple[Path, ...]
    instructions: str
    hint: str
    temperature: float
    seed: int
    max_tokens: int


@dataclass(frozen=True)
class Reply:
    """A text, whether it was cut off at `max_tokens`, and the tokens read and written, where told."""

    text: str
    cut: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True)
class NoAnswer:
    """A call that brought no answer; `retry_after_s` is how long the server wants to be left alone."""

    kind: FailureKind
    message: str
    retry_after_s: float = 0.0


class BudgetSpent(InterruptedJob):
    """No further call fits into what may be spent."""


class Unreachable(InterruptedJob):
    """No call has been answered for longer than the job is patient."""


Describer = Callable[[Sequence[Ask]], Sequence[Reply | NoAnswer]]
# Opens a describer in the process that will use it; picklable, so that there can be several.
OpenDescriber = Callable[[], Describer]

"""What a label job can be told; light to import, because the command line reads it for its help."""

from dataclasses import dataclass
from typing import Literal, get_args

from addressvlm.errors import UsageError

PromptName = Literal["alignment", "georeasoner"]


@dataclass(frozen=True)
class LabelOptions:
    """What decides the texts, by the names that the command line offers."""

    prompt: PromptName = "alignment"
    """What is asked: alignment (the paper's: street, district, and how photo and map match) or georeasoner
    (the rival's: the district and its look, from the street view alone)."""
    temperature: float = 0.2
    """Temperature of the first try; every further try of a sample adds 0.2."""
    max_tokens: int = 300
    """Length of an answer at most, in tokens; an answer that is cut off is rejected."""
    tries: int = 3
    """Answers that a sample may have before it is set aside. More than before reopen those set aside."""
    min_words: int = 12
    """Shorter answers are rejected."""
    max_words: int = 250
    """Longer answers are rejected."""
    seed: int = 0
    """Sent with every call, mixed with the sample and the try, for servers that take one."""

    def __post_init__(self) -> None:
        known = ", ".join(get_args(PromptName))
        _require(self.prompt in get_args(PromptName), "prompt", self.prompt, f"it can be {known}")
        _require(0 <= self.temperature <= 2, "temperature", self.temperature, "it must lie in [0, 2]")
        for name in ("max_tokens", "tries", "min_words"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "it must be at least 1")
        _require(self.max_words >= self.min_words, "max_words", self.max_words, "it is below min_words")


@dataclass(frozen=True)
class Limits:
    """How hard the describer is worked and what may be spent; may differ each time a job is continued."""

    concurrency: int = 8
    """Calls in flight at the same time, over all workers."""
    requests_per_minute: float | None = None
    """Calls a minute at most, evenly spread. [default: no limit]"""
    timeout_s: float = 120.0
    """Seconds after which a call is given up."""
    retries: int = 8
    """Calls in a row without an answer (time-outs, errors of the server) before a sample is set aside. With
    fewer than 8 a sample may be set aside before the server is found to be down; the next run asks again."""
    patience_s: float = 300.0
    """Seconds without any answer to any call before the job stops, to be continued later."""
    budget_calls: int | None = None
    """Calls of the whole job at most, those of earlier runs included. [default: no limit]"""
    budget_tokens: int | None = None
    """Tokens of the whole job at most, read and written. [default: no limit]"""
    budget_cost: float | None = None
    """Money of the whole job at most, in the currency of the prices. [default: no limit]"""
    price_in: float | None = None
    """What a million tokens read cost."""
    price_out: float | None = None
    """What a million tokens written cost."""

    def __post_init__(self) -> None:
        for name in ("concurrency", "retries"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "it must be at least 1")
        for name in (
            *("timeout_s", "patience_s", "requests_per_minute", "budget_calls", "budget_tokens"),
            *("budget_cost", "price_in", "price_out"),
        ):
            value = getattr(self, name)
            free = name.startswith("price")
            fits = value is None or (value >= 0 if free else value > 0) and value < float("inf")
            _require(fits, name, value, f"it must be {'at least' if free else 'above'} 0")
        if (self.price_in is None) != (self.price_out is None):
            raise UsageError(
                "price_in and price_out belong together: what a million tokens cost, read and written"
            )
        if self.budget_cost is not None and self.price_in is None:
            raise UsageError("budget_cost needs price_in and price_out: what a million tokens cost")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost; 0 without prices."""
        read, written = self.price_in or 0.0, self.price_out or 0.0
        return (prompt_tokens * read + completion_tokens * written) / 1e6


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise UsageError(f"{name} is {value!r}, but {rule}")

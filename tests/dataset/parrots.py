"""Describers of label jobs; in a light module of their own, because worker processes import it."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from addressvlm.dataset.describing import rule_based_describe
from addressvlm.dataset.labelcalls import Ask, Describer, NoAnswer, Reply


def parrot(asks: Sequence[Ask]) -> list[Reply | NoAnswer]:
    """A describer that believes its hint, word for word the same whoever asks when."""
    return [
        Reply(rule_based_describe((), f"{ask.instructions}\n{ask.hint}"), False, 900, 100) for ask in asks
    ]


def open_parrot() -> Describer:
    return parrot


def open_mumbler() -> Describer:
    return lambda asks: [Reply("Hm.") for _ in asks]


def open_suicidal(mark: Path) -> Describer:
    """A parrot whose process is killed at its fifth call, once."""
    calls: list[Ask] = []

    def describe(asks: Sequence[Ask]) -> list[Reply | NoAnswer]:
        calls.extend(asks)
        if len(calls) == 5 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return parrot(asks)

    return describe

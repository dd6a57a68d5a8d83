"""How long the steps of an experiment took, kept beside them in `seconds.json`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from addressvlm.folders import SUMMARY, read_json, write_json
from addressvlm.work import say

SECONDS = "seconds.json"


@contextmanager
def timed(out: Path, name: str) -> Iterator[None]:
    """Add up how long a step took, over all the times that it was continued; a complete one takes no more."""
    path = out / SECONDS
    seconds = read_json(path) if path.exists() else {}
    say(f"{out.name}: {name}")
    complete = name in seconds and (out / name / SUMMARY).exists()
    begun = time.monotonic()
    try:
        yield
    finally:
        if not complete:
            write_json(path, {**seconds, name: round(seconds.get(name, 0) + time.monotonic() - begun, 1)})

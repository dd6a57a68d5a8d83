"""Long work: a progress bar with ETA on stderr, loops over several processes, memory that is kept."""

import ctypes
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Literal, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")
R = TypeVar("R")

# Who computes a loop: so many processes of this machine (None: one for each core), or a Ray cluster.
Workers = int | Literal["ray"] | None

_LINE_EVERY_S = 15.0
_GRACE_S = 5.0


def say(message: str) -> None:
    """Tell the user something about a running job, on stderr."""
    print(message, file=sys.stderr, flush=True)


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items under a progress bar with ETA; without a terminal, a line now and then."""
    if total is None and isinstance(items, Collection):
        total = len(items)
    if not sys.stderr.isatty():
        yield from _with_lines(items, description, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(items, total=total, description=description)


def _with_lines(items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    begun = told = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - told >= _LINE_EVERY_S:
            told = now
            left = f", {(now - begun) / count * (total - count):.0f} s left" if total else ""
            say(f"{description}: {count}/{total or '?'} in {now - begun:.0f} s{left}")


def batched_by(items: Iterable[T], most: int, cost: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in their order in batches that cost at most `most` together; a dearer item is alone."""
    batch: list[T] = []
    spent = 0
    for item in items:
        price = cost(item)
        if batch and spent + price > most:
            yield batch
            batch, spent = [], 0
        batch.append(item)
        spent += price
    if batch:
        yield batch


def in_processes(
    function: Callable[[T], R], items: Collection[T], workers: Workers = None, *, chunk: int | None = None
) -> Iterator[R]:
    """Yield `function(item)` in the order of the items, computed by `workers`.

    A worker takes `chunk` items at a time; left out, more the more there are. `function` and the items must
    be picklable. Processes end when this one does, however it ends, and soon after it is interrupted.
    """
    if workers == "ray":
        from addressvlm.cluster import on_cluster

        yield from on_cluster(function, items)
        return
    workers = min(workers or os.cpu_count() or 1, max(1, len(items)))
    if workers == 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    others = {*multiprocessing.active_children()}
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_end_with, initargs=(os.getpid(),)
    ) as pool:
        ours: set[BaseProcess] = set()
        try:
            chunk = chunk or max(1, min(16, len(items) // (4 * workers)))
            results = pool.map(function, items, chunksize=chunk)  # starts all of them
            ours = {*multiprocessing.active_children()} - others
            yield from results
        except (KeyboardInterrupt, GeneratorExit):
            pool.shutdown(wait=False, cancel_futures=True)
            _end(ours or {*multiprocessing.active_children()} - others)  # or interrupted while they start
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _end(workers: Collection[BaseProcess]) -> None:
    """Let workers end that nobody waits for: an item may take minutes. A training keeps what it has first."""
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + _GRACE_S
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        worker.kill()


def _end_with(parent: int) -> None:
    """Leave the process when its parent is gone: a killed job must not have workers that write on."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for this process instead of giving it back and asking again.

    A training step on a CPU frees and asks for the same few hundred megabytes each time; on some systems the
    page faults of that take several times as long as the arithmetic. Without glibc this does nothing.
    """
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    for parameter, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 64 << 20)):
        mallopt(parameter, value)

"""The workers of a label job: threads, in this process or in several, that share nothing but the ledger.

A worker claims a call, asks, checks what comes back and enters it. A worker process that dies is replaced.
When the job is interrupted, the calls in flight may end; a second interruption leaves them.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from addressvlm.dataset.labelcalls import Ask, Describer, NoAnswer, OpenDescriber, Reply
from addressvlm.dataset.labelcheck import Names, fault, tidy
from addressvlm.dataset.labeloptions import Limits
from addressvlm.dataset.labelprompts import Prompts
from addressvlm.dataset.ledger import Call, Ledger
from addressvlm.dataset.tables import read_table
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.work import say, track

GAZETTEER = "gazetteer.parquet"  # its module would bring the geographic libraries into every worker

_LOOK_EVERY_S = 0.25
_FLUSH_EVERY_S = 1.0
_LONGEST_WAIT_S = 0.5  # of a worker with nothing to do, before it looks again


@dataclass(frozen=True)
class Task:
    """What is the same for all workers; picklable. `at_once` samples are asked about in one batch."""

    ledger: Path
    dataset: Path
    prompts: Prompts
    limits: Limits
    open: OpenDescriber
    at_once: int = 1

    @cached_property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The alignment table by photo."""
        return {row["photo"]: row for row in read_table(self.dataset, "alignment").to_pylist()}

    @cached_property
    def names(self) -> Names:
        """The names that a label may hold."""
        return Names.read(self.dataset / GAZETTEER)


def work_off(task: Task, processes: int) -> None:
    """Label all samples of the ledger, with progress on stderr.

    Raises what ended the job before all were settled: a refused key, a spent budget, a full disk.
    """
    ledger = Ledger(task.ledger)
    settled, samples = ledger.progress()
    crew: _Crew = _Threads(task) if processes == 1 else _Processes(task, ledger, processes)
    try:
        crew.begin()
        for _ in track(_settled(ledger, crew, settled), "labels", total=samples - settled):
            pass
    except KeyboardInterrupt:
        say("waiting for the calls in flight; interrupt again to leave them")
        crew.stop()
        while crew.works():
            pass
        raise
    finally:
        crew.leave()
        ledger.close()


class _Crew(Protocol):
    def begin(self) -> None:
        """Set all to work."""

    def works(self) -> bool:
        """Wait a moment; whether anybody still works. Raises what a worker stopped with when all have."""

    def stop(self) -> None:
        """Begin no further call."""

    def leave(self) -> None:
        """Be gone, whatever is in flight."""


def _settled(ledger: Ledger, crew: _Crew, before: int) -> Iterator[None]:
    working, flushed = True, time.monotonic()
    while working:
        working = crew.works()
        if time.monotonic() - flushed > _FLUSH_EVERY_S:
            ledger.flush()
            flushed = time.monotonic()
        now, _ = ledger.progress()
        yield from [None] * (now - before)
        before = now


class _Threads:
    """As many workers in this process as calls may be in flight; all stop when one fails."""

    def __init__(self, task: Task, number: int | None = None):
        self._task = task
        self._ledger = Ledger(task.ledger)
        self._describe: Describer = task.open()
        _ = task.rows, task.names  # read once, before threads ask for them
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        # Not `Thread.join`: when that is interrupted, Python 3.11 takes the thread for ended.
        self._counting, self._idle = threading.Lock(), threading.Event()
        self._idle.set()
        self._at_work, self._number = 0, number or task.limits.concurrency

    def begin(self) -> None:
        for place in range(self._number):
            with self._counting:
                self._at_work += 1
                self._idle.clear()
            # As daemons, so that a second interruption need not wait for them.
            threading.Thread(target=self._run, args=(f"{os.getpid()}-{place}",), daemon=True).start()

    def works(self) -> bool:
        if not self._idle.wait(_LOOK_EVERY_S):
            return True
        if self._errors:
            raise self._errors[0]
        return False

    def stop(self) -> None:
        self._stop.set()

    def leave(self) -> None:
        self._stop.set()
        if self._idle.is_set():
            self._ledger.close()

    def _run(self, worker: str) -> None:
        try:
            while not self._stop.is_set() and self._step(worker):
                pass
        except BaseException as error:
            self._errors.append(error)
            self._stop.set()
        finally:
            with self._counting:
                self._at_work -= 1
                if self._at_work == 0:
                    self._idle.set()

    def _step(self, worker: str) -> bool:
        """One batch of calls, or a wait for some; False when all samples are settled."""
        limits, tries = self._task.limits, self._task.prompts.options.tries
        claim = self._ledger.claim(worker, limits, self._task.at_once)
        if not claim.calls:
            self._stop.wait(min(claim.wait_s, _LONGEST_WAIT_S))
            return not claim.done
        try:
            replies = self._describe([self._ask(call) for call in claim.calls])
        except BaseException as error:
            self._ledger.put_back(claim.calls, str(error))
            raise
        for call, reply in zip(claim.calls, replies, strict=True):
            if isinstance(reply, NoAnswer):
                self._ledger.fail(call, reply, limits)
                continue
            text = tidy(reply.text)
            truth = self._task.prompts.truth(self._task.rows[call.photo])
            wrong = fault(text, truth, self._task.names, self._task.prompts.options, cut=reply.cut)
            self._ledger.settle(call, reply, text, wrong, tries)
            _require_usage(reply, limits)
        return True

    def _ask(self, call: Call) -> Ask:
        return self._task.prompts.ask(self._task.rows[call.photo], self._task.dataset, call.number)


def _require_usage(reply: Reply, limits: Limits) -> None:
    if reply.prompt_tokens is None and (limits.budget_tokens or limits.budget_cost):
        raise UsageError(
            "the server does not tell how many tokens a call took, so no budget of tokens or money can be "
            "kept; use budget_calls"
        )


class _Processes:
    """Several processes with a share of the workers each; one that dies is replaced."""

    def __init__(self, task: Task, ledger: Ledger, number: int):
        self._task, self._ledger = task, ledger
        self._context = multiprocessing.get_context("spawn")
        self._error: AddressVLMError | None = None
        self._stopping = False
        number = min(number, task.limits.concurrency)
        self._shares = [
            task.limits.concurrency // number + (place < task.limits.concurrency % number)
            for place in range(number)
        ]
        self._alive: dict[Any, tuple[Connection, int]] = {}

    def begin(self) -> None:
        for share in self._shares:
            process, its = self._start(share)
            self._alive[process] = its

    def works(self) -> bool:
        wait([connection for connection, _ in self._alive.values()], _LOOK_EVERY_S)
        for process, (connection, share) in list(self._alive.items()):
            alive = process.is_alive()
            error = _received(connection)  # read after that: its last words come before it ends
            if error is not None:
                self._error = self._error or error
                self.stop()
            if alive:
                continue
            del self._alive[process]
            if process.exitcode == 0 or self._stopping:
                continue
            if process.exitcode > 0:
                raise RuntimeError(f"a worker failed with exit code {process.exitcode}; see above")
            say(f"a worker was killed (signal {-process.exitcode}); another takes its place")
            for thread in range(share):
                self._ledger.release(f"{process.pid}-{thread}")
            another, its = self._start(share)
            self._alive[another] = its
        if not self._alive and self._error is not None:
            raise self._error
        return bool(self._alive)

    def stop(self) -> None:
        self._stopping = True
        for connection, _ in self._alive.values():
            try:
                connection.send("stop")
            except OSError:
                continue  # it has ended

    def leave(self) -> None:
        for process, (connection, _) in self._alive.items():
            connection.close()
            process.terminate()

    def _start(self, share: int) -> tuple[Any, tuple[Connection, int]]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_in_process, args=(self._task, share, theirs), daemon=True)
        process.start()
        theirs.close()
        return process, (ours, share)


def _received(connection: Connection) -> AddressVLMError | None:
    try:
        if connection.poll():
            kind, message = connection.recv()
            error: AddressVLMError = kind(message)
            return error
    except (EOFError, OSError):
        pass  # it has ended, with or without an error that was told before
    return None


def _in_process(task: Task, threads: int, connection: Connection) -> None:
    """A worker process: works until all is settled, it is told to stop, or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and says what to do
    try:
        crew = _Threads(task, threads)
        crew.begin()
        threading.Thread(target=_obey, args=(crew, connection), daemon=True).start()
        while crew.works():
            pass
    except AddressVLMError as error:
        connection.send((type(error), str(error)))


def _obey(crew: _Threads, connection: Connection) -> None:
    try:
        connection.recv()
        crew.stop()
    except (EOFError, OSError):
        os._exit(1)  # killed jobs have no workers that write on

"""The ledger of a label job: every call that was begun and what became of it, in SQLite.

A call is written down before it is sent, and its answer in the same transaction that settles its sample, so
whatever is killed, at most the calls in flight are lost and no sample gets two labels. All workers of a job,
threads and processes, share the file; what they must agree on (budget, pace, who does what) is decided here,
inside a transaction. The journal is a write-ahead log: a kill loses nothing of it, a power cut what was
entered since the last `flush`.
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addressvlm.dataset.labelcalls import BudgetSpent, NoAnswer, Reply, Unreachable
from addressvlm.dataset.labelcheck import Fault
from addressvlm.dataset.labeloptions import Limits
from addressvlm.dataset.labelpace import affordable, back_off_s, is_down, spent
from addressvlm.errors import AddressVLMError, UsageError

_SCHEMA = Path(__file__).with_name("ledger.sql")
_VERSION = 1
# With these a run that never had an answer stops early: waiting would not help.
_HOPELESS = {"connection", "web_page", "bad_request"}
_HOPELESS_AFTER = 3
_UNTIL_ALL_HAVE_STOPPED_S = 600.0


@dataclass(frozen=True)
class Call:
    """A call that may now be sent; `number` counts the answers of the sample, from 0."""

    id: int
    photo: str
    number: int


@dataclass(frozen=True)
class Claim:
    """Calls to make; or none, and how long to wait for some; `done` when all samples are settled."""

    calls: tuple[Call, ...] = ()
    wait_s: float = 0.0
    done: bool = False


class Ledger:
    """The file of one job, as one process has it open; its threads share it."""

    def __init__(self, path: Path):
        self.path = path
        self._journal = path.with_name(f"{path.name}-wal")
        self._lock = threading.Lock()
        with self._told():
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            # No commit waits for the disk: that can take longer than a call. `flush` does, once a second.
            self._db.execute("PRAGMA synchronous = NORMAL")
            if not self._db.execute("SELECT * FROM sqlite_master").fetchall():
                schema = _SCHEMA.read_text("utf-8")
                self._db.executescript(f"BEGIN; {schema} PRAGMA user_version = {_VERSION}; COMMIT;")
            if self._db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                raise UsageError(f"{path} is no ledger that this version can read; choose another folder")

    def close(self) -> None:
        """Close the file; the last to do so leaves no journal beside it."""
        with self._lock:
            self._db.close()

    def flush(self) -> None:
        """Have all that was entered survive a power cut, too."""
        with contextlib.suppress(FileNotFoundError), self._told(), self._journal.open("rb") as journal:
            os.fsync(journal.fileno())

    def begin(self, job: str, photos: Sequence[str], tries: int) -> None:
        """Enter the samples of a job, or take up what an earlier run of the same job left.

        `job` says in a word which job it is. Calls that a killed run had in flight are lost; samples set
        aside that have had fewer answers than `tries` are opened again. Raises `UsageError` for another job's
        ledger.
        """
        with self._transaction() as db:
            known = db.execute("SELECT value FROM job WHERE key = 'job'").fetchone()
            if known is None:
                db.execute("INSERT INTO job VALUES ('job', ?)", (job,))
                rows = ((photo, place) for place, photo in enumerate(photos))
                db.executemany("INSERT INTO samples (photo, place) VALUES (?, ?)", rows)
            elif known["value"] != job:
                raise UsageError(
                    f"{self.path} is the ledger of another job; choose another folder, or remove this one"
                )
            db.execute("UPDATE calls SET outcome = 'lost' WHERE outcome = 'in flight'")
            db.execute("UPDATE samples SET worker = NULL, ready_at = 0 WHERE state = 'open'")
            db.execute(
                "UPDATE samples SET state = 'open', failures = 0, ready_at = 0, worker = NULL, reason = '' "
                "WHERE state = 'set aside' AND answers < ?",
                (tries,),
            )
            db.execute(
                "UPDATE account SET streak = 0, pauses = 0, answered = 0, answered_at = ?, next_call_at = 0",
                (time.time(),),
            )

    def claim(self, worker: str, limits: Limits, most: int = 1) -> Claim:
        """Up to `most` calls for a worker, written down as begun.

        Raises `BudgetSpent` when nothing further may be spent and nothing is in flight that could change it.
        """
        now = time.time()
        with self._transaction() as db:
            account = db.execute("SELECT * FROM account").fetchone()
            if account["next_call_at"] > now:
                return Claim(wait_s=account["next_call_at"] - now)
            flying = db.execute("SELECT COUNT(*) FROM calls WHERE outcome = 'in flight'").fetchone()[0]
            if flying and (not account["answered"] or is_down(account, limits)):
                return Claim(wait_s=0.1)
            ready = db.execute(
                "SELECT photo, answers, ready_at FROM samples WHERE state = 'open' AND worker IS NULL "
                "AND ready_at <= ? ORDER BY place LIMIT ?",
                (now, most),
            ).fetchall()
            if not ready:
                return _nothing_ready(db, account, now)
            fits = affordable(account, flying, len(ready), limits)
            if fits == 0:
                if flying:
                    return Claim(wait_s=0.1)
                (labelled,) = db.execute("SELECT COUNT(*) FROM labels").fetchone()
                raise BudgetSpent(spent(account, labelled, limits))
            calls = []
            for sample in ready[:fits]:
                db.execute("UPDATE samples SET worker = ? WHERE photo = ?", (worker, sample["photo"]))
                entry = (sample["photo"], sample["answers"], worker, now)
                begun = db.execute("INSERT INTO calls (photo, try, worker, began) VALUES (?, ?, ?, ?)", entry)
                assert begun.lastrowid is not None, "a row was inserted"
                calls.append(Call(begun.lastrowid, sample["photo"], sample["answers"]))
            pause_s = 60 / limits.requests_per_minute * len(calls) if limits.requests_per_minute else 0.0
            db.execute("UPDATE account SET calls = calls + ?, next_call_at = ?", (len(calls), now + pause_s))
            return Claim(tuple(calls))

    def settle(self, call: Call, reply: Reply, text: str, fault: Fault | None, tries: int) -> None:
        """Enter an answer, the text as it is kept, and why it is rejected, if it is."""
        now = time.time()
        with self._transaction() as db:
            if fault is None:
                label = (call.photo, call.id, text)
                kept = db.execute("INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", label).rowcount
                db.execute("UPDATE samples SET state = 'labelled' WHERE photo = ?", (call.photo,))
                _end(db, call, "accepted" if kept else "surplus", "", now, reply)
            else:
                db.execute(
                    "UPDATE samples SET answers = answers + 1, failures = 0 "
                    "WHERE photo = ? AND state = 'open'",
                    (call.photo,),
                )
                db.execute(
                    "UPDATE samples SET state = 'set aside', reason = ? "
                    "WHERE photo = ? AND state = 'open' AND answers >= ?",
                    (fault[0], call.photo, tries),
                )
                _end(db, call, "rejected", ": ".join(fault), now, reply)
            db.execute("UPDATE account SET streak = 0, pauses = 0, answered = 1, answered_at = ?", (now,))

    def fail(self, call: Call, failure: NoAnswer, limits: Limits) -> None:
        """Enter a call that brought no answer: when to ask again, or that it is of no use.

        Raises what ends the job: `AddressVLMError` where waiting would not help, and `Unreachable` when the
        job has been patient for long enough.
        """
        now = time.time()
        with self._transaction() as db:
            _end(db, call, failure.kind, failure.message, now)
            if failure.kind == "picture":
                _set_aside(db, call.photo, failure.kind)
                return
            db.execute("UPDATE account SET streak = streak + 1")
            account = db.execute("SELECT * FROM account").fetchone()
            down = is_down(account, limits)
            if not down:  # that is nobody's fault but the server's
                db.execute("UPDATE samples SET failures = failures + 1 WHERE photo = ?", (call.photo,))
            (failures,) = db.execute("SELECT failures FROM samples WHERE photo = ?", (call.photo,)).fetchone()
            # While others are answered in between, there is no reason to wait longer and longer.
            in_a_row = min(failures, account["streak"])
            again_s = max(failure.retry_after_s, back_off_s(in_a_row))
            db.execute("UPDATE samples SET ready_at = ? WHERE photo = ?", (now + again_s, call.photo))
            # While others are answered, a request that is called bad is a sample that is.
            if failures > limits.retries or (failure.kind == "bad_request" and account["answered"]):
                _set_aside(db, call.photo, failure.kind)
            if down and account["next_call_at"] <= now:  # not for each of those that fail together
                pause_s = max(failure.retry_after_s, back_off_s(account["pauses"] + 1))
                db.execute("UPDATE account SET pauses = pauses + 1, next_call_at = ?", (now + pause_s,))
        if not account["answered"] and failure.kind in _HOPELESS and account["streak"] >= _HOPELESS_AFTER:
            raise AddressVLMError(failure.message)
        if now - account["answered_at"] > limits.patience_s:
            raise Unreachable(
                f"no call was answered for {limits.patience_s:g} s ({failure.message}); "
                "the same command goes on where this one stopped"
            )

    def put_back(self, calls: Sequence[Call], reason: str) -> None:
        """Enter calls that were ended by what ends the job; no other is begun, samples are as before."""
        now = time.time()
        with self._transaction() as db:
            for call in calls:
                _end(db, call, "stopped", reason, now)
            db.execute("UPDATE account SET next_call_at = ?", (now + _UNTIL_ALL_HAVE_STOPPED_S,))

    def release(self, worker: str) -> None:
        """Give up the calls of a worker that is dead."""
        with self._transaction() as db:
            db.execute(
                "UPDATE calls SET outcome = 'lost' WHERE outcome = 'in flight' AND worker = ?", (worker,)
            )
            db.execute("UPDATE samples SET worker = NULL WHERE worker = ?", (worker,))

    def progress(self) -> tuple[int, int]:
        """How many samples are settled, and how many there are."""
        with self._transaction() as db:
            settled, samples = db.execute("SELECT settled, samples FROM account").fetchone()
        return settled, samples

    def account(self) -> dict[str, Any]:
        """What the job has cost so far: calls by outcome, tokens."""
        with self._transaction() as db:
            sums = db.execute("SELECT calls, prompt_tokens, completion_tokens FROM account").fetchone()
            outcomes = db.execute("SELECT outcome, COUNT(*) FROM calls GROUP BY 1 ORDER BY 1").fetchall()
        return {**dict(sums), "outcomes": dict(map(tuple, outcomes))}

    def labels(self) -> dict[str, str]:
        """The label of every photo that has one."""
        with self._transaction() as db:
            return dict(map(tuple, db.execute("SELECT photo, text FROM labels")))

    def rejected(self) -> list[dict[str, Any]]:
        """The samples set aside, in their order: photo, reason, every answer and what was wrong with it."""
        with self._transaction() as db:
            samples = db.execute(
                "SELECT photo, reason FROM samples WHERE state = 'set aside' ORDER BY place"
            ).fetchall()
            answers = db.execute(
                "SELECT photo, reason, text FROM calls WHERE outcome = 'rejected' ORDER BY id"
            ).fetchall()
        by_photo: dict[str, list[dict[str, str]]] = {sample["photo"]: [] for sample in samples}
        for answer in answers:
            if answer["photo"] in by_photo:
                by_photo[answer["photo"]].append({"fault": answer["reason"], "text": answer["text"]})
        return [{**dict(sample), "answers": by_photo[sample["photo"]]} for sample in samples]

    def faults(self) -> dict[str, int]:
        """How many answers were rejected, by kind of fault."""
        with self._transaction() as db:
            rows = db.execute("SELECT reason FROM calls WHERE outcome = 'rejected'").fetchall()
        kinds = [row["reason"].partition(":")[0] for row in rows]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Alone with the file, of all threads and processes; committed at the end, or nothing is."""
        with self._lock, self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Trouble with the file in words: a full disk, a folder that cannot be written, no ledger at all."""
        try:
            yield
        except sqlite3.Error as error:
            raise AddressVLMError(
                f"cannot keep the ledger {self.path}: {error}; no further call is made until it can be "
                "written, then the same command goes on where this one stopped"
            ) from error


def _nothing_ready(db: sqlite3.Connection, account: sqlite3.Row, now: float) -> Claim:
    if account["settled"] == account["samples"]:
        return Claim(done=True)
    (first,) = db.execute(
        "SELECT MIN(ready_at) FROM samples WHERE state = 'open' AND worker IS NULL"
    ).fetchone()
    return Claim(wait_s=0.1 if first is None else max(0.01, min(first - now, 1.0)))


def _end(
    db: sqlite3.Connection, call: Call, outcome: str, reason: str, now: float, reply: Reply | None = None
) -> None:
    text, read, written = "", 0, 0
    if reply is not None:
        text, read, written = reply.text, reply.prompt_tokens or 0, reply.completion_tokens or 0
    db.execute(
        "UPDATE calls SET outcome = ?, reason = ?, ended = ?, text = ?, prompt_tokens = ?, "
        "completion_tokens = ? WHERE id = ?",
        (outcome, reason, now, text, read, written, call.id),
    )
    # A worker that outlived its run may come late: by then another may have the sample.
    db.execute(
        "UPDATE samples SET worker = NULL "
        "WHERE photo = ? AND worker = (SELECT worker FROM calls WHERE id = ?)",
        (call.photo, call.id),
    )
    db.execute(
        "UPDATE account SET prompt_tokens = prompt_tokens + ?, completion_tokens = completion_tokens + ?, "
        "largest_prompt = MAX(largest_prompt, ?), largest_completion = MAX(largest_completion, ?)",
        (read, written, read, written),
    )


def _set_aside(db: sqlite3.Connection, photo: str, reason: str) -> None:
    db.execute(
        "UPDATE samples SET state = 'set aside', reason = ? WHERE photo = ? AND state = 'open'",
        (reason, photo),
    )

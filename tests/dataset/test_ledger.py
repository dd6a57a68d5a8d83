import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from addressvlm.dataset import labelpace
from addressvlm.dataset import ledger as ledgers
from addressvlm.dataset.labelcalls import BudgetSpent, NoAnswer, Reply, Unreachable
from addressvlm.dataset.labeloptions import Limits
from addressvlm.dataset.ledger import Call, Ledger
from addressvlm.errors import AddressVLMError, UsageError

LIMITS = Limits()
GOOD = Reply("a text", prompt_tokens=900, completion_tokens=100)
BAD = ("length", "2 words")
HTML = NoAnswer("web_page", "a web page")
BUSY = NoAnswer("rate_limit", "slow down", retry_after_s=7.0)


class Clock:
    """A time of day that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(ledgers, "time", clock)
    return clock


@pytest.fixture
def open_ledger(tmp_path: Path, clock: Clock) -> Callable[..., Ledger]:
    """A ledger of so many samples; called again, the same file after a kill."""

    def opened(samples: int = 3, *, job: str = "job", tries: int = 2) -> Ledger:
        ledger = Ledger(tmp_path / "ledger.sqlite")
        ledger.begin(job, [f"p{place}" for place in range(samples)], tries)
        return ledger

    return opened


def next_call(ledger: Ledger, worker: str = "w", limits: Limits = LIMITS) -> Call:
    (call,) = ledger.claim(worker, limits).calls
    return call


def answer(ledger: Ledger, call: Call, *, fault: tuple[str, str] | None = None) -> None:
    ledger.settle(call, GOOD, "kept", fault, tries=2)


def test_samples_are_claimed_in_order_and_each_gets_one_label(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger()
    for photo in ("p0", "p1", "p2"):
        call = next_call(ledger)
        assert call.photo == photo
        answer(ledger, call)
    assert ledger.claim("w", LIMITS).done
    assert ledger.labels() == {"p0": "kept", "p1": "kept", "p2": "kept"}
    assert ledger.progress() == (3, 3)


def test_until_one_call_is_answered_there_is_no_second(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger()
    first = next_call(ledger)
    assert ledger.claim("v", LIMITS).calls == ()
    answer(ledger, first)
    assert next_call(ledger, "v").photo == "p1"
    assert next_call(ledger, "w").photo == "p2"


def test_a_rejected_answer_is_tried_again_and_then_set_aside(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(1)
    for number in (0, 1):
        call = next_call(ledger)
        assert call.number == number
        answer(ledger, call, fault=BAD)
    assert ledger.claim("w", LIMITS).done
    (sample,) = ledger.rejected()
    assert (sample["photo"], sample["reason"]) == ("p0", "length")
    assert sample["answers"] == [{"fault": "length: 2 words", "text": "a text"}] * 2
    assert ledger.faults() == {"length": 2}


def test_more_tries_reopen_what_was_set_aside(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(1)
    for _ in range(2):
        answer(ledger, next_call(ledger), fault=BAD)
    assert open_ledger(1, tries=2).claim("w", LIMITS).done
    assert next_call(open_ledger(1, tries=3)).number == 2


def test_what_a_kill_left_in_flight_is_lost_and_asked_again(open_ledger: Callable[..., Ledger]) -> None:
    killed = open_ledger(2)
    answer(killed, next_call(killed))
    call = next_call(killed, "old")
    again = open_ledger(2)
    assert again.account()["outcomes"] == {"accepted": 1, "lost": 1}
    twin = next_call(again, "new")
    assert twin.photo == call.photo
    # The dead worker was not quite dead: its answer counts, and the second one is no second label.
    killed.settle(call, GOOD, "first", None, tries=2)
    again.settle(twin, GOOD, "second", None, tries=2)
    assert again.labels()["p1"] == "first"
    assert again.account()["outcomes"] == {"accepted": 2, "surplus": 1}
    assert again.progress() == (2, 2)


def test_the_calls_of_a_dead_worker_are_released(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(2)
    answer(ledger, next_call(ledger))
    next_call(ledger, "dead")
    ledger.release("dead")
    assert next_call(ledger, "alive").photo == "p1"
    assert ledger.account()["outcomes"] == {"accepted": 1, "in flight": 1, "lost": 1}


def test_a_failure_waits_as_long_as_the_server_wants_while_others_go_on(
    open_ledger: Callable[..., Ledger], clock: Clock
) -> None:
    ledger = open_ledger(2)
    ledger.fail(next_call(ledger), BUSY, LIMITS)
    answer(ledger, next_call(ledger))
    assert 0 < ledger.claim("w", LIMITS).wait_s <= 1
    clock.now += 6.9
    assert not ledger.claim("w", LIMITS).calls
    clock.now += 0.2
    assert next_call(ledger).photo == "p0"


def test_a_sample_that_never_gets_an_answer_is_set_aside(
    open_ledger: Callable[..., Ledger], clock: Clock
) -> None:
    ledger, limits = open_ledger(4), Limits(retries=2)
    for _ in range(3):
        call = next_call(ledger, limits=limits)
        assert call.photo == "p0"
        other = next_call(ledger) if ledger.progress()[0] else None
        ledger.fail(call, NoAnswer("timeout", "no answer"), limits)
        if other is None:
            other = next_call(ledger)
        answer(ledger, other)
        clock.now += 100
    assert [sample["reason"] for sample in ledger.rejected()] == ["timeout"]


def test_a_server_that_is_down_is_probed_now_and_then_and_no_sample_suffers(
    open_ledger: Callable[..., Ledger], clock: Clock
) -> None:
    # Eight failures in a row and it is down: before that no sample can have failed more than eight times.
    ledger, limits = open_ledger(20), Limits(concurrency=4, retries=8, patience_s=10_000)
    answer(ledger, next_call(ledger))
    down = NoAnswer("server_error", "down")
    probes = 0
    for _ in range(2000):  # seconds
        claim = ledger.claim("w", limits)
        if claim.calls:
            ledger.fail(claim.calls[0], down, limits)
            probes += 1
        clock.now += 1
    assert ledger.rejected() == []
    assert 8 + 2000 / 90 < probes < 8 + 2000 / 20
    clock.now += 100
    answer(ledger, next_call(ledger))
    assert len(ledger.claim("w", limits, most=5).calls) == 5


def test_what_a_server_that_went_down_cost_with_few_retries_is_asked_for_again_by_the_next_run(
    open_ledger: Callable[..., Ledger], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelpace.random, "uniform", lambda low, high: low)  # the first one is back at once
    ledger, limits = open_ledger(20), Limits(concurrency=4, retries=3, patience_s=10_000)
    answer(ledger, next_call(ledger))
    for _ in range(60):
        claim = ledger.claim("w", limits)
        if claim.calls:
            ledger.fail(claim.calls[0], NoAnswer("server_error", "down"), limits)
        clock.now += 1
    assert [sample["photo"] for sample in ledger.rejected()] == ["p1"]
    ledger = open_ledger(20)
    assert ledger.rejected() == []
    assert next_call(ledger).photo == "p1"


def test_calls_that_fail_together_are_one_pause(open_ledger: Callable[..., Ledger], clock: Clock) -> None:
    ledger, limits = open_ledger(40), Limits(concurrency=16)
    answer(ledger, next_call(ledger))
    for _ in range(2):
        for call in [next_call(ledger, limits=limits) for _ in range(16)]:
            ledger.fail(call, NoAnswer("timeout", "no answer"), limits)
        clock.now += 0.1
    pause_s = ledger.claim("w", limits).wait_s
    assert 0.3 < pause_s < 1.5
    clock.now += pause_s
    assert len(ledger.claim("w", limits).calls) == 1
    assert ledger.claim("v", limits).calls == ()


def test_without_any_answer_a_job_is_patient_and_then_stops(
    open_ledger: Callable[..., Ledger], clock: Clock
) -> None:
    ledger, limits = open_ledger(50), Limits(patience_s=60)
    ledger.fail(next_call(ledger), NoAnswer("timeout", "no answer within 5 s"), limits)
    clock.now += 61
    with pytest.raises(Unreachable, match="60 s .no answer within 5 s.*same command"):
        ledger.fail(next_call(ledger), NoAnswer("timeout", "no answer within 5 s"), limits)


def test_three_web_pages_and_no_answer_ever_end_a_job(
    open_ledger: Callable[..., Ledger], clock: Clock
) -> None:
    ledger = open_ledger(5)
    for _ in range(2):
        ledger.fail(next_call(ledger), HTML, LIMITS)
    with pytest.raises(AddressVLMError, match="a web page"):
        ledger.fail(next_call(ledger), HTML, LIMITS)


def test_a_request_that_is_called_bad_while_others_are_answered_is_set_aside(
    open_ledger: Callable[..., Ledger],
) -> None:
    ledger = open_ledger(2)
    answer(ledger, next_call(ledger))
    ledger.fail(next_call(ledger), NoAnswer("bad_request", "too many tokens"), LIMITS)
    assert ledger.rejected() == [{"photo": "p1", "reason": "bad_request", "answers": []}]


def test_calls_are_spread_evenly_over_a_minute(open_ledger: Callable[..., Ledger], clock: Clock) -> None:
    ledger, limits = open_ledger(3), Limits(requests_per_minute=30)
    answer(ledger, next_call(ledger, limits=limits))
    assert ledger.claim("w", limits).wait_s == pytest.approx(2.0)
    clock.now += 2.0
    answer(ledger, next_call(ledger, limits=limits))
    assert ledger.claim("w", limits).wait_s == pytest.approx(2.0)


def test_a_budget_of_calls_counts_those_of_killed_runs(open_ledger: Callable[..., Ledger]) -> None:
    limits = Limits(budget_calls=3)
    ledger = open_ledger(5)
    answer(ledger, next_call(ledger, limits=limits))
    next_call(ledger, limits=limits)
    again = open_ledger(5)
    answer(again, next_call(again, limits=limits))
    with pytest.raises(BudgetSpent, match="3 calls and 2000 tokens: 2 of 5 samples") as stopped:
        again.claim("w", limits)
    assert stopped.value.exit_code == 4
    assert next_call(again, limits=Limits(budget_calls=4)).photo == "p2"


def test_a_budget_of_tokens_is_never_passed(open_ledger: Callable[..., Ledger]) -> None:
    # A call takes 1000 tokens: with 2500, a third one, or two more at the same time, might be too many.
    ledger, limits = open_ledger(5), Limits(budget_tokens=2500)
    answer(ledger, next_call(ledger, limits=limits))
    second = next_call(ledger, limits=limits)
    assert ledger.claim("v", limits) == ledgers.Claim(wait_s=0.1)
    answer(ledger, second)
    with pytest.raises(BudgetSpent, match="2 calls and 2000 tokens"):
        ledger.claim("w", limits)


def test_a_budget_of_money_needs_prices_and_is_kept_by_them(open_ledger: Callable[..., Ledger]) -> None:
    with pytest.raises(UsageError, match="price_in"):
        Limits(budget_cost=1.0)
    # 900 tokens read at 1 and 100 written at 10 a million are 0.0019 a call.
    limits = Limits(budget_cost=0.004, price_in=1.0, price_out=10.0)
    ledger = open_ledger(5)
    for _ in range(2):
        answer(ledger, next_call(ledger, limits=limits))
    with pytest.raises(BudgetSpent):
        ledger.claim("w", limits)


def test_threads_never_share_a_sample(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(60)
    answer(ledger, next_call(ledger))

    def work(worker: str) -> None:
        while (claim := ledger.claim(worker, LIMITS)).calls:
            answer(ledger, claim.calls[0])

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.account()["outcomes"] == {"accepted": 60}


def test_the_ledger_of_another_job_is_refused(open_ledger: Callable[..., Ledger]) -> None:
    open_ledger(job="this")
    with pytest.raises(UsageError, match="ledger.sqlite is the ledger of another job"):
        open_ledger(job="that")


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be told apart" * 20, None])
def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ledger.sqlite"
    if content is None:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE notes (text)")
        other.close()
    else:
        path.write_bytes(content)
    with pytest.raises(AddressVLMError, match="ledger.sqlite"):
        Ledger(path)


def test_a_full_disk_is_told_and_nothing_is_half_entered(
    open_ledger: Callable[..., Ledger],
) -> None:
    ledger = open_ledger(300)
    answer(ledger, next_call(ledger))
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    call = next_call(ledger)
    long = Reply("x" * 100_000)
    with pytest.raises(AddressVLMError, match="ledger.sqlite: database or disk is full; no further call"):
        ledger.settle(call, long, "x" * 100_000, None, tries=2)
    assert ledger.labels() == {"p0": "kept"}
    ledger._db.execute(f"PRAGMA max_page_count = {pages + 100}")
    ledger.settle(call, long, "kept", None, tries=2)
    assert len(ledger.labels()) == 2

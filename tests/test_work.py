import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from addressvlm.work import in_processes, track


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(in_processes(math.sqrt, [1.0, 4.0, 9.0, 16.0], workers=2)) == [1, 2, 3, 4]


def test_nothing_to_do_is_no_error() -> None:
    assert list(in_processes(math.sqrt, [], workers=2)) == []


def test_an_error_in_a_worker_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match="math domain error|expected a nonnegative"):
        list(in_processes(math.sqrt, [1.0, -1.0], workers=2))


def test_track_yields_every_item() -> None:
    assert list(track([1, 2, 3], "counting")) == [1, 2, 3]


def sleeping_job(folder: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A job with two workers that have more to do than anybody would wait for, and its children."""
    code = (
        "import signal, time; from addressvlm.work import in_processes\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # shells let it be ignored behind them
        "if __name__ == '__main__': list(in_processes(time.sleep, [60.0] * 6, workers=2))\n"
    )
    script = folder / "job.py"
    script.write_text(code)
    job = subprocess.Popen([sys.executable, script])
    children: list[int] = []
    deadline = time.monotonic() + 20
    while len(children) < 3 and time.monotonic() < deadline:  # two workers and the resource tracker
        time.sleep(0.1)
        children = [int(pid) for pid in Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()]
    time.sleep(1.0)  # the workers install their watch when they start
    return job, children


def assert_gone(children: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(children) == 3
    assert not any(_alive(pid) for pid in children)


def test_an_interrupted_parent_does_not_wait_for_its_workers(tmp_path: Path) -> None:
    job, children = sleeping_job(tmp_path)
    job.send_signal(signal.SIGINT)
    assert job.wait(20) != 0
    assert_gone(children)


def test_who_takes_no_more_results_does_not_wait_for_the_others() -> None:
    begun = time.monotonic()
    results = in_processes(time.sleep, [0.0, 60.0, 60.0], workers=2, chunk=1)
    next(results)
    assert isinstance(results, Generator)
    results.close()
    assert time.monotonic() - begun < 30


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    job, children = sleeping_job(tmp_path)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert_gone(children)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()

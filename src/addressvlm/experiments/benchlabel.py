"""A label job against a server as bad as they come: exactly one label a sample, killed or not, and what it
costs.

The server is `labelserver`, on loopback, in a process of its own. Two jobs label the same made-up samples:
one is left alone and timed, the other is killed again and again, now the job itself, now one of its workers.
What a job costs beside its calls is measured without faults, in turns with a client that only asks.
"""

import contextlib
import http.client
import json
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from addressvlm.dataset.describing import alignment_question
from addressvlm.dataset.files import grafted_file, save_picture
from addressvlm.dataset.labeloptions import LabelOptions
from addressvlm.dataset.labelprompts import prompts_of
from addressvlm.dataset.labelworkers import GAZETTEER
from addressvlm.dataset.options import DatasetOptions
from addressvlm.dataset.tables import read_table, table_path, write_table
from addressvlm.environment import environment
from addressvlm.experiments.labelserver import Faults, main
from addressvlm.experiments.results import publish
from addressvlm.folders import CONFIG, SUMMARY, read_json, sha256, write_atomically, write_json
from addressvlm.inference.endpoint import content
from addressvlm.work import say

_STREETS, _DISTRICTS = 40, 8


@dataclass(frozen=True)
class LabelBench:
    """How large the two jobs are, and how bad the server is."""

    samples: int = 5000
    """Samples to label."""
    concurrency: int = 8
    """Calls in flight."""
    workers: int = 2
    """Processes that make them."""
    kills: int = 50
    """How often the second job, or one of its workers, is killed."""
    timeouts: float = 0.2
    """Share of calls that are never answered."""
    rate_limits: float = 0.1
    """Share of calls that are answered with 429."""
    garbage: float = 0.05
    """Share of calls that are answered with web pages, torn or empty bodies, refusals, told hints."""
    service_s: float = 0.3
    """Mean time of an answer."""
    timeout_s: float = 1.5
    """When the client gives up."""
    steady: int = 600
    """Samples of a job without faults, and calls of the client that only asks."""
    turns: int = 3
    """How often these two take turns."""
    seed: int = 0
    """Of the faults and of the kills."""


def bench_labels(out: Path, bench: LabelBench) -> dict[str, Any]:
    """Run both jobs under `out` and count; the folder must be empty or not there."""
    dataset = out / "dataset"
    write_samples(dataset, bench.samples)
    with _server(bench) as port:
        say("the job that is left alone")
        calm = _calm(dataset, out / "calm", bench, port)
    with _server(bench) as port:
        say(f"the job that is killed {bench.kills} times")
        killed = _killed(dataset, out / "killed", bench, port)
    say(f"jobs without faults and a client that only asks, {bench.turns} turns")
    lanes = _steady(out, bench)
    same = sha256(table_path(out / "calm", "alignment")) == sha256(table_path(out / "killed", "alignment"))
    return {
        **asdict(bench),
        "calm": calm,
        "killed": killed,
        "lanes": lanes,
        "same_bytes": same,
        **environment(),
    }


def write_samples(folder: Path, number: int) -> None:
    """A data set of `number` samples that share one blurred picture, on streets that do not exist."""
    streets = [f"{place + 1} Street" for place in range(_STREETS)]
    districts = [f"District {chr(65 + place)}" for place in range(_DISTRICTS)]
    folder.mkdir(parents=True)
    rows = [
        {
            "photo": f"p{place:06d}",
            "location": f"l{place // 4:06d}",
            "images": [grafted_file("shared")],
            "question": alignment_question(("district", "street"), "graft"),
            "answer": "",
            "district": districts[place % _DISTRICTS],
            "street": streets[place % _STREETS],
            "map_names": [streets[place % _STREETS], streets[(place + 1) % _STREETS]],
        }
        for place in range(number)
    ]
    spots = np.random.default_rng(0).integers(0, 256, (42, 42, 3), np.uint8)
    save_picture(Image.fromarray(spots).resize((336, 336)), folder, grafted_file("shared"), "")
    for name in ("train", "val", "test"):
        write_table(folder, name, [])
    write_table(folder, "alignment", rows)
    names = [("street", street) for street in streets] + [("district", district) for district in districts]
    gazetteer = [{"level": level, "name": name, "spellings": [name]} for level, name in names]
    pq.write_table(pa.Table.from_pylist(gazetteer), folder / GAZETTEER)
    write_json(folder / CONFIG, {"step": "dataset", **asdict(DatasetOptions())})
    about = {"city": "Nowhere", "levels": ["district", "street"], "attribution": "", "licence": ""}
    write_json(folder / SUMMARY, {**about, "sha256": {}})


def _calm(dataset: Path, out: Path, bench: LabelBench, port: int) -> dict[str, Any]:
    begun = time.monotonic()
    done = subprocess.run(_command(dataset, out, bench, port), stdout=subprocess.PIPE, check=True)  # noqa: S603
    seconds = time.monotonic() - begun
    log = _log(port)
    calling_s = log["last"] - log["first"]
    return {
        **_counted(json.loads(done.stdout), out, bench, log),
        "seconds": seconds,
        "calling_s": calling_s,
        "ideal_s": log["busy_s"] / bench.concurrency,
        "overhead": calling_s * bench.concurrency / log["busy_s"] - 1,
        "calls_a_second": log["calls"] / calling_s,
    }


def _killed(dataset: Path, out: Path, bench: LabelBench, port: int) -> dict[str, Any]:
    dice, begun, kills, workers_killed = random.Random(bench.seed), time.monotonic(), 0, 0
    # So that the kills are spread over the work: about as much of it between two as there are.
    work_s = bench.samples * 1.6 * bench.service_s / bench.concurrency
    while True:
        job = subprocess.Popen(_command(dataset, out, bench, port), stdout=subprocess.PIPE)  # noqa: S603
        while kills < bench.kills and _calls(port, job):
            try:
                job.wait(dice.uniform(0, 1.6 * work_s / bench.kills))
                break
            except subprocess.TimeoutExpired:
                kills += 1
            children = _children(job.pid)
            if children and dice.random() < 0.5:
                workers_killed += 1
                with contextlib.suppress(ProcessLookupError):
                    os.kill(dice.choice(children), signal.SIGKILL)
                continue
            job.kill()
            break
        told, _ = job.communicate()
        if job.returncode == 0:
            break
        assert job.returncode == -signal.SIGKILL, f"the job ended with {job.returncode}"
    log = _log(port)
    return {
        **_counted(json.loads(told), out, bench, log),
        "kills": kills,
        "workers_killed": workers_killed,
        "seconds": time.monotonic() - begun,
    }


def _steady(out: Path, bench: LabelBench) -> dict[str, Any]:
    """Seconds without faults, once all calls are in flight: of jobs, and of a client that only asks.

    A job's first call is alone until it is answered (a refused key costs one call), so the first calls, two
    for each that may be in flight, do not count.
    """
    calm = replace(bench, timeouts=0.0, rate_limits=0.0, garbage=0.0)
    dataset = out / "steady"
    write_samples(dataset, bench.steady)
    body, skipped = _first_request(dataset), 2 * bench.concurrency
    lanes: dict[str, list[float]] = {"asking_s": [], "job_s": [], "ideal_s": []}
    for turn in range(bench.turns):
        with _server(calm) as port:
            context = multiprocessing.get_context("spawn")
            only = context.Process(target=ask_only, args=(port, body, bench.steady, bench.concurrency))
            only.start()
            only.join()
            log = _log(port)
        lanes["asking_s"].append(log["last"] - log["begun"][skipped])
        lanes["ideal_s"].append(log["busy_s"] / log["calls"] * (log["calls"] - skipped) / bench.concurrency)
        with _server(calm) as port:
            command = _command(dataset, out / f"steady-{turn}", bench, port)
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)  # noqa: S603
            log = _log(port)
        lanes["job_s"].append(log["last"] - log["begun"][skipped])
        assert log["calls"] == bench.steady, "no call is repeated where nothing fails"
    middle = {name: statistics.median(seconds) for name, seconds in lanes.items()}
    return {
        **{name: [round(one, 3) for one in seconds] for name, seconds in lanes.items()},
        "overhead": middle["job_s"] / middle["asking_s"] - 1,
        "asking_overhead": middle["asking_s"] / middle["ideal_s"] - 1,
    }


def ask_only(port: int, body: bytes, calls: int, concurrency: int) -> None:
    """Send one body again and again over `concurrency` connections, and read and forget what is answered."""
    left = iter(range(calls))  # `next` of it is one step for all threads

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for _ in left:
            connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            connection.getresponse().read()

    threads = [threading.Thread(target=ask) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _first_request(dataset: Path) -> bytes:
    """What a job would send about the first sample."""
    prompts = prompts_of(read_json(dataset / SUMMARY), read_json(dataset / CONFIG), LabelOptions())
    ask = prompts.ask(read_table(dataset, "alignment").slice(0, 1).to_pylist()[0], dataset, 0)
    return json.dumps({"model": "parrot", "messages": [{"role": "user", "content": content(ask)}]}).encode()


def _counted(
    result: Mapping[str, Any], out: Path, bench: LabelBench, log: Mapping[str, Any]
) -> dict[str, Any]:
    """What came of a job, by its own ledger and by the server's."""
    photos = read_table(out, "alignment", ["photo"])["photo"].to_pylist()
    account = result["account"]
    outcomes = dict(account["outcomes"])
    lost = outcomes.get("lost", 0) + outcomes.get("surplus", 0)
    retries = sum(outcomes.values()) - outcomes["accepted"] - lost
    return {
        "labels": len(photos),
        "duplicates": len(photos) - len(set(photos)),
        "set_aside": result["labels"]["set_aside"]["samples"],
        "calls": account["calls"],
        "outcomes": outcomes,
        "calls_at_the_server": log["calls"],
        "answers_at_the_server": log["outcomes"],
        "retries": retries,
        "lost_in_flight": lost,
        "calls_accounted_for": account["calls"] == bench.samples + retries + lost,
    }


def _command(dataset: Path, out: Path, bench: LabelBench, port: int) -> list[str]:
    program = "from addressvlm.cli.main import run; run()"
    options = {
        "--out": out,
        "--endpoint": f"http://127.0.0.1:{port}/v1",
        "--model": "parrot",
        "--timeout-s": bench.timeout_s,
        "--concurrency": bench.concurrency,
        "--workers": bench.workers,
        "--retries": 20,
        "--tries": 10,
    }
    given = [str(word) for option in options.items() for word in option]
    return [sys.executable, "-c", program, "label", str(dataset), *given, "--json"]


@contextlib.contextmanager
def _server(bench: LabelBench) -> Iterator[int]:
    faults = Faults(
        bench.timeouts, bench.rate_limits, bench.garbage, bench.service_s, hang_s=60.0, seed=bench.seed
    )
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=main, args=(faults, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def _calls(port: int, job: "subprocess.Popen[bytes]") -> bool:
    """Wait for a further call: what is killed while it is imported proves little. False when the job ends."""
    before = _log(port)["calls"]
    while job.poll() is None:
        if _log(port)["calls"] > before:
            return True
        time.sleep(0.1)
    return False


def _log(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/log") as response:  # noqa: S310
        log: dict[str, Any] = json.load(response)
    return log


def _children(pid: int) -> list[int]:
    """The worker processes of a job, where the system tells."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        children = [int(child) for child in listing.read_text().split()]
        return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []


def bench_label_table(result: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    calm, killed, lanes = result["calm"], result["killed"], result["lanes"]
    ideal, asking, job = (statistics.median(lanes[name]) for name in ("ideal_s", "asking_s", "job_s"))
    rows = [
        ("labels", calm["labels"], killed["labels"]),
        ("duplicates", calm["duplicates"], killed["duplicates"]),
        ("set aside", calm["set_aside"], killed["set_aside"]),
        ("calls", calm["calls"], killed["calls"]),
        ("of these repeated after a failure or a rejected answer", calm["retries"], killed["retries"]),
        ("of these lost in flight", calm["lost_in_flight"], killed["lost_in_flight"]),
        ("kills", 0, killed["kills"]),
        ("seconds", round(calm["seconds"]), round(killed["seconds"])),
    ]
    faults = ", ".join(
        f"{100 * result[name]:g} % {words}"
        for name, words in (("timeouts", "time-outs"), ("rate_limits", "429"), ("garbage", "garbage"))
    )
    return "\n".join(
        [
            f"{result['samples']} samples, {result['concurrency']} calls in flight, "
            f"{result['workers']} worker processes; a server on loopback with {faults}, "
            f"{result['service_s']:g} s an answer.",
            "",
            "| | left alone | killed |",
            "|---|---|---|",
            *(f"| {name} | {one} | {other} |" for name, one, other in rows),
            "",
            "Both tables of labels are "
            f"{'the same bytes' if result['same_bytes'] else 'DIFFERENT'}. Left alone, the job took "
            f"{calm['calling_s']:.1f} s from its first call to its last, the waits before failed calls are "
            "repeated included; with all calls always in flight the server would have taken "
            f"{calm['ideal_s']:.1f} s.",
            "",
            f"Without faults, {result['steady']} calls but for the first {2 * result['concurrency']}, "
            f"medians of {result['turns']} turns:",
            "",
            "| | seconds | more |",
            "|---|---|---|",
            f"| mean service time / calls in flight | {ideal:.2f} | |",
            f"| a client that only asks | {asking:.2f} | {100 * lanes['asking_overhead']:.1f} % |",
            f"| the job | {job:.2f} | {100 * lanes['overhead']:.1f} % more than that client |",
            "",
        ]
    )


def publish_bench_label(result: Mapping[str, Any], folder: Path, command: str) -> None:
    """Write bench-label.json and bench-label.md into a folder."""
    publish(dict(result), folder / "bench-label.json", command)
    with write_atomically(folder / "bench-label.md") as temporary:
        temporary.write_text(bench_label_table(result), "utf-8")

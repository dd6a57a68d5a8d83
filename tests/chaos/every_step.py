"""Kill every step from raw files to exports with SIGKILL, many times each, and compare every byte.

    nice python tests/chaos/every_step.py --kills 50 --data DATA --results chaos.jsonl

Each step runs in a fork of this process, which has imported everything, so that kills hit the work and not
the imports. A kill comes after a random time, or in the middle of changing files: before a random one of the
openings for writing, renames, links and removals of the step. One line of JSON a step; exit code 1 where any
byte differs. `DATA` is the folder of docs/real-cities.md; without it all inputs are made up.
"""

import argparse
import csv
import importlib
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mercantile
import numpy as np
from kill import digests
from PIL import Image

from addressvlm.cli.main import exit_code
from addressvlm.experiments.labelserver import Faults
from addressvlm.experiments.labelserver import main as serve

_CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}
_LOCKED = 3  # the exit code when the workers of a killed job have not yet noticed
_FORMATS = ("llava", "sharegpt", "imagefolder", "parquet", "webdataset", "lmms-eval", "vlmevalkit")


@dataclass(frozen=True)
class Step:
    """A command that writes into the folder it is given; `before` puts into the folder what must be there.

    Files in `apart` say how the work went (a ledger of calls), so they may differ. A `slow` step, whose
    worker processes take longer to start than to work, is killed a fifth as often.
    """

    name: str
    command: Callable[[Path], list[str]]
    before: Callable[[Path], None] = lambda folder: None
    apart: tuple[str, ...] = ()
    slow: bool = False


@dataclass(frozen=True)
class Life:
    """A run that ended by itself or was killed, how long it was, and how often it changed files."""

    code: int
    seconds: float
    changes: int = 0
    modules: tuple[str, ...] = ()


def live(command: list[str], *, life_s: float | None = None, change: int | None = None) -> Life:
    """Run a command line in a fork, killed after `life_s` or before its `change`-th change of a file."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(command, change, sender)
    sender.close()
    told: list[Any] = []
    try:
        if receiver.poll(life_s):
            with suppress(EOFError):
                told = receiver.recv()
    finally:  # also when this process is told to end
        if not told:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if not told:
        return Life(-signal.SIGKILL, time.monotonic() - begun)
    code, changes, modules, words = told
    if code not in (0, _LOCKED):
        print(words, file=sys.stderr)
    return Life(code, time.monotonic() - begun, changes, modules)


def _child(command: list[str], change: int | None, sender: Any) -> None:
    """Never returns: the process becomes the command."""
    words = io.StringIO()
    sys.stdout = sys.stderr = words
    known, changes = set(sys.modules), 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if event in _CHANGES or writes:
            changes += 1
            if changes == change:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    try:
        code = exit_code(command)
    except BaseException:
        traceback.print_exc()
        code = 1
    sender.send((code, changes, tuple(set(sys.modules) - known), words.getvalue()[-2000:]))
    os._exit(0)


def torment(step: Step, kills: int, seed: int, scratch: Path) -> dict[str, Any]:
    """Kill a step until it has been killed so often, in as many rounds as that takes."""
    folder, dice = scratch / "out", random.Random(f"{seed} {step.name}")
    for _ in range(2):  # the second time with all modules at hand
        whole = _fresh(step, folder)
        for module in whole.modules:
            with suppress(Exception):
                importlib.import_module(module)
    wanted, kills = _digests(step, folder), kills // 5 if step.slow else kills
    by_time = by_change = rounds = 0
    different: set[str] = set()
    while by_time + by_change < kills:
        shutil.rmtree(folder)
        step.before(folder)
        rounds += 1
        while True:
            if by_time + by_change >= kills:
                life = live(step.command(folder))
            elif dice.random() < 0.5:
                life = live(step.command(folder), life_s=dice.uniform(0, whole.seconds))
                by_time += life.code == -signal.SIGKILL
            else:
                life = live(step.command(folder), change=dice.randint(1, whole.changes))
                by_change += life.code == -signal.SIGKILL
            if life.code == 0:
                break
            if life.code == _LOCKED:
                time.sleep(0.3)
            elif life.code != -signal.SIGKILL:
                raise SystemExit(f"{step.name}: exit code {life.code} after {by_time + by_change} kills")
        found = _digests(step, folder)
        different |= {name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)}
    return {
        "step": step.name,
        "seed": seed,
        "kills": by_time + by_change,
        "while_changing_files": by_change,
        "rounds": rounds,
        "files": len(wanted),
        "seconds_undisturbed": round(whole.seconds, 2),
        "changes_undisturbed": whole.changes,
        "identical": not different,
        **({"different": sorted(different)[:10]} if different else {}),
    }


def _fresh(step: Step, folder: Path) -> Life:
    shutil.rmtree(folder, ignore_errors=True)
    step.before(folder)
    life = live(step.command(folder))
    if life.code:
        raise SystemExit(f"{step.name}: exit code {life.code} although left alone")
    return life


def _digests(step: Step, folder: Path) -> Mapping[str, str]:
    apart = {name + more for name in step.apart for more in ("", "-wal", "-shm")}
    return {name: digest for name, digest in digests(folder).items() if name not in apart}


def steps(inputs: Path, data: Path | None, port: int) -> list[Step]:
    """Every step, on inputs made under `inputs`."""
    town, city, dataset = inputs / "town" / "city.toml", inputs / "city", inputs / "dataset"
    _write_town(town.parent)
    _make("city", "build", town, "--out", city)
    _make("dataset", "build", city, "--out", dataset, "--image-px", 112)
    tiles = f"{town.parent}/tiles/{{z}}/{{x}}/{{y}}.png"

    def copy(source: Path, *but: str) -> Callable[[Path], None]:
        return lambda folder: _copy(source, folder, but)

    found = [
        Step("city build city.toml", _line("city", "build", town, "--workers", 1)),
        Step(
            "city build mini:5",
            _line("city", "build", "mini:5", "--locations", 4, "--views", 2, "--workers", 1),
        ),
        Step(
            "city imagery",
            lambda folder: ["city", "imagery", str(folder), "--satellite", tiles],
            copy(city, "tiles"),
        ),
        Step("city show", lambda folder: ["city", "show", str(folder)], copy(city)),
        Step("dataset build", _line("dataset", "build", city, "--image-px", 112, "--workers", 1)),
        Step("dataset show", lambda folder: ["dataset", "show", str(folder)], copy(dataset)),
        *(Step(f"export {name}", _line("export", dataset, "--format", name)) for name in _FORMATS),
        Step(
            "label",
            _line("label", dataset, "--endpoint", f"http://127.0.0.1:{port}/v1", "--model", "parrot"),
            apart=("ledger.sqlite",),
        ),
        Step("2 processes: city build", _line("city", "build", town, "--workers", 2), slow=True),
        Step(
            "2 processes: dataset build",
            _line("dataset", "build", city, "--image-px", 112, "--workers", 2),
            slow=True,
        ),
    ]
    if data is not None:
        toml = inputs / "stuttgart.toml"
        toml.write_text(_stuttgart(data / "stuttgart_streetscapes"))
        real = Step("city build Stuttgart", _line("city", "build", toml, "--workers", 1, "--photo-px", 384))
        found.insert(0, real)
    return found


def _line(*words: object) -> Callable[[Path], list[str]]:
    return lambda folder: [*map(str, words), "--out", str(folder)]


def _make(*words: object) -> None:
    life = live([*map(str, words)])
    if life.code:
        raise SystemExit(f"{words} ended with {life.code}")


def _copy(source: Path, folder: Path, but: tuple[str, ...]) -> None:
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*but))


def _stuttgart(data: Path) -> str:
    districts = Path(__file__).parents[2] / "examples" / "stuttgart" / "districts.geojson"
    return (
        f'name = "Stuttgart"\nphotos = "{data}/views.csv"\nstreets = "{data}/osm_streets_stuttgart.geojson"\n'
        f'districts = "{districts}"\nsatellite = "streets"\n[columns]\nlocation = "location_uuid"\n'
    )


def _write_town(folder: Path, streets: int = 8, places: int = 6) -> None:
    """Streets of 400 m that run north, 80 m apart, two districts, noise for photos and tiles."""
    dice = np.random.default_rng(0)
    lines, rows = [], []
    folder.mkdir()
    for street in range(streets):
        lon = 9.0 + 0.001 * street
        lines.append(_feature(f"{street + 1} Street", "LineString", [[lon, 45.0], [lon, 45.004]]))
        for place in range(places):
            file = f"{street}-{place}.jpg"
            Image.fromarray(dice.integers(0, 256, (240, 320, 3), np.uint8)).save(folder / file)
            rows.append({"file": file, "lat": round(45.0003 + 0.0006 * place, 6), "lon": lon})
    areas = [
        _feature(name, "Polygon", _ring(*ends))
        for name, ends in (("West", (8.99, 9.0035)), ("East", (9.0035, 9.02)))
    ]
    for name, features in (("streets", lines), ("districts", areas)):
        text = json.dumps({"type": "FeatureCollection", "features": features})
        (folder / f"{name}.geojson").write_text(text)
    with (folder / "photos.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    for tile in mercantile.tiles(8.997, 44.998, 9.010, 45.006, 17):
        path = folder / "tiles" / "17" / str(tile.x) / f"{tile.y}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dice.integers(0, 256, (256, 256, 3), np.uint8)).save(path)
    (folder / "city.toml").write_text(
        'name = "Town"\nphotos = "photos.csv"\nstreets = "streets.geojson"\ndistricts = "districts.geojson"\n'
        'satellite = "tiles/{z}/{x}/{y}.png"\n'
    )


def _feature(name: str, kind: str, coordinates: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": {"name": name}, "geometry": geometry}


def _ring(west: float, east: float) -> list[list[list[float]]]:
    return [[[west, 44.99], [east, 44.99], [east, 45.02], [west, 45.02], [west, 44.99]]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", default="", help="steps whose names begin so, with commas between")
    parser.add_argument("--results", type=Path, help="also append the lines here")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(Faults(service_s=0.2), theirs), daemon=True)
    server.start()
    identical = True
    with tempfile.TemporaryDirectory() as scratch:
        data = arguments.data and arguments.data.resolve()
        for step in steps(Path(scratch), data, ours.recv()):
            if not step.name.startswith(tuple(arguments.only.split(","))):
                continue
            line = json.dumps(result := torment(step, arguments.kills, arguments.seed, Path(scratch)))
            identical &= result["identical"]
            print(line, flush=True)
            if arguments.results:
                with arguments.results.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
    server.kill()
    sys.exit(not identical)


if __name__ == "__main__":
    main()

"""The same loops on a Ray cluster of this machine, in a process of their own: Ray wants a clean one."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from addressvlm.cities.build import build_city
from addressvlm.dataset.build import build_dataset
from addressvlm.folders import read_json

JOB = """
import json, os, signal, sys
from functools import partial
from pathlib import Path

from addressvlm.cities.build import build_city
from addressvlm.cities.own import OwnSource
from addressvlm.dataset.build import build_dataset
from addressvlm.dataset.describing import rule_based_describe
from addressvlm.work import in_processes


def die_once(mark):
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


class Describe:
    def __init__(self, mark):
        self.mark = mark

    def __call__(self, pictures, prompt):
        die_once(self.mark)
        return rule_based_describe(pictures, prompt)


class Writer:
    def __init__(self, mark, writer):
        self.mark, self.writer = mark, writer

    def photo(self, row, path):
        die_once(self.mark)
        return self.writer.photo(row, path)


def square(mark, number):
    if number == 5:
        die_once(mark)
    if number == 99:
        raise ValueError("ninety-nine")
    return number * number


town, folder = map(Path, sys.argv[1:])
found = {"squares": list(in_processes(partial(square, folder / "died"), list(range(40)), workers="ray"))}
try:
    list(in_processes(partial(square, folder / "died"), [1, 99], workers="ray"))
except ValueError as error:
    found["error"] = str(error)
build_dataset(town, folder / "data", image_px=64, workers="ray", describe=Describe(folder / "died too"))
writer = OwnSource.writer.fget
OwnSource.writer = property(lambda source: Writer(folder / "died at last", writer(source)))
build_city(folder / "city.toml", folder / "city", workers="ray")
print(json.dumps(found))
"""

CITY = """
name = "Gridville"
photos = "photos.csv"
streets = "{town}/streets.parquet"
districts = "{town}/districts.parquet"
satellite = "streets"
duplicates = "keep"
"""


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes_though_workers_are_killed(tmp_path: Path, town: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(JOB)
    build_dataset(town, tmp_path / "local", image_px=64, workers=1)
    photos = pd.read_parquet(town / "photos.parquet", columns=["file", "lat", "lon", "location"])
    photos["file"] = [str(town / file) for file in photos["file"]]
    photos.to_csv(tmp_path / "photos.csv", index=False)
    (tmp_path / "city.toml").write_text(CITY.format(town=town))
    build_city(tmp_path / "city.toml", tmp_path / "local city", workers=1)
    done = subprocess.run(
        [sys.executable, script, town, tmp_path], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)  # and nothing else
    assert (tmp_path / "died").exists()
    assert (tmp_path / "died too").exists()
    assert (tmp_path / "died at last").exists()
    assert found == {"squares": [number * number for number in range(40)], "error": "ninety-nine"}
    for local, cluster in (("local", "data"), ("local city", "city")):
        summaries = [read_json(tmp_path / name / "summary.json") for name in (local, cluster)]
        assert summaries[0] == summaries[1]

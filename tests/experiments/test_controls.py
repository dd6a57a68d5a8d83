"""The controls on a town of a mini city: every arm, few steps, a model that knows nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from PIL import Image

from addressvlm.dataset.options import DatasetOptions
from addressvlm.experiments import controls
from addressvlm.experiments.controls import (
    ARMS,
    ASIDE,
    BOTH,
    BOTH_PLATEAU,
    CHANGED,
    PLATEAU,
    STAGE_2,
    ZERO_SHOT,
    ControlsPlan,
    run_controls,
)
from addressvlm.experiments.controlstables import controls_overview, controls_table, publish_controls
from addressvlm.experiments.swapping import swap_photos
from addressvlm.folders import read_json
from addressvlm.inference.localizer import Localizer
from addressvlm.inference.prompts import Request
from addressvlm.model import presets
from addressvlm.model.presets import Tower
from addressvlm.training.stages import ALIGNMENT, LOCALIZATION, from_scratch

SMALL = replace(
    presets.PRESETS["mini"],
    vision=Tower("clip", width=24, layers=1, heads=2, mlp=24),
    text=Tower("phi3", width=16, layers=1, heads=2, mlp=16),
)
PLAN = ControlsPlan(
    cities=("mini:3",),
    seeds=2,
    locations=15,
    views=2,
    base="random:small",
    dataset=DatasetOptions(image_px=112, split=(0.6, 0.2, 0.2)),
    alignment=replace(from_scratch(ALIGNMENT), max_steps=2),
    localization=replace(from_scratch(LOCALIZATION), max_steps=3),
    plateau=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, ready_city: Callable[..., None]) -> Path:
    out = tmp_path_factory.mktemp("controls") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "small", SMALL)
        patch.setattr(controls, "_REPLICATES", 100)
        patch.setattr(controls, "build_city", ready_city)
        torch.set_num_threads(1)
        run_controls(out, workers=1, plan=PLAN)
    return out


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(folder / "summary.json")
    return found


@pytest.mark.slow
def test_every_arm_has_its_mean_its_seeds_and_its_interval(result: dict[str, Any]) -> None:
    city = result["cities"]["mini:3"]
    assert tuple(city["arms"]) == ARMS
    for name, arm in city["arms"].items():
        assert len(arm["seeds"]) == (1 if name == ZERO_SHOT else 2)  # nothing is drawn there
        low, high = arm["interval"]["mean"]
        assert low <= arm["mean"]["mean"] <= high
        assert arm["mean"]["mean"] == pytest.approx(
            np.mean([seed["mean"] for seed in arm["seeds"]]), abs=0.002
        )


@pytest.mark.slow
def test_differences_are_those_of_the_means(result: dict[str, Any]) -> None:
    city = result["cities"]["mini:3"]
    gap = city["differences"][f"{BOTH} - {STAGE_2}"]["mean"]["mean"]
    means = {name: arm["mean"]["mean"] for name, arm in city["arms"].items()}
    assert gap == pytest.approx(means[BOTH] - means[STAGE_2], abs=0.002)
    assert len(city["differences"]) == 2 * (len(ARMS) - 6) + len(CHANGED) + 5
    assert f"{BOTH_PLATEAU} - {PLATEAU}" in city["differences"]


@pytest.mark.slow
def test_longer_stages_take_the_steps_of_both(folder: Path) -> None:
    home = folder / "mini-3" / "seed-1"
    steps = {path.parent.name: read_json(path / "summary.json")["steps"] for path in home.glob("*/localize")}
    assert steps.pop("stage-2-longer") == 2 + 3
    assert steps.pop("stage-2-to-its-plateau") == 2 + 2 * 3
    for arm in ("stages-12", "12-street-view-alone", "12-map-of-another-place"):
        (longer,) = (name for name in steps if name.startswith(arm) and name.endswith("-plateau"))
        assert steps.pop(longer) == 2 * 3
        bases = [read_json(home / name / "localize" / "config.json")["base"] for name in (arm, longer)]
        assert bases[0] == bases[1]
    assert set(steps.values()) == {3}
    assert len(steps) == len(ARMS) - 6


@pytest.mark.slow
def test_all_arms_are_asked_the_same_questions(folder: Path) -> None:
    asked = ["photo", "kind", "level", "question", "truth"]
    tables = [
        pd.read_json(path, lines=True)[asked] for path in (folder / "mini-3").rglob("predictions.jsonl")
    ]
    assert len(tables) == 1 + 2 * (len(ARMS) - 1)
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])


@pytest.mark.slow
def test_results_are_a_file_a_table_and_a_plot(result: dict[str, Any], tmp_path: Path) -> None:
    published = publish_controls(result, tmp_path, "addressvlm reproduce controls")
    assert read_json(tmp_path / "controls.json") == published
    assert {path.name for path in tmp_path.iterdir()} == {"controls.json", "controls.md", "controls.png"}
    table = (tmp_path / "controls.md").read_text()
    assert table == controls_table(result)
    assert all(f"| {arm} |" in table for arm in ARMS)
    assert "| 1+2, blank map - stage 2, longer |" in table
    overview = controls_overview(tmp_path / "controls.json").splitlines()
    assert [row.split(" | ")[0].removeprefix("| ") for row in overview[2:]] == list(ARMS)


@pytest.mark.slow
def test_cities_of_the_same_plan_come_together_in_the_results(result: dict[str, Any], tmp_path: Path) -> None:
    publish_controls(result, tmp_path, "first")
    (figures,) = result["cities"].values()
    second = {**result, "cities": {"mini:4": figures}}
    cities = publish_controls(second, tmp_path, "second")["cities"]
    assert {city: found["made"]["command"] for city, found in cities.items()} == {
        "mini:3": "first",
        "mini:4": "second",
    }
    other = {**second, "plan": {**result["plan"], "views": 3}}
    assert list(publish_controls(other, tmp_path, "third")["cities"]) == ["mini:4"]
    fewer = {**figures, "arms": {arm: found for arm, found in figures["arms"].items() if arm != ASIDE}}
    fewer["differences"] = {name: gap for name, gap in figures["differences"].items() if ASIDE not in name}
    more = {**other, "cities": {"mini:5": fewer}}
    assert list(publish_controls(more, tmp_path, "fourth")["cities"]) == ["mini:5"]


@pytest.mark.slow
def test_photos_are_swapped_for_those_of_streets_that_the_map_does_not_name(folder: Path) -> None:
    swapped = read_json(folder / "mini-3" / "swapped.json")
    assert list(swapped) == [BOTH, ASIDE]
    for found in swapped.values():
        assert found["asked"] > 0
        assert found["own"] == found["map"] == found["photo"] == 0.0  # random weights name no street


class Reader:
    """Answers with the street of the map (left half) or of the photo (upper right) that a picture shows."""

    def __init__(self, dataset: Path, *, looks_at_photo: bool):
        self.looks_at_photo = looks_at_photo
        rows = pd.read_parquet(dataset / "alignment.parquet").drop_duplicates(
            "photo" if looks_at_photo else "location"
        )
        shown = [dataset / file for (file,) in rows["images"]]
        self.known: dict[str, list[npt.NDArray[np.float64]]] = {street: [] for street in rows["street"]}
        for street, file in zip(rows["street"], shown, strict=True):
            self.known[street].append(self._part(Image.open(file)))

    def _part(self, picture: Image.Image) -> npt.NDArray[np.float64]:
        side = picture.width
        box = (side - side // 2, 0, side, side // 4) if self.looks_at_photo else (0, 0, side // 2, side)
        return np.asarray(picture.crop(box), dtype=np.float64)

    def answer(self, requests: Sequence[Request], *, max_new_tokens: int) -> Iterator[str]:
        for request in requests:
            (picture,) = request.images
            assert isinstance(picture, Image.Image)
            part = self._part(picture)
            gaps = {s: min(np.abs(part - one).mean() for one in ones) for s, ones in self.known.items()}
            yield f"It looks like {min(gaps, key=gaps.__getitem__)}, near another street."


@pytest.mark.slow
@pytest.mark.parametrize("looks_at_photo", [False, True])
def test_who_reads_the_map_and_who_the_photo_is_told_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch, looks_at_photo: bool
) -> None:
    data = folder / "mini-3" / "data-none"
    reader = Reader(data, looks_at_photo=looks_at_photo)
    monkeypatch.setattr(Localizer, "load", lambda run: reader)
    swapped = swap_photos(folder, data)
    assert swapped["own"] == 100.0
    assert (swapped["map"], swapped["photo"]) == ((0.0, 100.0) if looks_at_photo else (100.0, 0.0))

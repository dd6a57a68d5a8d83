"""Pre-training in a minute: two tiny cities, a few steps."""

import json
import os
import shutil
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from addressvlm.cities.minicity.config import mini_city
from addressvlm.dataset import scenery
from addressvlm.dataset.options import SceneOptions
from addressvlm.dataset.scenery import make_scenes
from addressvlm.dataset.scenes import Scenes
from addressvlm.errors import AddressVLMError, InterruptedJob, UsageError
from addressvlm.experiments import shipping
from addressvlm.experiments.pretraining import CARD, CURVES, RUNS, PretrainingPlan, run_pretraining
from addressvlm.experiments.shipping import ship
from addressvlm.folders import read_json
from addressvlm.model import presets
from addressvlm.model.backbone import build_backbone, load_backbone
from addressvlm.model.checkpoints import verify
from addressvlm.model.presets import Tower
from addressvlm.training import trainer
from addressvlm.training.glimpses import Glimpses
from addressvlm.training.log import read_log
from addressvlm.training.reading import UNKNOWN
from addressvlm.training.stages import EVERYTHING, FURTHER, READING, SEEING, SPEAKING, SPELLING

SMALL = replace(
    presets.PRESETS["mini"],
    vision=Tower("clip", width=48, layers=1, heads=2, mlp=96),
    text=Tower("phi3", width=48, layers=2, heads=2, mlp=96),
)
SMALL_CITY = partial(mini_city, size_m=450.0, streets=12)
FEW = SceneOptions(first_seed=7, cities=2, locations=60, views=1)
PLAN = PretrainingPlan(
    preset="small",
    scenes=FEW,
    exam=replace(FEW, first_seed=9, cities=1, locations=5, views=1),
    reading=replace(
        READING, num_train_epochs=3, per_device_train_batch_size=8, save_steps=2, logging_steps=3
    ),
    spelling=replace(SPELLING, num_train_epochs=2, per_device_train_batch_size=8, save_steps=7),
    seeing=replace(SEEING, num_train_epochs=7, save_steps=2, logging_steps=3),
    speaking=replace(SPEAKING, num_train_epochs=3, per_device_train_batch_size=8, save_steps=7),
    everything=replace(EVERYTHING, num_train_epochs=4, save_steps=7),
    further=replace(FURTHER, num_train_epochs=2),
    examined=6,
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "small", SMALL)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-training without interruption."""
    out = tmp_path_factory.mktemp("pretraining") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "small", SMALL)
        patch.setattr(scenery, "mini_city", SMALL_CITY)
        torch.set_num_threads(1)
        run_pretraining(out, workers=1, plan=PLAN)
    return out


def losses(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(run)]


@pytest.mark.slow
@pytest.mark.parametrize("run", ["reader", "speller", "tower", "speech"])
def test_the_loss_falls(made: Path, run: str) -> None:
    lines = losses(made / run)
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]


@pytest.mark.slow
def test_the_log_tells_every_part_of_seeing(made: Path) -> None:
    parts = {"letters", "tokens", "surfaces", "ground", "places", "owners", "owned", "cells", "middles"}
    parts |= {"roads", "above", "quarters", "attributes"}
    assert parts <= losses(made / "tower")[0].keys()


@pytest.mark.slow
def test_the_exam_is_about_other_cities_and_has_its_controls(made: Path) -> None:
    marks = read_json(made / "summary.json")["exam"]
    assert {"map: name at a place", "map: name at a place, names not drawn"} <= marks.keys()
    assert all(0 <= mark["right"] <= 100 and mark["asked"] for mark in marks.values())
    matches = {task for task, mark in marks.items() if "nearest" in mark}
    assert matches == {task for task in marks if task.startswith("match: photo")} != set()
    assert not {path.name for path in (made / "exam").glob("city*")} & {
        path.name for path in (made / "scenes").glob("city*")
    }


@pytest.mark.slow
def test_what_is_shipped_is_small_and_tells_what_it_is(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ship(made, tmp_path / "small", "addressvlm train pretrain")
    shipped, trained = (load_backbone(one).model.state_dict() for one in (folder, made / "model" / "model"))
    changed = {name for name, weight in trained.items() if (weight.to(torch.bfloat16) != shipped[name]).any()}
    assert changed == {"lm_head.weight", "model.language_model.embed_tokens.weight"}
    whole = trained["lm_head.weight"].to(torch.bfloat16) == shipped["lm_head.weight"]
    tokenizer = load_backbone(folder).tokenizer
    street, unheard = (
        tokenizer(word, add_special_tokens=False)["input_ids"][-1] for word in ("Street", "Bottoms")
    )
    assert whole[street].all()
    assert not whole[unheard].any()
    card = " ".join((folder / CARD).read_text("utf-8").split())
    for name in RUNS:
        assert f": {read_json(made / name / 'summary.json')['steps']} steps" in card
    assert "`mini:7` to `mini:8`" in card
    assert "| map: name at a place, names not drawn |" in card
    assert (folder / CURVES).stat().st_size > 10_000
    monkeypatch.setattr(shipping, "MOST_BYTES", 1000)
    with pytest.raises(AddressVLMError, match="a package carries"):
        ship(made, tmp_path / "large", "")
    assert not (tmp_path / "large").exists()


def test_nothing_is_shipped_over_a_folder_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(UsageError, match="holds other things than a base"):
        ship(tmp_path / "pretraining", tmp_path, "")
    assert (tmp_path / "letters.txt").read_text() == "dear"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "step"), [("reader", 7), ("speller", 9), ("tower", 3), ("speech", 9), ("model", 9)]
)
def test_interrupted_pretraining_ends_with_the_same_bytes(
    made: Path, run: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = tmp_path / "again"
    behind = list(RUNS)[list(RUNS).index(run) :]
    shutil.copytree(
        made, again, ignore=lambda folder, names: {*behind, "summary.json"} if Path(folder) == made else set()
    )
    clip = trainer._RunTrainer._clip_grad_norm

    def signalled(self: Any, model: Any) -> torch.Tensor:
        if self.run.name == run and self.state.global_step + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return clip(self, model)

    with monkeypatch.context() as patch:
        patch.setattr(trainer._RunTrainer, "_clip_grad_norm", signalled)
        with pytest.raises(InterruptedJob):
            run_pretraining(again, workers=1, plan=PLAN)
    run_pretraining(again, workers=1, plan=PLAN)
    for name in RUNS:
        assert losses(again / name) == losses(made / name)
        weights = Path(name) / "model" / "model.safetensors"
        assert (again / weights).read_bytes() == (made / weights).read_bytes()
    weights = Path("base") / "model.safetensors"
    assert (again / weights).read_bytes() == (made / weights).read_bytes()
    whole, again = (read_json(out / "summary.json") for out in (made, again))
    assert whole["exam"] == again["exam"]


@pytest.mark.slow
def test_a_glimpse_holds_two_places_of_each_road(made: Path) -> None:
    glimpses = Glimpses(Scenes(made / "scenes"), build_backbone("small", seed=0), seed=0)
    glimpse = glimpses[(0, 0)]
    roads, counts = np.unique(glimpse.roads, return_counts=True)
    assert len(roads) >= 2
    assert set(counts) == {2}
    assert glimpse.maps.shape == (len(glimpse.roads) // 2, 3, 144, 144)
    pages = (glimpse.letters != UNKNOWN).all(axis=(1, 2))
    assert 0 < pages.sum() < len(pages)
    assert (glimpse.places[pages] == UNKNOWN).all()
    hidden = (glimpse.ground == UNKNOWN).all(axis=2).reshape(-1, 12, 12)
    assert not hidden[pages].any()
    assert hidden[~pages][:, :6, 6:].all()  # under the view
    assert hidden[~pages].sum() == (~pages).sum() * 36
    again = glimpses[(0, 0)]
    assert (again.maps == glimpse.maps).all()
    assert not (glimpses[(1, 0)].views == glimpse.views).all()


@pytest.mark.slow
def test_owners_are_told_where_names_stand_and_cells_where_they_begin(made: Path) -> None:
    scenes = Scenes(made / "scenes")
    glimpses = Glimpses(scenes, build_backbone("small", seed=0), seed=0)
    told = 0
    for epoch in range(12):
        indices, glimpse = glimpses.look((epoch, 0))
        for index, owners, cells, middles in zip(
            indices, glimpse.owners, glimpse.cells, glimpse.middles, strict=True
        ):
            facts = scenes.facts(index)
            begun = {
                int(name.middles[0][1] // 12 * 12 + name.middles[0][0] // 12): name for name in facts.names
            }
            assert set(np.flatnonzero(cells != UNKNOWN)) in (set(), set(begun))
            for patch in np.flatnonzero(cells != UNKNOWN):
                left, top, right, bottom = begun[patch].box
                assert cells[patch] == (top + bottom) // 2 // 48 * 3 + (left + right) // 2 // 48
                assert middles[patch] * 288 == pytest.approx([top + bottom, left + right])
                assert owners[patch] in (UNKNOWN, begun[patch].name == facts.street)
            for patch in np.flatnonzero(owners != UNKNOWN):
                x, y = 12 * (patch % 12) + 6, 12 * (patch // 12) + 6
                near = [
                    name.name == facts.street
                    for name in facts.names
                    if name.box[0] - 4 < x < name.box[2] + 4 and name.box[1] - 7 < y < name.box[3] + 7
                ]
                assert bool(owners[patch]) in near
                told += 1
    assert told > 10


@pytest.mark.slow
def test_a_base_is_trained_further_and_keeps_what_was_said_of_it(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenery, "mini_city", SMALL_CITY)
    first = ship(made, tmp_path / "first", "addressvlm train pretrain")
    plan = replace(PLAN, start=str(first), scenes=replace(PLAN.scenes, first_seed=20))
    further = tmp_path / "further"
    run_pretraining(further, workers=1, plan=plan)
    assert set(read_json(further / "summary.json")["steps"]) == {"model"}
    second = ship(further, tmp_path / "second", "addressvlm train pretrain --start first")
    card = (second / CARD).read_text("utf-8")
    assert "`mini:20` to `mini:21`" in card
    assert "(before/README.md)" in card
    assert (second / "before" / CARD).read_bytes() == (first / CARD).read_bytes()
    assert load_backbone(second).name == "small"
    verify(second)


def test_scenes_of_another_size_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenery, "mini_city", SMALL_CITY)
    make_scenes(replace(FEW, cities=1, locations=1, views=1, image_px=56), tmp_path / "scenes", workers=1)
    with pytest.raises(UsageError, match="56 px, but random:small sees 144"):
        Glimpses(Scenes(tmp_path / "scenes"), build_backbone("small", seed=0), seed=0)
    assert json.loads((tmp_path / "scenes" / "summary.json").read_text())["cities"] == 1

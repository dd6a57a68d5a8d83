"""The whole road on a tiny mini city: photos, maps, questions, both stages, answers, report."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from addressvlm.cities.build import build_city
from addressvlm.evaluation.metrics import METRICS
from addressvlm.experiments import demo
from addressvlm.experiments.demo import DemoPlan, run_demo
from addressvlm.folders import read_json

FULL = DemoPlan()
TINY = replace(
    FULL,
    city="mini:3",
    locations=16,
    views=2,
    alignment=replace(FULL.alignment, max_steps=2),
    localization=replace(FULL.localization, max_steps=3),
    samples=5,
)


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same walk twice, with one and with two processes."""
    folders = [tmp_path_factory.mktemp("walk") for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "build_city", partial(build_city, size_m=450.0, streets=12))
        for workers, folder in enumerate(folders, start=1):
            run_demo(folder, workers=workers, plan=TINY)
    return folders


@pytest.mark.slow
def test_the_road_leads_from_a_plan_to_a_report(walks: list[Path]) -> None:
    walk = walks[0]
    summary = read_json(walk / "summary.json")
    assert set(summary["metrics"]) == set(METRICS)
    assert summary["counts"]["n_d_G"] == summary["photos"] > 0
    assert set(summary["seconds"]) == {"city", "dataset", "align", "localize", "evaluate", "locate"}
    assert "torch" in summary["versions"]
    assert "<html" in (walk / "evaluation" / "report.html").read_text("utf-8")
    assert (walk / "locate" / "streets.png").stat().st_size > 1000
    assert read_json(walk / "locate" / "streets.geojson")["type"] == "FeatureCollection"
    assert (walk / "localize" / "calibration.json").exists()


@pytest.mark.slow
def test_a_finished_walk_is_not_walked_again(walks: list[Path]) -> None:
    before = (walks[0] / "summary.json").read_bytes()
    run_demo(walks[0], workers=1, plan=TINY)
    assert (walks[0] / "summary.json").read_bytes() == before


@pytest.mark.slow
def test_two_walks_give_the_same_bytes(walks: list[Path]) -> None:
    for name in (
        "city/summary.json",
        "dataset/summary.json",
        "localize/summary.json",
        "evaluation/predictions.jsonl",
    ):
        assert (walks[0] / name).read_bytes() == (walks[1] / name).read_bytes(), name

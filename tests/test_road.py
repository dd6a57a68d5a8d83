"""The whole road on a tiny mini city: photos, maps, questions, both stages, answers, report."""

from dataclasses import replace
from pathlib import Path

import pytest

from addressvlm.evaluation.metrics import METRICS
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


@pytest.mark.slow
def test_the_road_leads_from_a_plan_to_a_report(tmp_path: Path) -> None:
    summary = run_demo(tmp_path, workers=1, plan=TINY)

    assert set(summary["metrics"]) == set(METRICS)
    assert summary["counts"]["n_d_G"] == summary["photos"] > 0
    assert set(summary["seconds"]) == {"city", "dataset", "align", "localize", "evaluate", "ask"}
    assert "torch" in summary["versions"]
    assert summary == read_json(tmp_path / "summary.json")
    assert "<html" in (tmp_path / "evaluation" / "report.html").read_text("utf-8")
    assert (tmp_path / "ask" / "streets.png").stat().st_size > 1000
    assert read_json(tmp_path / "ask" / "streets.geojson")["type"] == "FeatureCollection"

    assert run_demo(tmp_path, workers=1, plan=TINY) == summary


@pytest.mark.slow
def test_two_walks_give_the_same_answers(tmp_path: Path) -> None:
    answers = []
    for walk in ("first", "second"):
        run_demo(tmp_path / walk, workers=2, plan=TINY)
        answers.append((tmp_path / walk / "evaluation" / "predictions.jsonl").read_bytes())
    assert answers[0] == answers[1]

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from addressvlm.experiments import beliefs
from addressvlm.experiments.beliefs import BeliefsPlan, run_beliefs
from addressvlm.experiments.beliefstables import beliefs_overview, beliefs_table, publish_beliefs
from addressvlm.experiments.demo import DemoPlan

FULL = DemoPlan()
TINY = BeliefsPlan(
    cities=("mini:3",),
    demo=replace(
        FULL,
        base="random:mini",
        locations=15,
        views=2,
        alignment=replace(FULL.alignment, max_steps=1),
        localization=replace(FULL.localization, max_steps=4),
    ),
    together=(2,),
)


@pytest.mark.slow
def test_beliefs_are_measured_and_told(
    tmp_path: Path, ready_city: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beliefs, "build_city", ready_city)
    result = run_beliefs(tmp_path / "out", workers=1, plan=TINY)
    city = result["cities"]["mini:3"]
    evidence = city["beliefs"]
    assert evidence["one photo"]["queries"] == city["photos"] == 2 * city["locations"]
    assert evidence["2 photos of a place"]["queries"] == city["locations"]
    assert evidence["all photos of a place"]["queries"] == city["locations"]
    for marks in evidence.values():
        assert 0 <= marks["sd"]["mean"] <= 100  # the likeliest pair need not be of the likeliest street
        low, high = marks["s"]["interval"]
        assert 0 <= low <= marks["s"]["mean"] <= high <= 100
    fixed, alone = (
        evidence[f"{name}position within 100 m{end}"] for name, end in (("one photo, ", ""), ("", " alone"))
    )
    assert fixed["s"]["mean"] >= evidence["one photo"]["s"]["mean"]
    assert alone["s"]["mean"] > 0
    assert set(city["intervals"]) == {"open", "closed", "joint"}
    for way, intervals in city["intervals"].items():
        low, high = intervals["s_G"]
        assert low <= city["answers"][way]["s_G"] <= high
    assert set(city["strangers"]) == {"noise"}
    assert set(city["coverage"]) == {"80 %", "90 %", "95 %"}
    assert run_beliefs(tmp_path / "out", workers=1, plan=TINY)["cities"] == result["cities"]
    publish_beliefs(result, tmp_path / "results", "a test")
    table = (tmp_path / "results" / "beliefs.md").read_text("utf-8")
    assert table == beliefs_table(result)
    assert "| position within 300 m alone |" in table
    overview = beliefs_overview(tmp_path / "results" / "beliefs.json")
    assert overview.startswith("| district and street right, % | mini:3 |")
    assert "| one photo, closed | " in overview
    with Image.open(tmp_path / "results" / "beliefs.png") as plot:
        assert plot.width > 400

"""README and docs are true: commands run, pages are current, figures come from results/."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from addressvlm.cli.main import exit_code
from addressvlm.cli.reference import reference
from addressvlm.experiments.beliefstables import beliefs_overview
from addressvlm.experiments.controlstables import controls_overview
from addressvlm.experiments.results import demo_table

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
YOUR_CITY = (ROOT / "docs" / "your-city.md").read_text("utf-8")


def commands(text: str) -> list[list[str]]:
    return [line.split()[1:] for line in re.findall(r"^    (addressvlm .*)$", text, re.MULTILINE)]


def small_city(folder: Path) -> None:
    """Two crossing streets, two districts and a photo each 30 m, in formats that docs/your-city.md names."""
    generator = np.random.default_rng(0)
    rows = ["file,lat,lon,heading"]
    (folder / "photos").mkdir(parents=True)
    for index in range(20):
        along = (index // 2 - 5) * 0.0003 + 0.00015
        lat, lon = (51.0 + along, 11.0) if index % 2 else (51.0, 11.0 + along)
        noise = generator.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "photos" / f"{index}.jpg")
        rows.append(f"photos/{index}.jpg,{lat},{lon},90")
    (folder / "photos.csv").write_text("\n".join(rows))
    (folder / "streets.geojson").write_text(
        '{"type": "FeatureCollection", "features": ['
        '{"type": "Feature", "properties": {"name": "Long Lane"}, "geometry":'
        ' {"type": "LineString", "coordinates": [[10.99, 51.0], [11.01, 51.0]]}},'
        '{"type": "Feature", "properties": {"name": "Mill Road"}, "geometry":'
        ' {"type": "LineString", "coordinates": [[11.0, 50.99], [11.0, 51.01]]}}]}'
    )
    box = (
        '{{"type": "Feature", "properties": {{"name": "{}"}}, "geometry": {{"type": "Polygon", "coordinates":'
        " [[[{w}, 50.9], [{e}, 50.9], [{e}, 51.1], [{w}, 51.1], [{w}, 50.9]]]}}}}"
    )
    districts = [box.format("West", w=10.9, e=11.0), box.format("East", w=11.0, e=11.1)]
    (folder / "districts.geojson").write_text(
        '{"type": "FeatureCollection", "features": [' + ",".join(districts) + "]}"
    )
    (folder / "city.toml").write_text(
        'name = "Smallville"\nphotos = "photos.csv"\nstreets = "streets.geojson"\n'
        'districts = "districts.geojson"\nsatellite = "streets"\n'
    )


@pytest.mark.slow
def test_your_city_in_five_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_city(tmp_path)
    monkeypatch.chdir(tmp_path)
    five = commands(README)
    assert [command[:2] for command in five] == [
        ["city", "build"],
        ["dataset", "build"],
        ["train", "align"],
        ["train", "localize"],
        ["evaluate", "runs/my/data"],
    ]
    for command in five:
        assert exit_code(command) == 0, capsys.readouterr().err
    assert (tmp_path / "runs/my/localize/evaluation-test/report.html").exists()
    further = [command for command in commands(YOUR_CITY) if {"show", "export"} & set(command)]
    assert [command[:2] for command in further] == [
        ["city", "show"],
        ["dataset", "show"],
        ["export", "runs/my/data"],
    ]
    for command in further:
        assert exit_code(command) == 0, capsys.readouterr().err
    assert (tmp_path / "runs/my/parquet/README.md").exists()
    asked = ["ask", "photos/0.jpg", "Which street is this?", "--run", "runs/my/localize"]
    assert f'addressvlm {asked[0]} photo.jpg "{asked[2]}" --run runs/my/localize' in README
    assert exit_code(asked) == 0
    assert "`addressvlm locate photo.jpg --run runs/my/localize --out here`" in README
    located = ["locate", "photos/0.jpg", "--run", "runs/my/localize", "--out", "here"]
    assert exit_code(located) == 0
    assert (tmp_path / "here" / "locate.html").exists()


def test_your_city_page_names_the_same_commands() -> None:
    assert [command for command in commands(README) if command not in commands(YOUR_CITY)] == []


def test_every_command_is_documented() -> None:
    assert (ROOT / "docs" / "commands.md").read_text("utf-8") == reference()


def test_figures_of_the_readme_come_from_results() -> None:
    assert demo_table(ROOT / "results" / "demo.json") in README


def test_figures_about_beliefs_and_controls_come_from_results() -> None:
    method = (ROOT / "docs" / "method.md").read_text("utf-8")
    assert beliefs_overview(ROOT / "results" / "beliefs.json") in method
    assert controls_overview(ROOT / "results" / "controls.json") in method


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"

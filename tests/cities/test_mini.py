from pathlib import Path

import pytest

from addressvlm.cities.build import build_city, open_source
from addressvlm.cities.city import load_city
from addressvlm.errors import UsageError


@pytest.mark.slow
def test_a_mini_city_is_built_like_any_other(tmp_path: Path) -> None:
    options = {"locations": 3, "views": 2, "view_px": 32, "size_m": 300.0, "streets": 8, "district_count": 3}
    summary = build_city("mini:7", tmp_path / "city", workers=1, tile_zoom=17, **options)
    city = load_city(tmp_path / "city")
    assert summary["offered"] == summary["photos"] + sum(summary["rejected"].values())
    assert city.photos["scene"].notna().all()
    assert (city.photos["street_m"] <= 30).all()
    assert city.satellite == "tiles/{z}/{x}/{y}.png"
    assert len(list((tmp_path / "city" / "tiles").rglob("*.png"))) == summary["tiles"] > 0
    assert all((tmp_path / "city" / file).is_file() for file in city.photos["file"])


@pytest.mark.parametrize("name", ["mini-pitts", "mini:7"])
def test_a_mini_city_is_continued_in_a_folder_of_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    assert open_source(name, Path(name)).about.name == name


def test_an_unknown_mini_city_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mini-paris"):
        build_city("mini-paris", tmp_path / "city")
    assert not (tmp_path / "city").exists()

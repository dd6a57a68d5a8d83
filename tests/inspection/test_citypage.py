import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from readpage import Page
from scripttown import CITY, DISTRICTS, JAPANESE, QUOTES, SCRIPT, STREETS, write_files

from addressvlm.cities.build import build_city
from addressvlm.cities.city import load_city
from addressvlm.cli.main import exit_code
from addressvlm.errors import AddressVLMError
from addressvlm.inspection.citypage import locations, show_city
from addressvlm.inspection.corners import Corner, corners


@pytest.fixture(scope="module")
def shown(script_town: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Page]:
    path = tmp_path_factory.mktemp("page") / "city.html"
    figures = show_city(script_town, path)
    return figures, Page(path)


@pytest.fixture
def page(shown: tuple[dict[str, Any], Page]) -> Page:
    return shown[1]


@pytest.fixture
def figures(shown: tuple[dict[str, Any], Page]) -> dict[str, Any]:
    return shown[0]


@pytest.fixture
def own_city(script_town: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(script_town, tmp_path / "city"))


def test_the_page_needs_nothing_else(page: Page) -> None:
    page.require_alone()
    page.require_accessible()


def test_names_of_a_user_cannot_become_markup(page: Page) -> None:
    assert len(page.of("script")) == 2  # our data and our code
    assert all(name in page.text for name in (SCRIPT, QUOTES, CITY, *DISTRICTS, "missing<script>.jpg"))
    assert not [image for image in page.of("img") if image["src"] == "x"]
    assert "<i>nobody" in page.text
    assert {street["name"] for street in page.map["streets"]} == set(STREETS)


def test_the_figures_are_those_of_the_town(figures: dict[str, Any]) -> None:
    assert figures["photos"] == 20
    assert figures["locations"] == 10
    assert figures["offered"] == 23
    assert figures["rejected"] == {"outside the city": 1, "is listed twice": 1, "there is no such file": 1}
    assert (figures["streets"], figures["streets_with_photos"]) == (3, 2)
    assert figures["views_of_a_location"] == {"fewest": 2, "median": 2.0, "most": 2}
    assert figures["balance"]["street"]["effective"] == 2.0
    assert figures["near_corners"] == {"photos": 4, "share": 20.0, "pairs_of_streets": 2}
    assert (figures["without_heading"], figures["without_time"]) == (0, 20)


def test_photos_near_a_corner_are_told_by_pairs_of_streets(script_town: Path) -> None:
    # 7.8 m from Meiji-dori, 2.4 m from their own street.
    assert corners(load_city(script_town).photos) == [
        Corner((QUOTES, JAPANESE), 2, 1, 5.4),
        Corner((SCRIPT, JAPANESE), 2, 1, 5.4),
    ]


def test_the_map_has_every_location_with_its_groups(page: Page) -> None:
    drawn = page.map
    assert len(drawn["x"]) == len(drawn["y"]) == len(drawn["told"]) == 10
    assert sum(drawn["photos"]) == 20
    district, street, corner = drawn["colourings"]
    assert sorted(district["names"]) == sorted(DISTRICTS)
    assert sorted(street["names"]) == sorted([SCRIPT, QUOTES])
    assert corner["groups"].count(1) == 2
    assert [SCRIPT in told[0] for told in drawn["told"]].count(True) == 5


def test_pictures_of_places_are_in_the_page(page: Page) -> None:
    sights = [tag for tag in page.of("figure") if tag["class"] == "sight"]
    assert len(sights) == 10
    assert len(page.of("img")) == 10 * (1 + 2)  # a map and two views


def test_every_name_is_counted_and_streets_lead_to_the_map(page: Page) -> None:
    assert {button["data-street"] for button in page.of("button") if "data-street" in button} == {
        SCRIPT,
        QUOTES,
    }
    assert page.text.count("locations") >= 3


def test_places_without_photos_are_shown_with_their_maps(tmp_path: Path) -> None:
    toml = write_files(tmp_path / "files")
    toml.write_text(toml.read_text() + "\nimages = false\n")
    build_city(toml, tmp_path / "city", workers=1)
    figures = show_city(tmp_path / "city")
    page = Page(tmp_path / "city" / "show.html")
    assert figures["page"] == str(tmp_path / "city" / "show.html")
    assert figures["with_pictures"] == 0
    assert "places without photos" in page.text
    assert len(page.of("img")) == figures["locations"]


def test_missing_pictures_and_lists_do_not_stop_the_page(own_city: Path) -> None:
    shutil.rmtree(own_city / "images")
    (own_city / "rejected.csv").unlink()
    figures = show_city(own_city)
    assert figures["rejected"] == {}
    assert len(Page(own_city / "show.html").of("img")) == 10  # the maps


def test_a_city_without_imagery_of_a_place_is_shown_without_its_map(own_city: Path) -> None:
    about = own_city / "city.toml"
    about.write_text(about.read_text().replace('"streets"\n', '"tiles/{z}/{x}/{y}.png"\n'))
    show_city(own_city)
    assert len(Page(own_city / "show.html").of("img")) == 20  # the views


def test_unknown_headings_and_margins_are_no_trouble(own_city: Path) -> None:
    path = own_city / "photos.parquet"
    photos = pd.read_parquet(path)
    photos.assign(heading_deg=None, runner_up=None, margin_m=None).to_parquet(path)
    figures = show_city(own_city)
    assert figures["near_corners"]["photos"] == 0
    assert figures["without_heading"] == 20


def test_a_location_has_the_commonest_address_of_its_photos(script_town: Path) -> None:
    photos = load_city(script_town).photos.head(3).assign(location="L", district=["A", "B", "B"])
    assert locations(photos)["district"].tolist() == ["B"]


def test_a_folder_that_is_no_complete_city_is_refused(own_city: Path, tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match="there is no folder"):
        show_city(tmp_path / "nowhere")
    (own_city / "summary.json").unlink()
    with pytest.raises(AddressVLMError, match="is not complete"):
        show_city(own_city)


def test_the_command_prints_the_figures(
    script_town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "own.html"
    assert exit_code(["city", "show", str(script_town), "--page", str(page), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["city"] == CITY
    assert printed["page"] == str(page)
    assert page.exists()
    assert exit_code(["city", "show", str(tmp_path)]) == 3
    assert "is not complete" in capsys.readouterr().err
    assert exit_code(["city", "show", str(script_town), "--page", str(tmp_path / "no" / "a.html")]) == 3

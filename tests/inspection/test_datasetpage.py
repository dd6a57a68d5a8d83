import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from readpage import Page
from scripttown import CITY, QUOTES, SCRIPT

from addressvlm.cli.main import exit_code
from addressvlm.dataset.tables import read_questions, read_table
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.evaluation.metrics import METRICS
from addressvlm.inspection.datasetfigures import nearness, shared, unseen
from addressvlm.inspection.datasetpage import show_dataset


@pytest.fixture(scope="module")
def shown(script_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Page]:
    path = tmp_path_factory.mktemp("page") / "data.html"
    figures = show_dataset(script_data, path)
    return figures, Page(path)


@pytest.fixture
def page(shown: tuple[dict[str, Any], Page]) -> Page:
    return shown[1]


@pytest.fixture
def figures(shown: tuple[dict[str, Any], Page]) -> dict[str, Any]:
    return shown[0]


@pytest.fixture
def own_data(script_data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(script_data, tmp_path / "data"))


def test_the_page_needs_nothing_else(page: Page) -> None:
    page.require_alone()
    page.require_accessible()


def test_names_of_a_user_cannot_become_markup(page: Page) -> None:
    assert len(page.of("script")) == 2
    assert not [image for image in page.of("img") if image["src"] == "x"]
    for name in (SCRIPT, QUOTES, CITY, "<b>West</b>"):
        assert name in page.text


def test_the_map_is_coloured_by_split(page: Page, script_data: Path) -> None:
    colouring = page.map["colourings"][0]
    assert colouring["words"] == "split"
    assert colouring["names"] == ["train", "val", "test"]
    locations = read_table(script_data, "locations").to_pandas()
    assert [colouring["groups"].count(number) for number in range(3)] == [7, 2, 1]
    assert len(locations) == 10


def test_every_type_of_question_is_shown_with_its_answer(page: Page, script_data: Path) -> None:
    questions = read_questions(script_data, "test")
    first = questions[questions["photo"] == questions["photo"].mode()[0]]
    assert set(first["kind"]) == {"generation", "judgment", "multiple_choice", "joint"}
    for question in first["question"]:
        assert question in page.text
    samples = [tag for tag in page.of("figure") if tag["class"] == "card sample"]
    assert len(samples) == 2 + 4 + 6  # test and val, conversations, alignment


def test_samples_of_stage_1_are_shown_with_their_texts(page: Page, script_data: Path) -> None:
    rows = read_table(script_data, "alignment").to_pylist()
    assert rows[0]["answer"] in page.text
    assert rows[-1]["answer"] in page.text


def test_no_location_is_shared(figures: dict[str, Any], page: Page) -> None:
    assert figures["shared"] == {"locations": 0, "photos": 0}
    assert "No location and no photo is in two splits" in page.text


def test_shared_locations_are_found_and_told(own_data: Path) -> None:
    train, test = (pd.read_parquet(own_data / f"{name}.parquet") for name in ("train", "test"))
    test["location"] = train["location"].iloc[0]
    test.to_parquet(own_data / "test.parquet")
    figures = show_dataset(own_data)
    assert figures["shared"] == {"locations": 1, "photos": 0}
    assert "no figure on this data set means anything" in Page(own_data / "show.html").text


def test_shared_counts_names_in_any_two_splits() -> None:
    tables = {
        "train": pd.DataFrame({"location": ["a", "a", "b"], "photo": ["1", "2", "3"]}),
        "val": pd.DataFrame({"location": ["b", "c"], "photo": ["4", "5"]}),
        "test": pd.DataFrame({"location": ["c", "d"], "photo": ["5", "6"]}),
    }
    assert shared(tables) == {"locations": 2, "photos": 1}


def test_names_that_training_lacks_are_counted() -> None:
    train = pd.DataFrame({"district": ["W", "W"], "street": ["a", "b"]})
    asked = pd.DataFrame({"district": ["W", "E"], "street": ["c", "c"]})
    assert unseen(asked, train) == {"district": 1, "street": 2}


def test_nearness_is_in_metres() -> None:
    # 0.001 degrees of latitude are 111 m, 0.0001 are 11 m.
    lat = [45.0, 45.01, 45.001, 45.0101]
    locations = pd.DataFrame({"split": ["train", "train", "val", "test"], "lat": lat, "lon": 9.0})
    found = nearness(locations)
    assert found is not None
    assert found["val"] == {"least_m": 111.1, "median_m": 111.1, "within_20_m": 0, "locations": 1}
    assert found["test"]["least_m"] == 11.1
    assert found["test"]["within_20_m"] == 1


def test_lines_of_chance_have_the_ten_keys(figures: dict[str, Any]) -> None:
    for split in ("val", "test"):
        lines = figures["lines"][split]
        assert tuple(lines["chance"]) == tuple(lines["constant"]) == METRICS
        assert lines["chance"]["d_J"] == 50.0
        assert lines["chance"]["s_G"] == 50.0  # two streets
        assert lines["questions"] == figures["splits"][split]["questions"]


def test_alignment_texts_are_looked_at(figures: dict[str, Any]) -> None:
    found = figures["alignment"]
    assert found["samples"] == 14
    assert found["maps"] == 7
    assert found["texts_with_the_address"] == 100.0


def test_a_data_set_without_locations_is_shown_without_a_map(own_data: Path) -> None:
    (own_data / "locations.parquet").unlink()
    figures = show_dataset(own_data)
    page = Page(own_data / "show.html")
    assert figures["nearest_training_location"] is None
    assert not page.of("canvas")
    assert not page.of("script")
    assert "made before locations were kept" in page.text


def test_a_split_without_locations_is_no_trouble(script_town: Path, tmp_path: Path) -> None:
    from addressvlm.dataset.build import build_dataset

    build_dataset(script_town, tmp_path / "data", image_px=96, workers=1, split=(0.7, 0.0, 0.3))
    figures = show_dataset(tmp_path / "data")
    assert figures["lines"]["val"] is None
    assert "val" not in figures["nearest_training_location"]
    Page(tmp_path / "data" / "show.html").require_alone()


def test_missing_pictures_do_not_stop_the_page(own_data: Path) -> None:
    shutil.rmtree(own_data / "images")
    show_dataset(own_data)
    assert not Page(own_data / "show.html").of("img")


def test_other_folders_are_refused(own_data: Path, script_town: Path, tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match="there is no folder"):
        show_dataset(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is no data set: it is a city folder"):
        show_dataset(script_town)
    (own_data / "gazetteer.parquet").write_bytes(b"no table")
    with pytest.raises(AddressVLMError, match=r"gazetteer.parquet cannot be read"):
        show_dataset(own_data)
    (own_data / "summary.json").unlink()
    with pytest.raises(AddressVLMError, match="is not complete"):
        show_dataset(own_data)


def test_the_command_prints_the_figures(
    script_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "own.html"
    assert exit_code(["dataset", "show", str(script_data), "--page", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shared"]["locations"] == 0
    assert page.exists()


def test_a_data_set_made_before_an_option_came_is_shown(own_data: Path) -> None:
    config = json.loads((own_data / "config.json").read_text())
    del config["control"], config["name_style"], config["describe"]
    (own_data / "config.json").write_text(json.dumps(config))
    show_dataset(own_data)
    assert "Texts by unknown." in Page(own_data / "show.html").text

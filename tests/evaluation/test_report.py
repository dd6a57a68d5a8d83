import re
from html.parser import HTMLParser
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
from four_streets import STREETS, FakeCity, gazetteer

from addressvlm.evaluation.evaluate import evaluate
from addressvlm.evaluation.metrics import METRICS, score
from addressvlm.evaluation.report import write_report

HOSTILE = '<script>alert("x")</script> & </title>'


class Tags(HTMLParser):
    """Collects tags, their attributes and the visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def html(city: FakeCity, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("report") / "out"
    answers = ["Oak Street", "Yes", "B", "North", HOSTILE, "A", ""]
    evaluate(city.folder, lambda rows: [answers[n % 7] for n in range(len(rows))], out, name="A model")
    return (out / "report.html").read_text("utf-8")


def test_the_file_needs_nothing_else(html: str) -> None:
    page = Tags(html)
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            link = attributes.get(name) or "#"
            assert link.startswith(("#", "data:image/jpeg;base64,")), (tag, link)
        assert tag not in ("link", "iframe", "object", "base")
    assert not re.search(r"https?://|url\(|@import", html)


def test_a_browser_is_told_to_load_nothing(html: str) -> None:
    policies = [
        attributes for tag, attributes in Tags(html).tags if tag == "meta" and "http-equiv" in attributes
    ]
    assert policies[0]["content"].startswith("default-src 'none'")


def test_answers_cannot_become_markup(html: str) -> None:
    assert "<script>alert" not in html
    assert html.count("<script") == 2  # our data and our code
    assert HOSTILE in Tags(html).text


def test_every_metric_and_every_name_is_there(html: str) -> None:
    text = Tags(html).text
    for word in (*METRICS, *STREETS, "North", "South", "A model on Four", "© the four streets"):
        assert word in text


def test_levels_bear_the_names_of_the_city(html: str) -> None:
    headings = re.findall(r"<(?:h2|th)[^>]*>([^<]+)<", html) + re.findall(r'class="words">([^<]+)<', html)
    assert "Chomes taken for one another" in headings
    assert "chome, generation" in headings
    assert not any("district" in heading for heading in headings)


def test_every_street_can_be_shown_on_the_map(html: str) -> None:
    page = Tags(html)
    streets = [
        attributes
        for tag, attributes in page.tags
        if tag == "g" and "street" in (attributes["class"] or "").split()
    ]
    buttons = [attributes["data-show"] for tag, attributes in page.tags if tag == "button"]
    assert len(streets) == len(buttons) == 4
    assert sorted(buttons) == ["0", "1", "2", "3"]


def test_misses_and_hits_come_with_pictures(html: str) -> None:
    page = Tags(html)
    cards = [(attributes["class"] or "").split()[1] for tag, attributes in page.tags if tag == "figure"]
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(cards) == len(pictures) == 4  # one of each of the four locations
    assert set(cards) == {"miss"}  # each was answered with markup or another street
    assert all(picture["alt"] for picture in pictures)


def test_a_report_without_neighbours_or_wide_choice_is_still_drawn(city: FakeCity, tmp_path: Path) -> None:
    answered = pd.DataFrame(city.rows[:7]).assign(answer="Oak Street")
    names: gpd.GeoDataFrame = gazetteer()
    path = tmp_path / "report.html"
    metrics = {**score(answered).to_json(), "split": "test"}
    write_report(path, answered, metrics, names[names["name"] != "South"], city.folder, title="One")
    text = Tags(path.read_text("utf-8")).text
    assert "taken for one another" not in text
    assert "nearest photo" not in text

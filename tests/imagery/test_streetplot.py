import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from addressvlm.errors import UsageError
from addressvlm.geo.places import LatLon
from addressvlm.geo.streets import StreetMap
from addressvlm.imagery.streetplot import COLOURS, GREY, plot_streets, street_colours, streets_svg

VALUES = {"High Street": 0.5, "Mill Lane": 0.25}


def has_colour(path: Path, colour: str) -> bool:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return bool((pixels == wanted).all(axis=2).any())


def test_streets_with_a_value_are_coloured_and_the_others_grey(town: StreetMap, tmp_path: Path):
    plot_streets(town.streets, VALUES, tmp_path / "map.png", title="Where?")
    colours = street_colours(VALUES)
    assert len(set(colours.values())) == 2
    assert all(has_colour(tmp_path / "map.png", colour) for colour in (*colours.values(), GREY))


def test_the_highest_value_has_the_darkest_colour():
    brightness = {
        name: sum(int(colour[place : place + 2], 16) for place in (1, 3, 5))
        for name, colour in street_colours({"a": 0.1, "b": 0.2, "c": 0.4, "zero": 0.0}).items()
    }
    assert sorted(brightness, key=brightness.__getitem__) == ["c", "b", "a", "zero"]


def test_equal_input_gives_equal_bytes_without_dates_or_versions(town: StreetMap, tmp_path: Path):
    options = {
        "title": "Where?",
        "point": LatLon(48.77, 9.17),
        "districts": town.districts,
        "attribution": "© us",
    }
    plot_streets(town.streets, VALUES, tmp_path / "a.png", **options)
    plot_streets(town.streets, VALUES, tmp_path / "b.png", **options)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert "Software" not in image.info


def test_the_true_place_is_marked(town: StreetMap, tmp_path: Path):
    plot_streets(town.streets, VALUES, tmp_path / "map.png", title="", point=LatLon(48.77, 9.17))
    assert has_colour(tmp_path / "map.png", "#18a05e")


def test_names_and_titles_are_text_and_not_formulas(town: StreetMap, tmp_path: Path):
    odd = town.streets.assign(name=["A $ B $ C", "$x^$", "<b>", "&"])
    plot_streets(
        odd, {"A $ B $ C": 0.7, "$x^$": 0.3}, tmp_path / "map.png", title="$$ 5 $", attribution="$_$"
    )
    assert (tmp_path / "map.png").stat().st_size > 10_000


def test_no_values_make_a_plain_map(town: StreetMap, tmp_path: Path):
    plot_streets(town.streets, {}, tmp_path / "map.png", title="Empty")
    plot_streets(town.streets, {"Mill Lane": 0.0}, tmp_path / "zero.png", title="Zero")
    assert has_colour(tmp_path / "map.png", GREY)


def test_one_short_street_is_a_map_too(town: StreetMap, tmp_path: Path):
    plot_streets(town.streets.iloc[3:], {"Saint Bartholomew Passage": 1.0}, tmp_path / "map.png", title="One")
    assert has_colour(tmp_path / "map.png", street_colours({"": 1.0})[""])


def test_a_gazetteer_gives_streets_and_districts(town: StreetMap, tmp_path: Path):
    gazetteer = pd.concat([town.streets.assign(level="street"), town.districts.assign(level="district")])
    plot_streets(gazetteer, VALUES, tmp_path / "a.png", title="")
    plot_streets(town.streets, VALUES, tmp_path / "b.png", title="", districts=town.districts)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_value_for_no_street_is_an_error(town: StreetMap, tmp_path: Path):
    with pytest.raises(UsageError, match="there is a value for 'Elm Street', but no such street"):
        plot_streets(town.streets, {"Elm Street": 1.0}, tmp_path / "map.png", title="")
    assert list(tmp_path.iterdir()) == []


def test_the_svg_tells_every_street_and_its_share(town: StreetMap):
    streets = town.streets.assign(name=["A & B", "<Mill>", "River Bend", "Passage"])
    svg = streets_svg(streets, {"A & B": 0.5, "<Mill>": 0.125}, 400)
    paths = list(ET.fromstring(svg))
    titles = [path[0].text for path in paths]
    assert sorted(titles) == ["<Mill>: 12.5 %", "A & B: 50.0 %", "Passage", "River Bend"]
    assert titles[-1] == "A & B: 50.0 %"  # drawn last, on top
    assert paths[-1].get("stroke") == street_colours({"": 1.0})[""]
    assert ET.fromstring(svg).get("width") == "400"


def test_the_svg_lies_inside_its_box(town: StreetMap):
    svg = streets_svg(town.streets, VALUES, 400)
    height = float(ET.fromstring(svg).get("height"))
    numbers = [
        float(number)
        for route in re.findall(r' d="([^"]*)"', svg)
        for number in re.findall(r"-?[\d.]+", route)
    ]
    assert 0 < min(numbers[0::2]) < max(numbers[0::2]) < 400
    assert 0 < min(numbers[1::2]) < max(numbers[1::2]) < height


def test_the_colours_grow_darker_evenly():
    levels = np.array([COLOURS(share)[:3] for share in np.linspace(0, 1, 11)]) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(levels) < 0).all()

import re

import pytest
from four_streets import STREETS, gazetteer

from addressvlm.evaluation.beliefmap import LONGER_SIDE, belief_map, draw
from addressvlm.evaluation.breakdown import Group


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]


def test_north_is_up_and_a_unit_is_the_same_length_both_ways() -> None:
    drawing = draw(gazetteer(), shown=set(STREETS))
    oak, elm, low, _ = (points(shape.path) for shape in drawing.streets)
    assert oak[0][1] < elm[0][1] < low[0][1]
    # 0.004 degrees east and 0.004 degrees north at the equator: 445 m and 442 m.
    assert (oak[1][0] - oak[0][0]) * drawing.unit_m == pytest.approx(445.3, abs=0.5)
    assert (points(drawing.streets[3].path)[0][1] - oak[0][1]) * drawing.unit_m == pytest.approx(
        442.3, abs=0.5
    )
    assert max(drawing.width, drawing.height) == LONGER_SIDE


def test_the_map_is_framed_around_the_streets_that_matter() -> None:
    drawing = draw(gazetteer(), shown={"Oak Street", "Elm Street"})
    _, elm, low, _ = (points(shape.path) for shape in drawing.streets)
    assert elm[0][1] < drawing.height < low[0][1]


def test_holes_of_districts_are_drawn_as_rings_of_their_own() -> None:
    table = gazetteer()
    table.loc[0, "geometry"] = table.geometry[0].difference(table.geometry[0].centroid.buffer(0.0005, 1))
    assert draw(table, shown=set(STREETS)).districts[0].path.count("M") == 2


def test_colours_follow_the_share_of_rights() -> None:
    rights = {"Oak Street": 0.0, "Elm Street": 60.0, "Low Road": 100.0}
    asked = [Group(name, 5, {"s_G": right}) for name, right in rights.items()]
    drawn = belief_map(gazetteer(), asked, {})
    assert list(drawn["colours"].values()) == ["q0", "q4", "q5", "unasked"]
    assert drawn["told"]["Elm Street"] == "60 % of 5 photos named rightly"
    assert drawn["told"]["Quay & Dock"] == "no photo asked"


def test_beliefs_point_to_streets_and_sum_up_the_rest() -> None:
    counts = {"Elm Street": 4, "the moon": 2, **{f"x{n}": 1 for n in range(8)}}
    drawn = belief_map(gazetteer(), [], {"Oak Street": counts})
    about_oak = drawn["beliefs"][0]["beliefs"]
    assert about_oak[0] == (1, "Elm Street", round(4 / 14, 3), 4)
    assert about_oak[1] == (-1, "the moon", round(2 / 14, 3), 2)
    assert about_oak[-1] == (-1, "others", round(2 / 14, 3), 2)


def test_the_scale_bar_has_a_round_length() -> None:
    drawn = belief_map(gazetteer(), [Group("Oak Street", 1, {})], {})
    unit_m = drawn["drawing"].unit_m
    assert drawn["bar_words"] == "50 m"  # a fifth of 481 m, rounded down to 1, 2 or 5
    assert drawn["bar_units"] == round(50 / unit_m)

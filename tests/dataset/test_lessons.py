import numpy as np
import pytest

from addressvlm.dataset.lessons import FIRST, Lesson, lecture, lessons
from addressvlm.dataset.scenes import Name, Picture, SceneFacts

BUILDING = {
    "material": "brick", "colour": "red", "storeys": 3, "roof": None, "window_frames": "white",
    "ground_floor": "shop", "awning": None, "relief": None, "side": "left", "share": 0.2,
}  # fmt: skip
VIEW = {
    "looking": "along", "corner": True, "paving": "cobbles", "marking": None, "lamps": "globe",
    "visible": ["river"], "trees": {"palm": 2}, "cars": {}, "buildings": [BUILDING],
    "signs": [{"kind": "shop", "text": "Ashby Books", "side": "middle"}],
}  # fmt: skip
FACTS = SceneFacts(
    place="1/2",
    road="1/3",
    quarter="1/0",
    at=(20.0, 90.0),
    heading_deg=10.0,
    street="Ash Street",
    cross_street="Fen Way",
    names=(
        Name("Ash Street", (5, 90, 30, 100), 0.0),
        Name("Fen Way", (70, 95, 100, 105), 91.0),
        Name("Oak Lane", (5, 5, 30, 15), 140.0),
    ),
    view=VIEW,
    words="A view along a cobbled street, at a corner. On the left stands a red brick building.",
    page=(Name("Xyz", (60, 60, 80, 70), 0.0),),
)
OTHERS = ["Elm Road", "Bay Place", "Cow Hill"]


def about(picture: Picture, kind: str, seeds: int = 40) -> list[Lesson]:
    """All lessons of a kind that some seeds draw."""
    drawn = [lessons(FACTS, picture, OTHERS, 112, np.random.default_rng(seed)) for seed in range(seeds)]
    return [lesson for found in drawn for lesson in found if lesson.kind == kind]


def test_names_are_read_from_top_to_bottom() -> None:
    assert {lesson.answer for lesson in about("grafted", "names")} == {"Oak Lane, Ash Street, Fen Way."}
    assert {lesson.answer for lesson in about("page", "names")} == {"Xyz."}
    assert {lesson.answer for lesson in about("plain", "names")} == {"Nothing."}


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("in the upper left", "Oak Lane"),
        ("in the lower left", "Ash Street"),
        ("in the lower right", "Fen Way"),
    ],
)
def test_a_name_and_its_place_belong_together(place: str, name: str) -> None:
    assert {lesson.answer for lesson in about("grafted", "name at") if place in lesson.question} == {name}
    asked = [lesson for lesson in about("grafted", "place of") if name in lesson.question]
    assert {lesson.answer for lesson in asked} == {place[0].upper() + place[1:]}


def test_courses_are_named_after_the_compass() -> None:
    courses = {lesson.question.split(" Answer")[0]: lesson.answer for lesson in about("grafted", "course")}
    assert courses == {
        "In which direction does Ash Street run?": "From north to south",
        "In which direction does Fen Way run?": "From east to west",
        "In which direction does Oak Lane run?": "From northwest to southeast",
    }


def test_the_photo_is_matched_with_its_own_street() -> None:
    assert {lesson.answer for lesson in about("grafted", "place of photo")} == {"In the lower left"}
    plain = {x.answer for x in about("grafted", "match") if "Explain" not in x.question}
    explained = {x.answer.split(".")[0] for x in about("grafted", "match") if "Explain" in x.question}
    assert plain == {"Ash Street"}
    assert explained == {
        "The street view in the right-upper corner was taken near the corner of Ash Street and Fen Way"
    }
    for lesson in about("grafted", "match yes"):
        assert lesson.answer == ("Yes" if "on Ash Street," in lesson.question else "No")
    for lesson in about("grafted", "match which"):
        assert f"({lesson.answer}) Ash Street" in lesson.question


def test_wrong_answers_stand_on_no_map() -> None:
    for lesson in about("grafted", "is written"):
        named = [name for name in (*OTHERS, "Ash Street", "Fen Way", "Oak Lane") if name in lesson.question]
        assert lesson.answer == ("No" if named[0] in OTHERS else "Yes")
    for lesson in about("grafted", "which is written"):
        assert sum(name in lesson.question for name in OTHERS) == 3
        assert any(f"({lesson.answer}) {name.name}" in lesson.question for name in FACTS.names)


def test_a_street_without_a_label_is_not_asked_for() -> None:
    unlabelled = SceneFacts(**{**vars(FACTS), "names": FACTS.names[1:]})
    found = lessons(unlabelled, "grafted", OTHERS, 112, np.random.default_rng(0))
    assert not [lesson for lesson in found if lesson.kind.startswith("match")]


def test_a_view_is_asked_for_what_it_shows() -> None:
    assert {lesson.answer for lesson in about("view", "describe")} == {FACTS.words}
    answers = {
        lesson.kind: lesson.answer for lesson in about("view", "view paving") + about("view", "view colour")
    }
    assert answers == {"view paving": "Cobbles", "view colour": "Red"}
    assert {lesson.answer for lesson in about("view", "view sign")} == {"Ashby Books"}
    assert {lesson.answer for lesson in about("view", "view corner")} == {"Yes"}
    for lesson in about("view", "view thing"):
        there = any(word in lesson.question for word in ("a river", "a tree", "a shop"))
        assert lesson.answer == ("Yes" if there else "No")


def test_a_lecture_has_up_to_three_lessons_of_one_picture() -> None:
    pictures = set()
    for seed in range(200):
        drawn = lecture(FACTS, OTHERS, 112, np.random.default_rng(seed))
        pictures.add(drawn.picture)
        assert 1 <= len(drawn.lessons) <= 3
        assert len(set(drawn.lessons)) == len(drawn.lessons)
    assert pictures == {"grafted", "view", "page", "plain"}


def test_pictures_are_looked_at_as_often_as_asked_for() -> None:
    drawn = [lecture(FACTS, OTHERS, 112, np.random.default_rng(seed), FIRST).picture for seed in range(400)]
    assert set(drawn) == set(FIRST.pictures)
    assert drawn.count("page") == pytest.approx(400 * FIRST.pictures["page"], abs=40)

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from addressvlm.dataset.describing import (
    Hint,
    alignment_question,
    hinted_prompt,
    read_hint,
    rule_based_describe,
)
from addressvlm.errors import UsageError

PICTURE = Image.new("RGB", (8, 8))
CORNER = Hint(
    city="Pittsburgh",
    levels=("district", "street"),
    district="Downtown",
    street="Forbes Avenue",
    cross_street="Ross Street",
    scene="brick buildings of three storeys.",
    map_names=("Forbes Avenue", "Ross Street", "Grant Street"),
)
PLAIN = Hint("Pittsburgh", ("district", "street"), "Downtown", "Forbes Avenue")
texts = st.text(min_size=1, max_size=30)
hints = st.builds(
    Hint,
    city=texts,
    levels=st.tuples(texts, texts),
    district=texts,
    street=texts,
    cross_street=st.none() | texts,
    scene=st.none() | texts,
    map_names=st.lists(texts, max_size=4).map(tuple),
    variant=st.sampled_from(["graft", "stitch", "pair"]),
)


def describe(hint: Hint) -> str:
    return rule_based_describe(PICTURE, hinted_prompt(hint))


@given(hints)
def test_a_hint_is_read_back_from_its_prompt_whatever_its_names_hold(hint: Hint) -> None:
    assert read_hint(hinted_prompt(hint)) == hint


@pytest.mark.parametrize(
    "name", ['say "Hint: {}"', "a, b", "two\nHint: lines", "back\\slash", "渋谷", "a\u2028b"]
)
def test_awkward_names_stay_on_the_last_line(name: str) -> None:
    prompt = hinted_prompt(replace(CORNER, street=name))
    assert prompt.count("\n") == 1
    assert read_hint(prompt).street == name


def test_the_prompts_of_a_data_set_begin_alike_and_end_with_the_hint() -> None:
    first, second = (
        hinted_prompt(CORNER),
        hinted_prompt(replace(PLAIN, district="Uptown", street="Fifth Avenue")),
    )
    assert first.partition("\n")[0] == second.partition("\n")[0]
    assert "Forbes Avenue" not in first.partition("\n")[0]
    assert second.rpartition("\n")[2] == (
        'Hint: {"variant": "graft", "levels": ["district", "street"], "city": "Pittsburgh", '
        '"district": "Uptown", "street": "Fifth Avenue"}'
    )


@pytest.mark.parametrize(
    "prompt", ["", "Where is this?", "Hint: nothing", 'Hint: {"city": "X"}', "Hint: [1]"]
)
def test_a_prompt_without_a_hint_is_refused(prompt: str) -> None:
    with pytest.raises(UsageError, match="holds no hint"):
        rule_based_describe(PICTURE, prompt)


def test_an_answer_begins_with_the_address_and_goes_on_with_reasons() -> None:
    for street in ("Forbes Avenue", "Fifth Avenue", "Liberty Avenue", "10th Street"):
        first, *reasons = re.split(r"(?<=\.) ", describe(replace(CORNER, street=street)))
        assert f"{street} and Ross Street in Downtown, Pittsburgh." in first
        assert len(reasons) == 2
        assert "brick buildings of three storeys." in reasons[0]
        assert street in reasons[1]


def test_of_a_scene_in_several_sentences_the_first_and_one_other_are_told() -> None:
    scene = "A view along a street. On the left stands a mill. On the right stands an inn. There is a fir."
    told = [describe(replace(CORNER, scene=scene, street=f"Street {number}")) for number in range(30)]
    assert all(re.search("(shows|sees) a view along a street. ", answer) for answer in told)
    parts = ("On the left stands a mill.", "On the right stands an inn.", "There is a fir.")
    assert all(sum(part in answer for part in parts) == 1 for answer in told)
    assert all(any(part in answer for answer in told) for part in parts)


def test_without_a_crossing_none_is_claimed() -> None:
    for number in range(30):
        answer = describe(replace(PLAIN, street=f"Street {number}"))
        assert not re.search("intersection|corner of|meets|crosses", answer)


def test_a_name_is_said_to_be_on_the_map_only_if_it_can_be_read_there() -> None:
    for number in range(30):
        street = f"Street {number}"
        on_map = describe(replace(CORNER, street=street, map_names=(street, "Ross Street")))
        off_map = describe(replace(CORNER, street=street, map_names=()))
        assert re.search("labels|bears the name", on_map)
        assert "also labelled" in on_map
        assert not re.search("label|bears the name", off_map)


@given(hints)
def test_an_answer_holds_the_true_names_as_they_are_written(hint: Hint) -> None:
    answer = describe(hint)
    assert hint.street in answer
    assert hint.district in answer
    assert hint.cross_street is None or hint.cross_street in answer


def test_an_answer_never_mentions_the_hint() -> None:
    answers = [describe(replace(CORNER, street=f"Street {number}")) for number in range(100)]
    assert not any("hint" in answer.lower() or "given" in answer for answer in answers)


def test_no_other_street_is_named() -> None:
    assert "Grant Street" not in describe(CORNER)


def test_the_same_prompt_gives_the_same_words_and_others_vary() -> None:
    assert describe(CORNER) == describe(CORNER)
    wordings = {describe(replace(PLAIN, scene=f"{n}")).replace(f"{n}", "") for n in range(100, 200)}
    assert len(wordings) > 20


@pytest.mark.parametrize(
    ("variant", "where"),
    [("graft", "right-upper corner"), ("stitch", "on the right"), ("pair", "second image")],
)
def test_question_prompt_and_answer_say_where_the_street_view_is(variant: str, where: str) -> None:
    hint = replace(CORNER, variant=variant)
    assert where in alignment_question(("district", "street"), hint.variant)
    assert where in hinted_prompt(hint)
    assert where in describe(hint)


def test_the_question_asks_for_the_levels_of_the_city_and_holds_no_name() -> None:
    assert alignment_question(("chome", "street"), "graft") == (
        "On which street and in which chome was the street view in the right-upper corner taken? "
        "Explain how it matches the satellite view."
    )

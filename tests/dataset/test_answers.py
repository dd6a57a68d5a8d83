import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from addressvlm.dataset.answers import (
    LETTERS,
    is_correct,
    joint_answer,
    normalise,
    read_choice,
    read_judgment,
)

# Names as gazetteers have them: letters, digits, marks and punctuation, but no line breaks.
names = st.text(
    st.characters(codec="utf-8", categories=("L", "M", "N", "P", "Zs")), min_size=1, max_size=20
).filter(lambda name: any(character.isalnum() for character in name) and name == name.strip())
plain_names = names.filter(lambda name: "," not in normalise_commas(name) and " in " not in f" {name} ")


def normalise_commas(name: str) -> str:
    return name.replace("，", ",").replace("︐", ",").replace("﹐", ",")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Forbes Avenue", "forbes avenue"),
        ("  forbes   AVENUE. ", "forbes avenue"),
        ("“Forbes Avenue”", "forbes avenue"),
        ("St. Mary's Road", "st marys road"),
        ("St. Mary’s Road", "st marys road"),
        ("Crawford-Roberts", "crawford roberts"),
        ("Königstraße", "königstrasse"),
        ("Ｍｕｓａｓｈｉ", "musashi"),
        ("渋谷一丁目", "渋谷一丁目"),
        ("...", "..."),
    ],
)
def test_normalise_folds_the_form_and_keeps_the_name(text: str, plain: str) -> None:
    assert normalise(text) == plain


def test_a_leading_article_is_part_of_the_name() -> None:
    assert not is_correct("generation", "district", "The Bluff", "Bluff")


def test_an_accent_tells_names_apart() -> None:
    assert not is_correct("generation", "street", "Calle Pena", "Calle Peña")


@pytest.mark.parametrize("answer", ["Yes", "yes.", "YES, it is.", " Yes\n", "'Yes'"])
def test_a_judgment_is_told_by_its_first_word(answer: str) -> None:
    assert read_judgment(answer) == "Yes"


@pytest.mark.parametrize("answer", ["", "Yesterday", "It is not", "Forbes Avenue"])
def test_a_judgment_that_begins_otherwise_is_none(answer: str) -> None:
    assert read_judgment(answer) is None


OPTIONS = ("Ross Street", "Forbes Avenue", "B Street", "Grant Street")


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("(B).", "B"),
        ("B) Forbes Avenue", "B"),
        ("(B) forbes avenue.", "B"),
        ("B: Forbes Avenue", "B"),
        ("Forbes Avenue", "B"),
        ("B Street", "C"),
        ("C) B Street", "C"),
    ],
)
def test_a_choice_is_read_from_its_letter_or_its_text(answer: str, letter: str) -> None:
    assert read_choice(answer, OPTIONS) == letter


@pytest.mark.parametrize(
    "answer",
    ["", "E", "(B) Grant Street", "A or B", "Forbes", "Liberty Avenue", "A street in Pittsburgh", "BB"],
)
def test_what_means_no_option_or_two_is_no_choice(answer: str) -> None:
    assert read_choice(answer, OPTIONS) is None


def test_a_letter_beyond_the_options_is_no_choice() -> None:
    assert read_choice("C", ("Ross Street", "Forbes Avenue")) is None


def test_two_equal_options_are_told_apart_by_letter_only() -> None:
    assert read_choice("oak street", ("Oak Street", "OAK STREET")) is None
    assert read_choice("B", ("Oak Street", "OAK STREET")) == "B"


@pytest.mark.parametrize(
    "answer",
    [
        "Forbes Avenue, Downtown",
        "forbes avenue,downtown.",
        "Downtown, Forbes Avenue",
        "Forbes Avenue in Downtown",
    ],
)
def test_a_joint_answer_may_come_in_either_order(answer: str) -> None:
    assert is_correct("joint", "both", answer, "Forbes Avenue, Downtown")


@pytest.mark.parametrize(
    "answer",
    [
        "Forbes Avenue",
        "Downtown",
        "Forbes Avenue, Uptown",
        "Downtown in Forbes Avenue",
        "Ross Street, Downtown",
        ",",
    ],
)
def test_a_joint_answer_needs_both_names(answer: str) -> None:
    assert not is_correct("joint", "both", answer, "Forbes Avenue, Downtown")


def test_a_name_with_a_comma_is_matched_in_both_orders() -> None:
    truth = joint_answer("Harbour, North", "Oak Street, Upper")
    assert is_correct("joint", "both", truth, truth)
    assert is_correct("joint", "both", "Harbour, North, Oak Street, Upper", truth)


def test_the_strict_reading_wants_the_very_characters() -> None:
    assert is_correct("generation", "street", " Forbes Avenue\n", "Forbes Avenue", strict=True)
    assert not is_correct("generation", "street", "forbes avenue", "Forbes Avenue", strict=True)
    assert not is_correct("multiple_choice", "street", "(B)", "B", options=OPTIONS, strict=True)
    assert not is_correct("joint", "both", "Downtown, Ross Street", "Ross Street, Downtown", strict=True)


@given(names)
def test_the_true_name_always_counts(name: str) -> None:
    for said in (name, f"  {name}\n", f"{name}.", f'"{name}"', name.casefold()):
        assert is_correct("generation", "street", said, name)
    assert is_correct("generation", "street", name, name, strict=True)


@given(names, names)
def test_another_name_never_counts(name: str, other: str) -> None:
    assume(normalise(name) != normalise(other))
    assert not is_correct("generation", "street", other, name)


@given(names, names)
def test_the_true_joint_answer_always_counts(district: str, street: str) -> None:
    truth = joint_answer(district, street)
    assert is_correct("joint", "both", truth, truth)
    assert is_correct("joint", "both", joint_answer(street, district), truth)
    assert is_correct("joint", "both", f"{street} in {district}", truth)
    assert is_correct("joint", "both", truth, truth, strict=True)


@given(plain_names, plain_names, plain_names)
def test_a_joint_answer_with_another_name_never_counts(district: str, street: str, other: str) -> None:
    assume(len({normalise(district), normalise(street), normalise(other)}) == 3)
    truth = joint_answer(district, street)
    for said in (joint_answer(district, other), joint_answer(other, street), f"{other} in {district}", other):
        assert not is_correct("joint", "both", said, truth)


@given(st.lists(names, min_size=2, max_size=4, unique_by=normalise), st.data())
def test_the_true_letter_always_counts_and_no_other_does(options: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(options) - 1))
    truth = LETTERS[place]
    for letter, text in zip(LETTERS, options, strict=False):
        for said in (letter, f"({letter})", f"{letter}.", f"({letter}) {text}", f"{letter}) {text}"):
            assert is_correct("multiple_choice", "street", said, truth, options=options) == (letter == truth)

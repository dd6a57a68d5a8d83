import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from addressvlm.dataset import questions
from addressvlm.dataset.answers import LETTERS, is_correct
from addressvlm.dataset.questions import (
    ENDINGS,
    JOINT_TEMPLATES,
    TEMPLATES,
    Names,
    Question,
    Vocabulary,
    asks_for,
)
from addressvlm.dataset.seeds import generator
from addressvlm.geo.places import Address

DISTRICTS = {"Downtown": 50, "Uptown": 30, "Strip District": 15, "Hill": 5}
STREETS = {"Forbes Avenue": 40, "Ross Street": 30, "Grant Street": 20, "10th Street": 9, "Try Street": 1}
WORDS = Vocabulary(("district", "street"), Names(DISTRICTS), Names(STREETS))
HERE = Address("Downtown", "Forbes Avenue")


def asked(address: Address = HERE, words: Vocabulary = WORDS, key: int = 0) -> list[Question]:
    return questions.test_questions(address, words, generator(key))


def many(words: Vocabulary = WORDS, photos: int = 2000) -> Iterator[Question]:
    for key in range(photos):
        yield from asked(words=words, key=key)


def conversation(key: int = 0, rounds: int = 7, words: Vocabulary = WORDS) -> list[Question]:
    return questions.training_rounds(HERE, words, generator(key), rounds=rounds)


def test_templates_and_endings_are_those_of_the_paper(shared: Path) -> None:
    tables = json.loads((shared / "paper" / "tables.json").read_text("utf-8"))
    assert {level: list(texts) for level, texts in TEMPLATES.items()} == {
        level: tables["tableB4"][level] for level in ("district", "street")
    }
    four = " ".join(f"({letter}) [OPTION {letter}]" for letter in LETTERS)
    printed = {
        kind: text.replace("[OPTIONS]", four).replace("[LETTERS]", "A/B/C/D")
        for kind, text in ENDINGS.items()
    }
    assert list(printed.values()) == [
        tables["tableB5"][kind] for kind in ("Generation", "Judgement", "Multiple Choice")
    ]


def test_there_are_ten_templates_a_level_all_different() -> None:
    assert [len(set(TEMPLATES[level])) for level in ("district", "street")] == [10, 10]
    assert TEMPLATES["district"][0] == "Tell me the district where this image was captured."
    assert TEMPLATES["street"][9] == "What thoroughfare is depicted here?"


def test_every_template_is_used() -> None:
    beginnings = {question.text for question in many(photos=200)}
    for template in (*TEMPLATES["district"], *TEMPLATES["street"], *JOINT_TEMPLATES):
        assert any(text.startswith(template) for text in beginnings), template


def test_a_photo_is_asked_up_to_nine_questions_in_a_fixed_order() -> None:
    kinds = [(question.kind, question.level, question.truth) for question in asked(key=1)]
    assert [kind for kind, _, _ in kinds] == [
        *("generation", "judgment", "judgment", "multiple_choice") * 2,
        "joint",
    ]
    assert [truth for kind, _, truth in kinds if kind == "judgment"] == ["Yes", "No"] * 2
    assert [truth for kind, _, truth in kinds if kind == "generation"] == ["Downtown", "Forbes Avenue"]
    assert kinds[-1] == ("joint", "both", "Forbes Avenue, Downtown")


def test_a_judgment_names_the_place_with_the_word_of_its_level() -> None:
    yes = [question.text for question in asked(key=1) if question.truth == "Yes"]
    assert yes[0].endswith("Is this image taken in Downtown, Yes or No?")
    assert yes[1].endswith("Is this image taken on Forbes Avenue, Yes or No?")


def test_a_judgment_with_the_truth_no_names_another_place() -> None:
    for question in many(photos=300):
        if question.kind == "judgment":
            named = re.search(r"taken (?:in|on) (.*), Yes or No", question.text)
            assert named
            assert (named[1] in (HERE.district, HERE.street)) == (question.truth == "Yes")


def test_wrong_names_of_judgments_are_as_frequent_as_in_the_training_photos() -> None:
    texts = [question.text for question in many(photos=4000) if question.truth == "No"]
    found = Counter(name for text in texts for name in DISTRICTS if f"in {name}," in text)
    shares = {name: found[name] / found.total() for name in found}
    expected = {name: number / 50 for name, number in DISTRICTS.items() if name != "Downtown"}
    assert shares == pytest.approx(expected, abs=0.03)


def test_no_questions_are_missing_as_often_as_a_drawn_name_is_the_true_one() -> None:
    # 10 000 photos of a city whose frequencies fall like 1/rank: the share missing is the sum of squares.
    names = {f"Name {rank}": round(100_000 / rank) for rank in range(1, 31)}
    words = Vocabulary(("district", "street"), Names(names), Names(names))
    shares = np.array(list(names.values())) / sum(names.values())
    photos = np.random.default_rng(5).choice(list(names), size=10_000, p=shares)
    made = [
        question
        for number, name in enumerate(photos)
        for question in questions.test_questions(Address(name, name), words, generator("share", number))
    ]
    no = Counter(question.level for question in made if question.truth == "No")
    missing = np.sum(shares**2)
    assert 1 - no["district"] / 10_000 == pytest.approx(missing, abs=0.01)
    assert 1 - no["street"] / 10_000 == pytest.approx(missing, abs=0.01)
    assert len(made) / 10_000 == pytest.approx(9 - 2 * missing, abs=0.01)


def test_a_multiple_choice_has_four_distinct_options_with_the_truth_at_its_letter() -> None:
    for question in many(photos=300):
        if question.kind == "multiple_choice":
            assert len(set(question.options)) == 4
            truth = HERE.district if question.level == "district" else HERE.street
            assert question.options[LETTERS.index(question.truth)] == truth
            for letter, option in zip(LETTERS, question.options, strict=True):
                assert f"({letter}) {option}" in question.text
            assert question.text.endswith("Please select the correct option (A/B/C/D).")


def test_the_truth_stands_at_each_letter_equally_often() -> None:
    letters = Counter(question.truth for question in many() if question.kind == "multiple_choice")
    assert {letter: letters[letter] / 4000 for letter in LETTERS} == pytest.approx(
        dict.fromkeys(LETTERS, 0.25), abs=0.02
    )


def test_frequent_names_are_frequent_among_wrong_options() -> None:
    # Beside Forbes Avenue; one of the other four is left out, and that is nearly always the rarest one.
    options = Counter(
        option for question in many() if question.kind == "multiple_choice" for option in question.options
    )
    assert (
        options["Ross Street"] > options["Grant Street"] > options["10th Street"] > 4 * options["Try Street"]
    )


def test_draws_without_replacement_have_the_textbook_chances() -> None:
    # Of a (1/2), b (1/3), c (1/6): P(a, b) = 1/2 · 2/3, P(b, a) = 1/3 · 3/4, P(c, a) = 1/6 · 3/5.
    drawn = Names({"a": 3, "b": 2, "c": 1, "truth": 100})
    pairs = Counter(tuple(drawn.draw_others(generator(key), "truth", 2)) for key in range(10_000))
    assert pairs["a", "b"] / 10_000 == pytest.approx(1 / 3, abs=0.012)
    assert pairs["b", "a"] / 10_000 == pytest.approx(1 / 4, abs=0.012)
    assert pairs["c", "a"] / 10_000 == pytest.approx(1 / 10, abs=0.012)


def test_a_city_of_two_districts_has_two_options() -> None:
    words = Vocabulary(("district", "street"), Names({"Downtown": 1, "Uptown": 1}), Names(STREETS))
    (question,) = (q for q in asked(words=words) if (q.kind, q.level) == ("multiple_choice", "district"))
    assert sorted(question.options) == ["Downtown", "Uptown"]
    assert question.text.endswith("(A/B).")


def test_a_city_of_one_district_has_neither_choice_nor_no_about_it() -> None:
    words = Vocabulary(("district", "street"), Names({"Downtown": 7}), Names(STREETS))
    of_district = [q for q in many(words, photos=50) if q.level == "district"]
    assert {(q.kind, q.truth) for q in of_district} == {("generation", "Downtown"), ("judgment", "Yes")}
    assert len(conversation(words=words)) == 6


def test_a_truth_that_no_training_photo_has_is_asked_all_the_same() -> None:
    made = asked(Address("Elsewhere", "New Street"))
    assert len(made) == 9
    assert all(is_correct(q.kind, q.level, q.truth, q.truth, options=q.options) for q in made)


def test_two_spellings_of_the_truth_are_not_offered_against_each_other() -> None:
    drawn = Names({"St. James": 50, "St James": 50, "Hill": 1})
    assert drawn.draw_others(generator(0), "St. James", 3) == ["Hill"]


def test_a_name_that_looks_like_a_gap_stays_as_it_is() -> None:
    words = Vocabulary(("district", "street"), Names(DISTRICTS), Names({"[LETTERS]": 1, "[OPTIONS]": 1}))
    (question,) = (
        q
        for q in asked(Address("Hill", "[LETTERS]"), words)
        if (q.kind, q.level) == ("multiple_choice", "street")
    )
    filled = " ".join(f"({letter}) {name}" for letter, name in zip("AB", question.options, strict=True))
    assert question.text.endswith(f"{filled}. Please select the correct option (A/B).")


def test_a_city_with_chome_is_asked_for_chome() -> None:
    words = Vocabulary(("chome", "street"), Names(DISTRICTS), Names(STREETS))
    for question in many(words, photos=100):
        assert not re.search(r"\bdistrict\b", question.text)
        assert ("chome" in question.text) or question.level == "street" or question.kind == "judgment"


def test_seven_rounds_are_each_type_of_each_level_and_the_joint_one() -> None:
    assert Counter((q.kind, q.level) for q in conversation()) == Counter(
        [(kind, level) for kind in ENDINGS for level in ("district", "street")] + [("joint", "both")]
    )


def test_three_rounds_are_one_of_each_type_of_either_level() -> None:
    conversations = [conversation(key, rounds=3) for key in range(400)]
    assert all(sorted(q.kind for q in made) == sorted(ENDINGS) for made in conversations)
    streets = Counter(q.kind for made in conversations for q in made if q.level == "street")
    assert all(number / 400 == pytest.approx(0.5, abs=0.08) for number in streets.values())


def test_rounds_come_in_every_order() -> None:
    first = Counter((q.kind, q.level) for q in (conversation(key)[0] for key in range(1400)))
    assert len(first) == 7
    assert all(100 < number < 300 for number in first.values())


def test_half_of_the_judgments_in_training_are_yes() -> None:
    truths = Counter(q.truth for key in range(1000) for q in conversation(key) if q.kind == "judgment")
    assert truths["Yes"] / 2000 == pytest.approx(0.5, abs=0.04)


def test_one_key_is_one_conversation_on_every_machine() -> None:
    assert conversation(3) == conversation(3) != conversation(4)
    assert generator(1, "x", "photo").random() == 0.23775893729830522


def test_a_name_within_a_word_is_not_asked_for() -> None:
    assert not asks_for("Is this in Northside?", "North", [])
    assert asks_for("Is this in North?", "North", [])

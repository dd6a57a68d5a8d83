from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from addressvlm.dataset.questions import plain_questions
from addressvlm.inference.constrained import constrained_answers
from addressvlm.inference.fusion import of_streets
from addressvlm.inference.localizer import Localizer
from addressvlm.model.backbone import Backbone


@dataclass(frozen=True)
class Question:
    images: tuple[Path, ...]
    question: str
    kind: str
    level: str
    options: tuple[str, ...] = ()


def about(photo: Path) -> list[Question]:
    plain = plain_questions(("district", "street"))
    return [
        Question((photo,), plain["district"], "generation", "district"),
        Question((photo,), "Is it on Oak Street?", "judgment", "street"),
        Question((photo,), plain["street"], "generation", "street"),
        Question((photo,), "Which?", "multiple_choice", "street", ("Oak Street", "Elm Street")),
        Question((photo,), plain["both"], "joint", "both"),
    ]


@pytest.fixture
def localizer(taught: Backbone, run: Path) -> Localizer:
    return Localizer(taught, run)


def test_only_what_a_question_allows_is_answered(localizer: Localizer, photos: list[Path]) -> None:
    questions = [question for photo in photos for question in about(photo)]
    answers = list(constrained_answers(localizer, questions))
    allowed = {
        ("generation", "district"): {"North"},
        ("judgment", "street"): {"Yes", "No"},
        ("generation", "street"): {"Oak Street", "Elm Street", "Low Road"},
        ("multiple_choice", "street"): {"A", "B"},
        ("joint", "both"): {"Oak Street, North", "Elm Street, North", "Low Road, North"},
    }
    for question, answer in zip(questions, answers, strict=True):
        assert {answer["closed"], answer["joint"]} <= allowed[question.kind, question.level]


def test_closed_answers_are_the_likeliest_names(localizer: Localizer, photos: list[Path]) -> None:
    questions = about(photos[1])
    answers = list(constrained_answers(localizer, questions))
    for number, level in ((2, "street"), (4, "both")):
        question = questions[number]
        likeliest = localizer.distribution(photos[1], question.question, level).argmax()  # type: ignore[arg-type]
        names = localizer.names.streets if level == "street" else localizer.names.pair_names
        assert answers[number]["closed"] == names[int(likeliest)]


def test_joint_answers_of_a_photo_agree(localizer: Localizer, photos: list[Path]) -> None:
    for photo in photos:
        district, judgment, street, choice, both = constrained_answers(localizer, about(photo))
        assert f"{street['joint']}, {district['joint']}" == both["joint"] == both["closed"]
        options = ("Oak Street", "Elm Street")
        assert street["joint"] not in options or choice["joint"] == "AB"[options.index(street["joint"])]


def test_without_a_joint_question_joint_answers_are_closed(localizer: Localizer, photos: list[Path]) -> None:
    for answer in constrained_answers(localizer, about(photos[0])[:3]):
        assert answer["joint"] == answer["closed"]


def test_answers_come_in_the_order_of_the_requests(localizer: Localizer, photos: list[Path]) -> None:
    questions = [question for photo in photos for question in about(photo)]
    together = list(constrained_answers(localizer, questions))
    alone = [answer for photo in photos for answer in constrained_answers(localizer, about(photo))]
    assert together == alone


def test_options_from_nowhere_get_the_closed_answer(localizer: Localizer, photos: list[Path]) -> None:
    questions = [
        Question((photos[0],), "Which?", "multiple_choice", "street", ("Here", "There")),
        about(photos[0])[-1],
    ]
    choice, _ = constrained_answers(localizer, questions)
    assert choice["joint"] == choice["closed"]


def test_a_name_is_affirmed_if_the_photo_makes_it_likelier(localizer: Localizer, photos: list[Path]) -> None:
    for photo in photos:
        both = about(photo)[-1]
        belief = np.exp(of_streets(localizer.names, localizer.distribution(photo, both.question, "both")))
        for street, probability in zip(localizer.names.streets, belief / belief.sum(), strict=True):
            asked = Question((photo,), f"Is this on {street}?", "judgment", "street")
            answer = list(constrained_answers(localizer, [asked, both]))[0]["joint"]
            assert answer == ("Yes" if probability > 1 / 3 else "No")  # all three have equally many photos


def test_a_judgment_on_an_unknown_name_is_closed(localizer: Localizer, photos: list[Path]) -> None:
    asked = Question((photos[0],), "Is this on Mars?", "judgment", "street")
    answer = list(constrained_answers(localizer, [asked, about(photos[0])[-1]]))[0]
    assert answer["joint"] == answer["closed"]

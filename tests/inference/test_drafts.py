from pathlib import Path
from typing import Any

import pytest

from addressvlm.inference.drafts import Drafts
from addressvlm.inference.localizer import Localizer
from addressvlm.inference.prompts import Request
from addressvlm.model.backbone import Backbone
from addressvlm.model.conversation import answer_tokens
from addressvlm.model.treepass import TreePass

QUESTIONS = ("Which street is this?", "Which district and which street is this?")


def test_names_go_on_as_far_as_all_do() -> None:
    drafts = Drafts([(1, 2, 3, 4), (1, 2, 5), (6,), (7, 8), (7, 8, 9)])
    assert drafts.after([1]) == [2]
    assert drafts.after([1, 2]) == []
    assert drafts.after([1, 2, 3]) == [4]
    assert drafts.after([7]) == [8, 9]  # the longer one, which the model may end sooner
    assert all(drafts.after(answer) == [] for answer in ([6], [0], [1, 2, 5], []))
    assert Drafts().after([1]) == []


@pytest.fixture
def requests(photos: list[Path]) -> list[Request]:
    return [Request((photo,), question) for photo in photos for question in QUESTIONS]


def answers_and_readings(
    localizer: Localizer, requests: list[Request], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[list[str], int]:
    read, count = TreePass.read, 0

    def counting(*args: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        return read(*args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(TreePass, "read", counting)
        return list(localizer.answer(requests, **options)), count


def test_names_come_in_fewer_readings(
    taught: Backbone, run: Path, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, drafted = Localizer(taught, run), Localizer(taught, run)
    plain._drafts = Drafts()
    answers, readings = answers_and_readings(plain, requests, monkeypatch)
    assert answers == list(plain.answer(requests, engine="generate"))
    drafted._drafts = Drafts(answer_tokens(taught.tokenizer, answer) for answer in dict.fromkeys(answers))
    same, fewer = answers_and_readings(drafted, requests, monkeypatch)
    assert same == answers
    assert fewer < readings


def test_the_names_of_a_run_are_drafted(taught: Backbone, run: Path) -> None:
    localizer = Localizer(taught, run)
    first, *more = answer_tokens(taught.tokenizer, "Low Road, North")
    assert localizer._drafts.after([first]) == more
    assert Localizer(taught)._drafts.after([first]) == []


@pytest.mark.parametrize("max_new_tokens", [1, 2, 3, 24])
def test_what_the_model_would_not_say_is_thrown_away(
    max_new_tokens: int,
    taught: Backbone,
    run: Path,
    requests: list[Request],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, misled = Localizer(taught, run), Localizer(taught, run)
    plain._drafts = Drafts()
    answers, _ = answers_and_readings(plain, requests, monkeypatch, max_new_tokens=max_new_tokens)
    said = {answer_tokens(taught.tokenizer, answer) for answer in plain.answer(requests)}
    wrong = [(*tokens[:length], 7, 7, 7) for tokens in said for length in range(1, len(tokens))]
    for names in (wrong[0::2], wrong[1::2]):
        misled._drafts = Drafts(names)
        found, _ = answers_and_readings(misled, requests, monkeypatch, max_new_tokens=max_new_tokens)
        assert found == answers

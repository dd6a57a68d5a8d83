from collections.abc import Callable
from pathlib import Path

import pytest
from four_streets import prediction

from addressvlm.errors import AddressVLMError
from addressvlm.evaluation.predictions import FIELDS, append_predictions, read_predictions, resume_predictions

Write = Callable[..., Path]


def without(field: str) -> dict[str, object]:
    return {name: value for name, value in prediction().items() if name != field}


def test_lines_become_rows_in_their_order(write_lines: Write) -> None:
    path = write_lines(prediction(photo="b"), prediction(photo="a", answer="Straße"))
    table = read_predictions(path)
    assert list(table.columns) == [*FIELDS, "constrained"]
    assert table["constrained"].tolist() == [{}, {}]
    assert table["photo"].tolist() == ["b", "a"]
    assert table["answer"].tolist() == ["Oak Street", "Straße"]


def test_further_fields_and_empty_lines_do_no_harm(write_lines: Write) -> None:
    table = read_predictions(write_lines({**prediction(), "seconds": 3}, "", "  "))
    assert len(table) == 1


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{oops", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "is not a JSON object"),
        (without("truth"), "has no field 'truth'"),
        (prediction(answer=None), "has answer = None, which is not a text"),
        (prediction(location=7), "has location = 7"),
        (prediction(options="A"), "which is not a list of texts"),
        (prediction(kind="guess"), "known are generation, judgment, multiple_choice, joint"),
        (prediction(level="city"), "known are district, street, both"),
        (prediction(kind="joint"), "level 'both' is that of joint questions"),
        (prediction(level="both"), "level 'both' is that of joint questions"),
        (prediction(kind="judgment", truth="yes"), "that of a judgment is Yes or No"),
        (prediction(kind="multiple_choice", truth="C", options=["Oak", "Elm"]), "one of its 2 options"),
        (prediction(kind="multiple_choice", truth="A"), "one of its 0 options"),
        (prediction(truth=" "), "has an empty truth"),
    ],
)
def test_a_bad_line_is_named_by_its_number(write_lines: Write, line: object, problem: str) -> None:
    path = write_lines(prediction(), line)
    with pytest.raises(AddressVLMError, match=r"predictions\.jsonl, line 2: ") as error:
        read_predictions(path)
    assert problem in str(error.value)


def test_a_question_asked_twice_is_an_error(write_lines: Write) -> None:
    path = write_lines(prediction(), prediction(photo="p2"), prediction(answer="Elm Street"))
    with pytest.raises(
        AddressVLMError, match="line 3: the line asks the same question of photo 'p1' as line 1"
    ):
        read_predictions(path)


def test_bytes_that_are_no_text_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(b"\xff\xfe\x00broken\n")
    with pytest.raises(AddressVLMError, match="line 1: the line is not JSON"):
        read_predictions(tmp_path / "p.jsonl")


def test_an_empty_file_says_what_it_needs(write_lines: Write) -> None:
    with pytest.raises(AddressVLMError, match="holds no predictions"):
        read_predictions(write_lines())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match=r"nothing\.jsonl does not exist"):
        read_predictions(tmp_path / "nothing.jsonl")


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    append_predictions(path, [prediction()], ["Straße\nund \u2028Gasse"])
    append_predictions(path, [prediction(photo="p2")], [""])
    assert read_predictions(path)["answer"].tolist() == ["Straße\nund \u2028Gasse", ""]


@pytest.mark.parametrize(
    ("left", "ends", "kept"),
    [
        (5, [1, 2, 3, 4, 5, 6], 5),  # all complete lines
        (5, [2, 4, 6], 4),  # whole chunks only
        (5, [2, 4, 5], 5),  # all questions are answered: the last, shorter chunk is whole
        (1, [2, 4], 0),
    ],
)
def test_a_killed_run_is_cut_back_to_whole_chunks(
    tmp_path: Path, left: int, ends: list[int], kept: int
) -> None:
    path = tmp_path / "p.jsonl"
    append_predictions(path, [prediction(photo=f"p{n}") for n in range(left)], ["Oak"] * left)
    complete = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(path.read_bytes() + b'{"photo": "torn')
    assert len(resume_predictions(path, ends)) == kept
    assert path.read_bytes() == b"".join(complete[:kept])


def test_without_a_file_nothing_is_resumed(tmp_path: Path) -> None:
    assert resume_predictions(tmp_path / "p.jsonl", [4, 8]).empty


def test_constrained_answers_are_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    append_predictions(path, [prediction()], ["Oak"], [{"closed": "Elm"}])
    append_predictions(path, [prediction(photo="p2")], ["Oak"])
    assert read_predictions(path)["constrained"].tolist() == [{"closed": "Elm"}, {}]


@pytest.mark.parametrize("value", ["Oak", ["Oak"], {"closed": 3}])
def test_constrained_answers_that_are_no_texts_are_refused(write_lines: Write, value: object) -> None:
    with pytest.raises(AddressVLMError, match="line 1: the line has constrained"):
        read_predictions(write_lines({**prediction(), "constrained": value}))

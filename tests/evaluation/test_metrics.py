from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from four_streets import prediction

from addressvlm.evaluation.evaluate import score_file
from addressvlm.evaluation.metrics import (
    METRICS,
    Known,
    Scores,
    known_from_training,
    known_from_truths,
    micro_average,
    score,
)

Write = Callable[..., Path]

# Rows "AddressVLM" of Table 2, and how many questions of each type an image is asked there.
PITTS = {
    "d_G": 88.73,
    "d_J": 93.54,
    "d_M": 95.16,
    "s_G": 72.51,
    "s_J": 91.70,
    "s_M": 93.98,
    "sd": 69.60,
}
SF = {"d_G": 86.48, "d_J": 93.72, "d_M": 94.50, "s_G": 76.09, "s_J": 88.92, "s_M": 92.75, "sd": 70.45}
ONE_EACH = {"d_G": 1, "d_M": 1, "s_G": 1, "s_M": 1, "sd": 1}
PITTS_QUESTIONS = {**ONE_EACH, "d_J": 1.8088, "s_J": 1.9845}
SF_QUESTIONS = {**ONE_EACH, "d_J": 1.9022, "s_J": 1.9800}
PITTS_AVERAGES = {"d_mean": 92.70, "s_mean": 87.46, "mean": 90.02}
SF_AVERAGES = {"d_mean": 92.06, "s_mean": 86.66, "mean": 89.33}

KINDS = {"G": "generation", "J": "judgment", "M": "multiple_choice"}
TRUTHS = {"generation": "Oak", "judgment": "Yes", "multiple_choice": "A", "joint": "Oak, North"}


def questions(cell: str, asked: int, right: int, photo: str = "p") -> list[dict[str, Any]]:
    """`asked` questions of one type, the first `right` of them answered rightly, each about another photo."""
    kind = "joint" if cell == "sd" else KINDS[cell[2]]
    level = {"d": "district", "s": "street"}[cell[0]] if cell != "sd" else "both"
    options = ["Oak", "Elm"] if kind == "multiple_choice" else []
    same = {"kind": kind, "level": level, "truth": TRUTHS[kind], "options": options}
    answers = [TRUTHS[kind] if number < right else "Nowhere" for number in range(asked)]
    return [
        prediction(photo=f"{photo}{number}", location=f"l{number}", answer=answer, **same)
        for number, answer in enumerate(answers)
    ]


def scored(*rows: list[dict[str, Any]], **options: Any) -> Scores:
    return score(pd.DataFrame(sum(rows, [])), replicates=200, **options)


@pytest.mark.parametrize(
    ("cells", "asked", "printed"),
    [(PITTS, PITTS_QUESTIONS, PITTS_AVERAGES), (SF, SF_QUESTIONS, SF_AVERAGES)],
    ids=["Pitts", "SF"],
)
def test_the_papers_averages_follow_from_its_cells(
    cells: dict[str, float], asked: dict[str, float], printed: dict[str, float]
) -> None:
    averages = micro_average(cells, asked)
    for name, value in printed.items():
        assert averages[name] == pytest.approx(value, abs=0.01)


def test_a_file_in_the_papers_proportions_gives_the_papers_figures(write_lines: Write) -> None:
    images = 5000
    rows, right, asked = [], {}, {}
    for cell, accuracy in PITTS.items():
        asked[cell] = round(PITTS_QUESTIONS[cell] * images)
        right[cell] = round(accuracy / 100 * asked[cell])
        rows += questions(cell, asked[cell], right[cell])
    result = score_file(write_lines(*rows))
    for name, value in PITTS_AVERAGES.items():
        assert result["metrics"][name] == pytest.approx(value, abs=0.01)
    for cell in PITTS:
        assert result["metrics"][cell] == round(100 * right[cell] / asked[cell], 6)
    six = [cell for cell in PITTS if cell != "sd"]
    exact = 100 * sum(right[cell] for cell in six) / sum(asked[cell] for cell in six)
    assert result["metrics"]["mean"] == round(exact, 6)
    assert result["counts"]["n_mean"] == sum(asked[cell] for cell in six)


def test_averages_are_over_questions_not_over_types() -> None:
    result = scored(questions("s_G", 1, 0), questions("s_J", 3, 3))
    assert result.metrics["s_mean"] == 75.0  # 3 of 4, not (0 + 100) / 2


def test_the_joint_question_is_not_in_the_mean() -> None:
    result = scored(questions("d_G", 2, 2), questions("s_G", 2, 1), questions("sd", 4, 0))
    assert result.metrics["mean"] == 75.0
    assert result.metrics["sd"] == 0.0
    assert result.counts["n_mean"] == 4
    assert result.counts["n_sd"] == 4


def test_what_was_not_asked_is_null_everywhere() -> None:
    result = scored(questions("s_G", 4, 1), questions("s_J", 4, 2), neighbour_answers=["Oak"] * 8)
    lines = (
        result.metrics,
        result.strict,
        result.chance,
        result.majority,
        result.neighbours,
        result.intervals,
    )
    for line in lines:
        assert line["s_M"] is None
        assert line["d_mean"] is None
        assert list(line) == list(METRICS)
    assert result.counts["n_s_M"] == 0
    assert result.metrics["mean"] == result.metrics["s_mean"] == 37.5


def test_strict_figures_want_the_very_characters() -> None:
    rows = [
        prediction(photo="a", answer="oak street."),
        prediction(photo="b", answer="Oak Street"),
        prediction(photo="c", kind="judgment", truth="Yes", answer="Yes, it is"),
    ]
    result = scored(rows)
    assert result.metrics["s_mean"] == 100.0
    assert result.strict["s_G"] == 50.0
    assert result.strict["s_J"] == 0.0


def test_chance_is_one_over_the_choices() -> None:
    known = Known(
        {
            "district": {"N": 1, "S": 9},
            "street": dict.fromkeys("abcde", 1),
            "both": dict.fromkeys("12345678", 1),
        },
        "the training photos",
    )
    types = [questions(cell, 2, 1) for cell in ("d_G", "s_G", "s_J", "s_M", "sd")]
    result = scored(*types, known=known)
    assert result.chance["d_G"] == 50.0
    assert result.chance["s_G"] == 20.0
    assert result.chance["s_J"] == 50.0
    assert result.chance["s_M"] == 50.0  # two options
    assert result.chance["sd"] == 12.5
    assert result.chance["s_mean"] == 40.0  # (20 + 50 + 50) / 3
    assert result.lines_from == "the training photos"


def test_the_majority_line_gives_the_most_frequent_name_of_the_training_photos() -> None:
    train = pd.DataFrame({"district": ["North"] * 3, "street": ["Oak", "Elm", "Elm"]})
    rows = [prediction(photo=f"p{n}", truth=truth) for n, truth in enumerate(["Elm", "Oak", "Oak", "Oak"])]
    result = scored(rows, known=known_from_training(train))
    assert result.majority["s_G"] == 25.0


def test_the_majority_line_gives_the_better_word_and_letter() -> None:
    yes_and_no = [
        prediction(photo=f"p{n}", kind="judgment", truth=truth)
        for n, truth in enumerate(["Yes", "No", "Yes", "Yes"])
    ]
    letters = [
        prediction(photo=f"p{n}", kind="multiple_choice", truth=truth, options=list("wxyz"))
        for n, truth in enumerate("BCBDB")
    ]
    result = scored(yes_and_no, letters)
    assert result.majority["s_J"] == 75.0
    assert result.majority["s_M"] == 60.0


def test_a_bare_file_knows_the_names_of_its_truths() -> None:
    rows = [prediction(photo=f"p{n}", truth=truth) for n, truth in enumerate(["Oak", "Elm", "Oak", "Low"])]
    result = scored(rows)
    assert result.chance["s_G"] == round(100 / 3, 6)
    assert result.majority["s_G"] == 50.0
    assert "no training data" in result.lines_from


def test_the_commonest_name_is_the_first_of_equals() -> None:
    known = known_from_truths(pd.DataFrame([prediction(truth="b"), prediction(truth="a")]))
    assert known.most_frequent("street") == "a"
    assert known.most_frequent("district") == ""


def test_pairs_are_known_as_joint_answers_are_written() -> None:
    train = pd.DataFrame({"district": ["North", "South", "South"], "street": ["Oak", "Oak", "Oak"]})
    assert known_from_training(train).names["both"] == {"Oak, North": 1, "Oak, South": 2}


def test_intervals_treat_a_location_as_one_draw() -> None:
    # A hundred photos at each of two places, one all right, one all wrong: two draws, not two hundred.
    rows = [
        prediction(photo=f"p{n}", location=f"l{n % 2}", answer="Oak Street" if n % 2 else "Elm Street")
        for n in range(200)
    ]
    result = scored(rows)
    assert result.metrics["s_G"] == 50.0
    assert result.intervals["s_G"] == [0.0, 100.0]


def test_intervals_of_many_locations_are_those_of_a_share() -> None:
    rows = questions("s_G", 400, 200)
    interval = score(pd.DataFrame(rows), replicates=4000).intervals["s_G"]
    spread = 1.96 * 100 * np.sqrt(0.25 / 400)  # normal approximation: 4.9 points
    assert interval == pytest.approx([50 - spread, 50 + spread], abs=0.5)


def test_intervals_are_the_same_each_time_and_change_with_the_seed() -> None:
    rows = questions("s_G", 37, 11)
    assert scored(rows, seed=1).intervals == scored(rows, seed=1).intervals
    assert scored(rows, seed=1).intervals != scored(rows, seed=2).intervals


def test_a_single_location_has_no_interval() -> None:
    result = scored([prediction(photo="a"), prediction(photo="b")])
    assert result.intervals == dict.fromkeys(METRICS)


def test_photos_and_locations_are_counted() -> None:
    result = scored(questions("s_G", 3, 1), questions("d_G", 3, 1))
    assert (result.photos, result.locations) == (3, 3)


def test_the_json_leaves_out_the_neighbours_where_there_are_none() -> None:
    rows = questions("s_G", 3, 1)
    assert "neighbours" not in scored(rows).to_json()
    assert scored(rows, neighbour_answers=["Oak"] * 3).to_json()["neighbours"]["s_G"] == 100.0

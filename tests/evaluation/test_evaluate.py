import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import pytest
from four_streets import FakeCity, obedient

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.evaluation import evaluate as module
from addressvlm.evaluation.evaluate import Request, chunk_ends, evaluate, score_file

FILES = ("predictions.jsonl", "metrics.json", "report.html", "summary.json", "config.json")


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def test_a_truthful_answerer_scores_a_hundred(city: FakeCity, tmp_path: Path) -> None:
    metrics = evaluate(city.folder, city.truthful, tmp_path / "out")
    assert set(metrics["metrics"].values()) == {100.0}
    assert metrics["counts"]["n_mean"] == 48  # 8 photos, 3 questions of each of two levels
    assert metrics["chance"]["s_G"] == 25.0
    assert metrics["chance"]["sd"] == 25.0  # four pairs
    assert metrics["neighbours"]["s_mean"] == 100.0
    assert metrics["lines_from"] == "the addresses of the training photos"


def test_predictions_are_the_questions_with_their_answers(city: FakeCity, tmp_path: Path) -> None:
    evaluate(city.folder, lambda requests: ["Elm Street"] * len(requests), tmp_path / "out")
    lines = (tmp_path / "out" / "predictions.jsonl").read_text("utf-8").splitlines()
    first, asked = json.loads(lines[0]), city.rows[0]
    fields = ("photo", "location", "kind", "level", "question", "options", "truth")
    assert first == {field: asked[field] for field in fields} | {"answer": "Elm Street"}
    assert len(lines) == len(city.rows)


def test_scoring_the_written_file_gives_the_same_figures(city: FakeCity, tmp_path: Path) -> None:
    metrics = evaluate(city.folder, lambda requests: ["Elm Street"] * len(requests), tmp_path / "out")
    alone = score_file(tmp_path / "out" / "predictions.jsonl")
    for part in ("metrics", "counts", "intervals", "strict", "photos", "locations"):
        assert alone[part] == metrics[part]
    assert "neighbours" not in alone


def test_answers_under_constraints_are_kept_and_scored_beside(city: FakeCity, tmp_path: Path) -> None:
    metrics = evaluate(city.folder, city.truthful, tmp_path / "out", constrained=obedient)
    assert metrics["metrics"]["s_G"] == 100.0
    assert metrics["constrained"]["closed"]["s_G"] == 25.0
    assert metrics["constrained"]["closed"]["d_G"] == 0.0  # a street is no district
    assert metrics["constrained"]["joint"]["d_G"] == 50.0
    assert metrics["constrained"]["joint"]["sd"] == 25.0
    line = json.loads((tmp_path / "out" / "predictions.jsonl").read_text("utf-8").splitlines()[0])
    assert line["constrained"] == {"closed": "Low Road", "joint": "South"}
    assert score_file(tmp_path / "out" / "predictions.jsonl")["constrained"] == metrics["constrained"]
    assert "closed" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_near_a_corner_the_other_street_may_count(city: FakeCity, tmp_path: Path) -> None:
    def other_street(requests: Sequence[Request]) -> list[str]:
        return ["Elm Street, North" if request.kind == "joint" else "Elm Street" for request in requests]

    metrics = evaluate(city.folder, other_street, tmp_path / "out")
    assert metrics["metrics"]["s_G"] == metrics["metrics"]["sd"] == 25.0  # on Elm Street itself
    assert metrics["corner_tolerant"]["s_G"] == metrics["corner_tolerant"]["sd"] == 50.0
    assert metrics["corner_tolerant"]["s_M"] == metrics["metrics"]["s_M"]


def test_two_runs_write_the_same_bytes(city: FakeCity, tmp_path: Path) -> None:
    for name in ("a", "b"):
        evaluate(city.folder, city.truthful, tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_killed_evaluation_goes_on_and_ends_with_the_same_bytes(
    city: FakeCity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    evaluate(city.folder, city.truthful, tmp_path / "whole", constrained=obedient)
    asked: list[Request] = []

    def mortal(requests: Sequence[Request]) -> Iterator[str]:
        for request, answer in zip(requests, city.truthful(requests), strict=True):
            if len(asked) == 25:
                raise Killed
            asked.append(request)
            yield answer

    with pytest.raises(Killed):
        evaluate(city.folder, mortal, tmp_path / "killed", constrained=obedient)
    with (tmp_path / "killed" / "predictions.jsonl").open("a") as file:
        file.write('{"photo": "to')
    later: list[Request] = []

    def reborn(requests: Sequence[Request]) -> Iterator[str]:
        later.extend(requests)
        yield from city.truthful(requests)

    evaluate(city.folder, reborn, tmp_path / "killed", constrained=obedient)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    photos = [row["photo"] for row in city.rows]
    kept = max(end for end in chunk_ends(photos, 10) if end <= 25)
    assert len(later) == len(city.rows) - kept > 0


@pytest.mark.parametrize(
    ("photos", "ends"),
    [("aaabbbccc", [6, 9]), ("aaaa", [4]), ("aaaaaabc", [6, 8]), ("abcdef", [4, 6]), ("", [])],
)
def test_chunks_end_with_photos(photos: str, ends: list[int]) -> None:
    assert chunk_ends(list(photos), 4) == ends


def test_all_questions_of_a_photo_are_asked_together(
    city: FakeCity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    asked: list[set[Path]] = []

    def counting(requests: Sequence[Request]) -> Iterator[str]:
        asked.append({image for request in requests for image in request.images})
        yield from city.truthful(requests)

    evaluate(city.folder, counting, tmp_path / "out")
    assert len(asked) > 2
    assert not any(one & other for one, other in combinations(asked, 2))


def test_a_complete_evaluation_asks_nothing_again(city: FakeCity, tmp_path: Path) -> None:
    metrics = evaluate(city.folder, city.truthful, tmp_path / "out")

    def silent(requests: Sequence[Request]) -> Iterator[str]:
        raise AssertionError("asked again")

    assert evaluate(city.folder, silent, tmp_path / "out") == metrics


def test_the_answers_of_two_models_are_never_mixed(city: FakeCity, tmp_path: Path) -> None:
    evaluate(city.folder, city.truthful, tmp_path / "out", name="first")
    with pytest.raises(UsageError, match="name: "):
        evaluate(city.folder, city.truthful, tmp_path / "out", name="second")


def test_answers_to_other_questions_are_not_continued(city: FakeCity, tmp_path: Path) -> None:
    evaluate(city.folder, city.truthful, tmp_path / "out")
    (tmp_path / "out" / "summary.json").unlink()
    path = tmp_path / "out" / "predictions.jsonl"
    path.write_text(path.read_text("utf-8").replace("Which street?", "Which road?", 1), "utf-8")
    with pytest.raises(AddressVLMError, match="line 4 is not the question of the data set"):
        evaluate(city.folder, city.truthful, tmp_path / "out")


def test_an_empty_split_is_an_error(city: FakeCity, tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match="the val split of .* has no questions"):
        evaluate(city.folder, city.truthful, tmp_path / "out", split="val")


def test_an_unknown_split_is_an_error(city: FakeCity, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="val and test"):
        evaluate(city.folder, city.truthful, tmp_path / "out", split="train")

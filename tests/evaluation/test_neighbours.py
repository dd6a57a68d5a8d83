import numpy as np
import pandas as pd
import pytest
from four_streets import FakeCity, prediction
from PIL import Image

from addressvlm.evaluation import neighbours
from addressvlm.evaluation.neighbours import (
    answer_by_address,
    nearest,
    neighbour_addresses,
    photo_features,
)

AT_OAK = {"p1": ("North", "Oak Street")}
NAMES = {"district": ["North", "South"], "street": ["Oak Street", "Oak Street Bridge", "Elm Street"]}


def answers(**question: object) -> list[str]:
    return answer_by_address(pd.DataFrame([prediction(**question)]), AT_OAK, NAMES)


def test_features_have_two_parts_of_length_one() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    features = photo_features(Image.fromarray(noise))
    assert features.shape == (8**3 + 3 * 16**2,)
    assert np.linalg.norm(features[: 8**3]) == pytest.approx(1, abs=1e-6)
    assert np.linalg.norm(features[8**3 :]) == pytest.approx(1, abs=1e-6)


def test_a_photo_of_one_colour_has_colours_but_no_layout() -> None:
    features = photo_features(Image.new("RGB", (10, 10), (255, 0, 0)))
    assert features[7 * 64] == 1.0
    assert not features[8**3 :].any()


def test_the_nearest_is_the_most_similar_and_of_equals_the_first() -> None:
    known = np.eye(3, dtype=np.float32)[[0, 1, 1, 2]]
    assert nearest(np.eye(3, dtype=np.float32), known).tolist() == [0, 1, 3]


def test_chunks_do_not_change_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    whole = nearest(random, random[::-1])
    monkeypatch.setattr(neighbours, "_SIMILARITIES_AT_ONCE", 120)
    assert nearest(random, random[::-1]).tolist() == whole.tolist() == list(range(49, -1, -1))


def test_photos_of_a_street_find_the_street_of_their_colour(city: FakeCity) -> None:
    train = pd.read_parquet(city.folder / "train.parquet")
    found = neighbour_addresses(train, pd.DataFrame(city.rows), city.folder)
    assert found == {row["photo"]: (row["district"], row["street"]) for row in city.rows}


def test_generation_and_joint_questions_get_the_names() -> None:
    assert answers() == ["Oak Street"]
    assert answers(level="district") == ["North"]
    assert answers(kind="joint", level="both") == ["Oak Street, North"]


def test_a_judgment_is_yes_only_about_the_believed_name() -> None:
    assert answers(kind="judgment", question="Is this on Oak Street, Yes or No?") == ["Yes"]
    assert answers(kind="judgment", question="Is this on Elm Street, Yes or No?") == ["No"]
    assert answers(kind="judgment", question="Is this on Oak Street Bridge, Yes or No?") == ["No"]


def test_a_multiple_choice_gets_the_letter_of_the_believed_name() -> None:
    assert answers(kind="multiple_choice", options=["Elm Street", "Oak Street"]) == ["B"]


def test_without_a_fitting_option_letters_are_drawn_the_same_way_each_time() -> None:
    rows = [
        prediction(kind="multiple_choice", options=["Elm Street", "Low Road"], question=str(n))
        for n in range(40)
    ]
    first = answer_by_address(pd.DataFrame(rows), AT_OAK, NAMES)
    assert first == answer_by_address(pd.DataFrame(rows), AT_OAK, NAMES)
    assert set(first) == {"A", "B"}

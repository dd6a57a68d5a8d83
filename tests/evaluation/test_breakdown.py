import numpy as np
import pandas as pd
from four_streets import gazetteer, prediction

from addressvlm.evaluation.breakdown import (
    NONE_OF_THESE,
    Confusion,
    Group,
    Names,
    beliefs,
    confusions,
    groups_by,
    groups_by_margin,
)


def answered(*triples: tuple[str, str, float | None]) -> pd.DataFrame:
    """Street questions as (truth, answer, margin)."""
    return pd.DataFrame(
        [
            prediction(photo=f"p{n}", truth=truth, answer=answer) | {"street": truth, "margin_m": margin}
            for n, (truth, answer, margin) in enumerate(triples)
        ]
    )


def test_names_are_found_by_any_spelling() -> None:
    names = Names(gazetteer(), "street")
    assert names("oak st") == names(" OAK STREET.") == "Oak Street"
    assert names("quay & dock") == "Quay & Dock"
    assert names("North") == names("") == NONE_OF_THESE


def test_groups_count_photos_and_rights_by_type() -> None:
    rows = [
        prediction(photo="a") | {"street": "Oak"},
        prediction(photo="b") | {"street": "Oak"},
        prediction(photo="b", kind="judgment", truth="Yes") | {"street": "Oak"},
        prediction(photo="c") | {"street": "Elm"},
    ]
    groups = groups_by(pd.DataFrame(rows), "street", np.array([1.0, 0.0, 1.0, 1.0]))
    assert groups == [Group("Oak", 2, {"s_G": 50.0, "s_J": 100.0}), Group("Elm", 1, {"s_G": 100.0})]


def test_beliefs_count_answers_by_truth_commonest_first() -> None:
    table = answered(
        ("Oak Street", "Elm Street", None), ("Oak Street", "oak st", None), ("Oak Street", "Oak Street", None)
    )
    assert beliefs(table, Names(gazetteer(), "street"), "street") == {
        "Oak Street": {"Oak Street": 2, "Elm Street": 1}
    }


def test_answers_that_are_no_name_are_none_of_these() -> None:
    table = answered(("Oak Street", "the moon", None))
    assert beliefs(table, Names(gazetteer(), "street"), "street") == {"Oak Street": {NONE_OF_THESE: 1}}


def test_confusions_are_wrong_beliefs_by_frequency() -> None:
    believed = {"a": {"a": 6, "b": 2}, "b": {"c": 3}}
    assert confusions(believed, most=5) == [Confusion("b", "c", 3, 100.0), Confusion("a", "b", 2, 25.0)]
    assert len(confusions(believed, most=1)) == 1


def test_margins_run_from_the_corner_to_the_middle_of_the_block() -> None:
    table = answered(("a", "a", 0.0), ("a", "a", 4.9), ("a", "a", 5.0), ("a", "a", 99.0), ("a", "a", None))
    groups = groups_by_margin(table, np.array([1.0, 0.0, 1.0, 0.0, 1.0]))
    assert [(group.name, group.photos, group.right["s_G"]) for group in groups] == [
        ("0 to 5 m", 2, 50.0),
        ("5 to 10 m", 1, 100.0),
        ("20 m and more", 1, 0.0),
        ("no other street near", 1, 100.0),
    ]

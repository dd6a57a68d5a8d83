import pandas as pd
import pytest

from addressvlm.inspection.balance import Count, balance, counts


def photos(**streets: int) -> pd.DataFrame:
    rows = [(name, f"{name}{number // 2}") for name, size in streets.items() for number in range(size)]
    return pd.DataFrame(rows, columns=["street", "location"])


def test_names_are_counted_the_largest_first() -> None:
    assert counts(photos(a=2, b=4, c=2), "street") == [
        Count("b", 4, 2, 1.0),
        Count("a", 2, 1, 0.5),
        Count("c", 2, 1, 0.5),
    ]


def test_equal_names_are_even() -> None:
    found = balance(counts(photos(a=4, b=4, c=4, d=4), "street"))
    assert found is not None
    assert (found.gini, found.effective, found.share, found.single) == (0.0, 4.0, 25.0, 0)


def test_uneven_names_are_told_as_fewer_even_ones() -> None:
    # Shares 3/4 and 1/4: 1 / (9/16 + 1/16) = 1.6 names; Gini of (2, 6): |6 - 2| / (2 · 8) = 0.25.
    found = balance(counts(photos(a=6, b=2), "street"))
    assert found is not None
    assert found.largest == "a"
    assert (found.gini, found.effective, found.share, found.single) == (0.25, 1.6, 75.0, 1)


def test_a_single_name_is_as_uneven_as_can_be_told() -> None:
    found = balance(counts(photos(a=3), "street"))
    assert found is not None
    assert (found.gini, found.effective, found.share) == (0.0, 1.0, 100.0)


def test_without_photos_there_is_no_balance() -> None:
    assert balance(counts(photos(), "street")) is None


def test_the_effective_number_is_the_chance_that_two_photos_agree() -> None:
    # Pitts: a name drawn for a No judgment hits the truth in 19.1 % of the cases, 5.2 effective districts.
    found = balance(counts(photos(a=382, b=200, c=150, d=100, e=90, f=78), "street"))
    assert found is not None
    shares = [0.382, 0.2, 0.15, 0.1, 0.09, 0.078]
    assert 1 / found.effective == pytest.approx(sum(p * p for p in shares), abs=1e-3)

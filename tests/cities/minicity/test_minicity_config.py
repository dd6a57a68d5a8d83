from dataclasses import asdict
from json import dumps
from typing import Any

import pytest

from addressvlm.cities.minicity.config import STANDARD, Coherence, mini_city
from addressvlm.errors import UsageError


def test_the_dial_is_published_and_fixed() -> None:
    assert Coherence() == Coherence(district=0.3, street=0.4)


@pytest.mark.parametrize(
    "name", ["mini-paris", "mini", "mini:", "mini:-1", "mini:x", "mini:1000000000", "mini:²"]
)
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="mini-pitts, mini-sf, mini-tokyo or mini:SEED"):
        mini_city(name)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"colour": 3}, "no setting 'colour'"),
        ({"seed": 3}, "no setting 'seed'"),
        ({"views": 0}, "views"),
        ({"views": 2.5}, "whole number"),
        ({"locations": True}, "locations"),
        ({"size_m": float("nan")}, "size_m"),
        ({"layout": "star"}, "rivers, grid, lanes"),
        ({"pitches": ()}, "at least one"),
        ({"pitches": 3.0}, "a list"),
        ({"pitches": (90.0,)}, "pitches"),
        ({"levels": ("street",)}, "two names"),
        ({"coherence": 0.5}, "coherence"),
        ({"coherence": {"city": 1.0}}, "district and street"),
        ({"coherence": Coherence(0.7, 0.4)}, "at most 1"),
        ({"coherence": {"street": "high"}}, "coherence"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        mini_city("mini-pitts", **overrides)


def test_lists_and_tables_of_a_config_file_are_taken() -> None:
    config = mini_city("mini:3", pitches=[0.0, 20.0], coherence={"district": 0.1, "street": 0.9})
    assert config.pitches == (0.0, 20.0)
    assert config.coherence == Coherence(0.1, 0.9)


def test_standard_cities_share_no_seed_with_any_other() -> None:
    seeds = {city.seed for city in STANDARD.values()}
    assert len(seeds) == 3
    assert min(seeds) > mini_city("mini:999999999").seed
    assert {city.layout for city in STANDARD.values()} == {"rivers", "grid", "lanes"}


def test_a_config_is_plain_json() -> None:
    assert '"coherence": {"district": 0.3, "street": 0.4}' in dumps(asdict(mini_city("mini-sf")))


def test_tokyo_asks_for_chome_and_street() -> None:
    assert mini_city("mini-tokyo").levels == ("chome", "street")


def test_leading_zeros_do_not_make_another_city() -> None:
    assert mini_city("mini:007") == mini_city("mini:7")

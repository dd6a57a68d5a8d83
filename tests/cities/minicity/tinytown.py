"""A tiny city, made once a process: up to eight streets in 300 m, pictures of 64 px."""

from functools import cache
from typing import Any

from addressvlm.cities.minicity.city import MiniCity
from addressvlm.cities.minicity.config import MiniCityConfig, mini_city

TINY: dict[str, Any] = {
    "size_m": 300.0,
    "streets": 8,
    "district_count": 3,
    "locations": 24,
    "views": 4,
    "view_px": 64,
    "map_side_m": 60.0,
}


def tiny(name: str = "mini:7", **overrides: Any) -> MiniCityConfig:
    return mini_city(name, **{**TINY, **overrides})


@cache
def tiny_town() -> MiniCity:
    return MiniCity(tiny())

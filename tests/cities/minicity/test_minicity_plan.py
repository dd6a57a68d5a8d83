from dataclasses import replace

import numpy as np
import pytest
import shapely
from tinytown import tiny

from addressvlm.cities.minicity.config import STANDARD, MiniCityConfig, mini_city
from addressvlm.cities.minicity.plan import draw_plan
from addressvlm.cities.minicity.viewpoints import place_locations

CITIES = [
    *STANDARD.values(),
    *(mini_city(f"mini:{seed}") for seed in range(6)),
    *(tiny(f"mini:{seed}") for seed in range(6)),
]
EACH = pytest.mark.parametrize("config", CITIES, ids=lambda config: f"{config.name}-{config.size_m:.0f}m")


@EACH
def test_no_name_stands_twice_in_a_city(config: MiniCityConfig) -> None:
    plan = draw_plan(config)
    names = [street.name for street in plan.streets] + [district.name for district in plan.districts]
    assert len(set(names)) == len(names)


@EACH
def test_districts_tile_the_city(config: MiniCityConfig) -> None:
    plan = draw_plan(config)
    areas = [district.area for district in plan.districts]
    assert len(areas) == config.district_count
    assert all(area.geom_type == "Polygon" for area in areas)
    assert sum(area.area for area in areas) == pytest.approx(plan.limit.area, rel=1e-4)
    assert shapely.union_all(areas).area == pytest.approx(plan.limit.area, rel=1e-4)


@EACH
def test_every_street_has_a_location_and_all_lie_by_their_street(config: MiniCityConfig) -> None:
    plan = draw_plan(config)
    places = place_locations(config, plan)
    assert {place.street for place in places} == set(range(len(plan.streets)))
    assert 0.85 * config.locations <= len(places) <= max(config.locations, len(plan.streets))
    paths = np.array([street.path for street in plan.streets], dtype=object)
    for place in places:
        gaps = shapely.distance(paths, shapely.Point(place.x, place.y))
        assert gaps[place.street] < 15
        assert int(np.argmin(gaps)) == place.street


@EACH
def test_every_location_lies_in_one_district(config: MiniCityConfig) -> None:
    plan = draw_plan(config)
    for place in place_locations(config, plan):
        spot = shapely.Point(place.x, place.y)
        assert sum(bool(district.area.covers(spot)) for district in plan.districts) == 1


@pytest.mark.parametrize("config", STANDARD.values(), ids=lambda config: config.name)
def test_a_standard_city_has_the_size_of_a_quarter(config: MiniCityConfig) -> None:
    plan = draw_plan(config)
    assert 20 <= len(plan.streets) <= 36
    assert 5 <= len(plan.districts) <= 7
    assert 0.4e6 < plan.limit.area < 1.2e6
    assert 300 <= len(place_locations(config, plan)) <= 400
    assert {block.kind for block in plan.blocks} >= {"built", "park"}


def test_a_river_city_has_water_banks_and_bridges() -> None:
    plan = draw_plan(mini_city("mini-pitts"))
    crossing = [street for street in plan.streets if street.path.intersects(plan.water)]
    assert plan.water.intersection(plan.limit).area > 30_000
    assert 2 <= len(crossing) < len(plan.streets) / 2
    assert any(block.kind == "quay" for block in plan.blocks)


def test_blocks_stand_neither_on_roads_nor_in_water() -> None:
    plan = draw_plan(mini_city("mini-pitts"))
    land = shapely.union_all([block.area for block in plan.blocks])
    assert land.intersection(plan.water).area < 5  # of 2 km of banks: what simplifying outlines leaves
    assert all(street.path.intersection(land).length < 1 for street in plan.streets)


def test_another_seed_makes_another_plan() -> None:
    one, two = draw_plan(tiny("mini:1")), draw_plan(tiny("mini:2"))
    assert {street.name for street in one.streets}.isdisjoint(street.name for street in two.streets)
    assert not one.limit.equals(two.limit)


def test_a_mini_seed_differs_from_the_standard_cities() -> None:
    plans = [
        draw_plan(STANDARD["mini-pitts"]),
        draw_plan(replace(STANDARD["mini-pitts"], name="mini:5", seed=5)),
    ]
    assert not plans[0].limit.equals(plans[1].limit)


def test_numbered_streets_ascend_across_the_grid() -> None:
    plan = draw_plan(mini_city("mini-sf"))
    numbered = [street for street in plan.streets if street.family == "u"]
    numbered.sort(key=lambda street: int("".join(filter(str.isdigit, street.name))))
    places = [street.path.centroid.x for street in numbered]
    rises = np.sign(np.diff(places))
    assert numbered[0].name.startswith("1st ")
    assert (rises == rises[0]).mean() > 0.8


def test_the_dial_decides_how_alike_a_street_is() -> None:
    from addressvlm.cities.minicity.config import Coherence
    from addressvlm.cities.minicity.look import Looks

    def colours(street: float) -> int:
        config = tiny(coherence=Coherence(district=0.0, street=street))
        looks, rng = Looks(config, [1], 1), np.random.default_rng(0)
        return len({looks.lot(rng, 0, 0).wall for _ in range(200)})

    assert colours(1.0) == 2
    assert colours(0.0) > 8

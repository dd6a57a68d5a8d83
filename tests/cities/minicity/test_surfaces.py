import numpy as np
import pytest

from addressvlm.cities.minicity.city import MiniCity
from addressvlm.cities.minicity.config import mini_city
from addressvlm.cities.minicity.surfaces import SURFACES, surface_numbers


@pytest.fixture(scope="module")
def city() -> MiniCity:
    return MiniCity(mini_city("mini:3", locations=12, views=2, view_px=64, samples=1))


def test_every_triangle_has_a_surface_and_few_are_nameless(city: MiniCity) -> None:
    numbers = surface_numbers(city.scene)
    assert len(numbers) == len(city.scene.mesh.thing) + 1
    assert numbers[-1] == SURFACES.index("sky")
    nameless = {thing.kind for thing in city.scene.mesh.things if thing.kind not in " ".join(SURFACES)}
    assert nameless <= {"building", "sign post"}  # a building is walls and roof
    assert len(SURFACES) == len(set(SURFACES)) < 256


def test_surfaces_agree_with_the_facts_and_the_pixels(city: MiniCity) -> None:
    rows = city.views.to_dict("records")
    walls, skies = 0, []
    for row in rows:
        view = city.render(row)
        assert view.surfaces.shape == (64, 64)
        seen = {SURFACES[number] for number in np.unique(view.surfaces)}
        for building in view.facts["buildings"]:
            walls += 1
            assert f"wall, {building['material']}, {building['colour']}" in seen
        for tree in view.facts["trees"]:
            assert f"tree, {tree}" in seen
        skies.append(np.asarray(view.image)[view.surfaces == 0])
    assert walls > 10
    red, _, blue = np.concatenate(skies).mean(axis=0)
    assert blue > red + 20

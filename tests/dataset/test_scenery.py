from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from addressvlm.cities.minicity.config import STANDARD, mini_city
from addressvlm.cities.minicity.names import Namer
from addressvlm.cities.minicity.surfaces import SURFACES
from addressvlm.dataset import scenery
from addressvlm.dataset.attributes import attributes
from addressvlm.dataset.options import SceneOptions
from addressvlm.dataset.scenery import make_scenes, standard_names
from addressvlm.dataset.scenes import Scenes

SMALL_CITY = partial(mini_city, size_m=450.0, streets=12)
FEW = SceneOptions(first_seed=7, cities=2, locations=12, views=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "scenes"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenery, "mini_city", SMALL_CITY)
        make_scenes(FEW, folder, workers=1)
    return folder


@pytest.fixture(scope="module")
def scenes(folder: Path) -> Scenes:
    return Scenes(folder)


def test_every_view_is_a_scene_of_its_city_and_road(scenes: Scenes) -> None:
    assert len(scenes) == 48  # two views of 12 places in each city
    assert sum(len(found) for roads in scenes.by_city for found in roads.values()) == 48
    assert [next(iter(roads)).split("/")[0] for roads in scenes.by_city] == ["7", "8"]


def test_no_name_of_a_standard_city_is_an_address(scenes: Scenes) -> None:
    drawn = {
        name for i in range(len(scenes)) for name in (scenes.facts(i).street, scenes.facts(i).cross_street)
    }
    drawn |= {name.name for i in range(len(scenes)) for name in scenes.facts(i).names}
    assert len(standard_names()) > 60
    assert not drawn & standard_names()
    assert len({scenes.facts(i).street for i in range(len(scenes))}) > 40  # anew for every map


def test_numbers_aside_no_root_of_a_standard_name_is_used() -> None:
    taken = frozenset({"Fenwick Avenue", "Kurano-dori", "3rd Street"})
    for naming in ("american", "numbered", "japanese"):
        names = Namer(naming, np.random.default_rng(0)).other_streets(300, taken)
        assert len(set(names)) == 300
        assert not [name for name in names if name.startswith(("Fenwick", "Kurano")) or name == "3rd Street"]
    assert all(config.seed >= 1_000_000_000 for config in STANDARD.values())


def test_the_photo_lies_on_its_map_and_not_under_itself(scenes: Scenes) -> None:
    spots = np.array([scenes.facts(i).at for i in range(len(scenes))])
    assert ((spots >= 8) & (spots <= 136)).all()
    assert not ((spots[:, 0] > 72) & (spots[:, 1] < 72)).any()
    centred = (spots == 72).all(axis=1)
    assert 0.2 < centred.mean() < 0.6


def test_map_without_names_differs_from_the_one_with_them_only_at_the_names(scenes: Scenes) -> None:
    index = next(i for i in range(len(scenes)) if scenes.facts(i).names)
    plain, named = (np.asarray(scenes.picture(index, name), int) for name in ("plain", "named"))
    outside = np.ones(plain.shape[:2], bool)
    for name in scenes.facts(index).names:
        left, top, right, bottom = name.box
        outside[max(0, top - 9) : bottom + 9, max(0, left - 9) : right + 9] = False  # JPEG's blocks
    change = np.abs(plain - named).max(axis=2)
    assert change[outside].max() < 40
    assert change.max() > 120


def test_grafted_scene_has_the_view_in_its_corner(scenes: Scenes) -> None:
    grafted = np.asarray(scenes.picture(0, "grafted"), int)
    view = np.asarray(scenes.picture(0, "view").resize((72, 72)), int)
    assert np.abs(grafted[:72, 72:] - view).mean() < 12
    stranger = np.asarray(scenes.picture(0, "grafted", view_of=40), int)
    assert np.abs(stranger[:72, 72:] - view).mean() > 20
    assert (stranger[72:] == grafted[72:]).all()


def test_ground_is_what_the_map_shows(scenes: Scenes) -> None:
    grass, road = SURFACES.index("yard, grass"), SURFACES.index("road, asphalt")
    shown = {grass: [], road: []}  # type: dict[int, list[np.ndarray]]
    for index in range(len(scenes)):
        ground, plain = scenes.ground(index), np.asarray(scenes.picture(index, "plain"), int)
        assert ground.shape == plain.shape[:2]
        for surface, pixels in shown.items():
            pixels.append(plain[ground == surface])
    green, grey = (np.median(np.concatenate(shown[surface]), axis=0) for surface in (grass, road))
    assert green[1] > green[[0, 2]].max() + 10
    assert np.ptp(grey) < 20


def test_attributes_come_from_the_facts() -> None:
    building = {
        "material": "brick", "colour": "red", "storeys": 3, "roof": None, "window_frames": "white",
        "ground_floor": None, "awning": None, "relief": None, "side": "left", "share": 0.2,
    }  # fmt: skip
    view = {
        "looking": "along", "corner": True, "paving": "cobbles", "marking": None, "lamps": None,
        "visible": ["river"], "trees": {"palm": 2}, "cars": {}, "buildings": [building],
    }  # fmt: skip
    assert attributes(view) == {
        "looking=along", "corner=True", "paving=cobbles", "marking=none", "lamps=none", "sight=river",
        "tree=palm", "wall=brick", "colour=red", "storeys=3", "window_frames=white",
    }  # fmt: skip


def test_scenes_are_the_same_bytes_again_and_only_missing_cities_are_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenery, "mini_city", SMALL_CITY)
    one = replace(FEW, first_seed=8, cities=1)
    make_scenes(one, tmp_path / "again", workers=1)
    name = "city-000000008.parquet"
    assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    assert make_scenes(FEW, folder) == {"cities": 2, "scenes": 48}

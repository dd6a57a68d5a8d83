import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import mercantile
import numpy as np
import pytest
import shapely
from tinytown import TINY, tiny, tiny_town

from addressvlm.cities.minicity.city import MiniCity
from addressvlm.cities.minicity.contact import contact_sheet
from addressvlm.cities.minicity.describing import CAPITAL_PX
from addressvlm.cities.minicity.ground import find_crossings
from addressvlm.cities.minicity.signs import Sign


def digest(city: MiniCity) -> str:
    """Of eight views, their words, one tile and the vectors."""
    parts = hashlib.sha256()
    for number in range(0, 32, 4):
        view = city.render(row(city, number))
        parts.update(view.image.tobytes() + view.scene.encode() + json.dumps(view.facts).encode())
    parts.update(city.render_tile(middle_tile(city)).tobytes())
    parts.update(city.streets.to_json().encode() + city.districts.to_json().encode())
    return parts.hexdigest()


def row(city: MiniCity, number: int) -> dict[str, Any]:
    return {str(key): value for key, value in city.views.iloc[number].items()}


def middle_tile(city: MiniCity) -> tuple[int, int, int]:
    origin = city.config.origin
    tile = mercantile.tile(origin.lon, origin.lat, city.config.tile_zoom)
    return tile.z, tile.x, tile.y


def test_equal_configs_give_equal_bytes_in_any_process() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
        "from test_minicity_pictures import digest; from tinytown import tiny; "
        "from addressvlm.cities.minicity.city import MiniCity; print(digest(MiniCity(tiny())))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "5", "OMP_NUM_THREADS": "1"}
    other = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environment
    )
    assert other.stderr == ""
    assert other.stdout.strip() == digest(tiny_town()) == digest(MiniCity(tiny()))


def test_a_city_travels_as_its_config() -> None:
    tiny_town().render(row(tiny_town(), 0))
    packed = pickle.dumps(tiny_town())
    assert len(packed) < 2000
    assert (
        pickle.loads(packed).render(row(tiny_town(), 3)).image
        == tiny_town().render(row(tiny_town(), 3)).image
    )


def test_views_of_a_location_look_all_around() -> None:
    views = tiny_town().views
    assert list(views.columns) == ["photo", "location", "lat", "lon", "heading_deg", "pitch_deg"]
    assert views["photo"].is_unique
    assert (views.groupby("location").size() == TINY["views"]).all()
    first = views[views["location"] == views["location"].iloc[0]]
    assert np.diff(first["heading_deg"]) % 360 == pytest.approx([90, 90, 90], abs=0.02)
    assert views.groupby("location")["heading_deg"].min().nunique() > 10


def test_a_second_pitch_doubles_the_views() -> None:
    city = MiniCity(tiny(pitches=(0.0, 25.0)))
    assert len(city.views) == 2 * len(tiny_town().views)
    assert city.views["photo"].is_unique


def test_a_view_is_a_small_rgb_picture_with_words() -> None:
    view = tiny_town().render(row(tiny_town(), 0))
    assert (view.image.size, view.image.mode) == ((64, 64), "RGB")
    assert view.scene.startswith("A ")
    assert view.scene.endswith(".")
    json.dumps(view.facts, allow_nan=False)


def test_more_samples_smooth_the_same_picture() -> None:
    one = np.asarray(tiny_town().render(row(tiny_town(), 5)).image, float)
    four = np.asarray(MiniCity(tiny(samples=2)).render(row(tiny_town(), 5)).image, float)
    assert one.shape == four.shape
    assert 0 < np.abs(one - four).mean() < 15


def test_words_tell_no_name_that_cannot_be_read() -> None:
    city = tiny_town()
    names = [street.name for street in city.plan.streets] + [area.name for area in city.plan.districts]
    for number in range(len(city.views)):
        view = city.render(row(city, number))
        legible = " ".join(sign["text"] for sign in view.facts["signs"])
        assert all(name in legible for name in names if name in view.scene)


def before(city: MiniCity, sign: Sign, distance_m: float) -> dict[str, float]:
    """A view straight at a sign."""
    corner, right, up = (np.array(part) for part in (sign.corner, sign.right, sign.up))
    outward = np.cross(right, up)
    spot = corner + right / 2 + outward / np.linalg.norm(outward) * distance_m
    lat, lon = city.projection.to_latlon(spot[0], spot[1])
    heading = float(np.degrees(np.arctan2(-outward[0], -outward[1])))
    return {"lat": float(lat), "lon": float(lon), "heading_deg": heading, "pitch_deg": 15.0}


def test_a_sign_right_before_the_camera_is_read_and_from_afar_is_not() -> None:
    city = MiniCity(tiny(view_px=160))
    signs = [sign for sign in city.scene.signs if sign.kind == "street"]
    near = [city.render(before(city, sign, 4.0)) for sign in signs[:12]]
    far = [city.render(before(city, sign, 4.0 * 160 / CAPITAL_PX)) for sign in signs[:12]]
    read = [
        sign.text in {item["text"] for item in view.facts["signs"]}
        for sign, view in zip(signs, near, strict=False)
    ]
    assert sum(read) >= 4  # trees and awnings stand before the others
    said = [f'"{sign.text}"' in view.scene for sign, view in zip(signs, near, strict=False)]
    assert said == read
    assert not any(sign.text in view.scene for sign, view in zip(signs, far, strict=False))


def test_a_sign_is_not_read_from_behind() -> None:
    city = MiniCity(tiny(view_px=160))
    shops = [sign for sign in city.scene.signs if sign.kind == "shop"][:6]
    for sign in shops:
        view = before(city, sign, 5.0)
        view["heading_deg"] += 180
        assert sign.text not in city.render(view).scene


def test_the_map_shows_each_roof_where_its_house_stands() -> None:
    city = tiny_town()
    tile = middle_tile(city)
    pixels = np.asarray(city.render_tile(tile), float)
    bounds = mercantile.bounds(mercantile.Tile(tile[1], tile[2], tile[0]))
    seen: dict[str, list[np.ndarray[Any, Any]]] = {}
    for lot in city.scene.lots:
        lat, lon = city.projection.to_latlon(*lot.corners.mean(axis=0))
        x = int((lon - bounds.west) / (bounds.east - bounds.west) * 256)
        y = int((bounds.north - lat) / (bounds.north - bounds.south) * 256)
        if 2 <= x < 254 and 2 <= y < 254:
            seen.setdefault(lot.look.roof_colour, []).append(
                np.median(pixels[y - 2 : y + 3, x - 2 : x + 3], axis=(0, 1))
            )
    means = {colour: np.mean(places, axis=0) for colour, places in seen.items()}
    assert len(means) >= 2
    right = [
        min(means, key=lambda name: float(np.linalg.norm(means[name] - place))) == colour
        for colour, places in seen.items()
        for place in places
    ]
    assert np.mean(right) > 0.6


def test_tiles_reach_half_a_map_beyond_every_location() -> None:
    city = tiny_town()
    tiles = set(city.tiles)
    for view in city.views.itertuples():
        bounds = city.projection.square(
            type(city.config.origin)(float(str(view.lat)), float(str(view.lon))), city.config.map_side_m
        )
        needed = mercantile.tiles(bounds.west, bounds.south, bounds.east, bounds.north, zooms=19)
        assert {(tile.z, tile.x, tile.y) for tile in needed} <= tiles


def test_a_tile_is_a_picture_of_256_px_even_outside_the_city() -> None:
    image = tiny_town().render_tile(tiny_town().tiles[0])
    assert (image.size, image.mode) == ((256, 256), "RGB")


def test_street_and_district_tables_are_in_degrees_and_in_order() -> None:
    streets, districts = tiny_town().streets, tiny_town().districts
    assert streets.crs.to_epsg() == districts.crs.to_epsg() == 4326
    assert list(streets["name"]) == sorted(streets["name"])
    assert list(districts["name"]) == sorted(districts["name"])
    assert set(streets.geometry.geom_type) == {"MultiLineString"}
    assert (
        streets.union_all().distance(
            shapely.Point(tiny_town().config.origin.lon, tiny_town().config.origin.lat)
        )
        < 0.01
    )


def test_no_house_stands_on_a_road() -> None:
    city = tiny_town()
    for lot in city.scene.lots:
        house = shapely.Polygon(lot.corners)
        assert all(house.distance(street.path) > street.width_m / 2 for street in city.plan.streets)


def test_corners_carry_signs() -> None:
    city = tiny_town()
    named = {sign.text for sign in city.scene.signs if sign.kind == "street"}
    assert named <= {street.name for street in city.plan.streets}
    assert len(named) >= 0.8 * len(
        {one for cross in find_crossings(city.plan.streets) for one in cross.streets}
    )


def test_a_contact_sheet_shows_views_and_maps() -> None:
    sheet = contact_sheet(tiny_town(), count=4, columns=2, side_px=64, aerials=1)
    assert sheet.width == 2 * 70 + 6
    assert sheet.height > 3 * 64

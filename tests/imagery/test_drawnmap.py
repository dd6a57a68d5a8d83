import pickle

import numpy as np
from PIL import Image, ImageColor

from addressvlm.geo.places import LatLon
from addressvlm.geo.streets import StreetMap
from addressvlm.imagery.drawnmap import LAND, TINTS, DrawnMap
from addressvlm.imagery.frames import Frame


def colour(image: Image.Image, east_m: float, north_m: float) -> str:
    red, green, blue = image.getpixel((round(150 + east_m), round(150 - north_m)))
    return f"#{red:02x}{green:02x}{blue:02x}"


def test_streets_and_districts_lie_where_they_are(town: StreetMap, frame: Frame):
    image = DrawnMap(town).image(frame)
    assert (image.mode, image.size) == ("RGB", (300, 300))
    assert colour(image, 100, 0) == colour(image, -50, 80) == "#ffffff"
    assert colour(image, 100, 100) == TINTS[0]  # East
    assert colour(image, -100, 100) == TINTS[1]  # West


def test_a_longer_street_is_broader(town: StreetMap, frame: Frame):
    white = (np.asarray(DrawnMap(town).image(frame)) == 255).all(axis=2)
    across_high_street = white[120:180, 230].sum()  # 800 m long
    across_passage = white[60:120, 225].sum()  # 30 m long
    assert (across_high_street, across_passage) == (12, 6)


def test_outside_the_districts_there_is_land(town: StreetMap):
    image = DrawnMap(town).image(Frame(LatLon(48.70, 9.17), 300, 64))
    assert image.getcolors() == [(64 * 64, ImageColor.getrgb(LAND))]


def test_a_small_picture_still_shows_its_streets(town: StreetMap, frame: Frame):
    image = DrawnMap(town).image(Frame(frame.centre, 600, 56))
    assert image.getpixel((50, 28)) == (255, 255, 255)


def test_neighbours_differ_in_tint(town: StreetMap):
    tints = DrawnMap(town)._tints
    assert tints["East"] != tints["West"]


def test_equal_maps_give_equal_pixels_also_after_pickling(town: StreetMap, frame: Frame):
    source = DrawnMap(town, "us")
    first = source.image(frame).tobytes()
    assert pickle.loads(pickle.dumps(source)).image(frame).tobytes() == first
    assert source.attribution == "us"

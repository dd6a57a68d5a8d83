import math
import pickle
from pathlib import Path

import mercantile
import numpy as np
import pytest
from PIL import Image

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.geo.places import LatLon
from addressvlm.geo.streets import StreetMap
from addressvlm.imagery.frames import Frame
from addressvlm.imagery.satellite import DrawnMap, open_satellite
from addressvlm.imagery.tilegrid import MISSING_COLOUR, tiles_covering, zoom_for
from addressvlm.imagery.tiles import XYZTiles

CENTRE = LatLon(48.77, 9.17)


def write_tiles(folder: Path, frame: Frame, zooms: tuple[int, ...], tile_px: int = 256) -> str:
    """Tiles around the frame, coloured by place: red grows with x, green with y, blue is the zoom."""
    for zoom in zooms:
        for _, x, y in tiles_covering(frame, zoom):
            pixels = np.zeros((tile_px, tile_px, 3), np.uint8)
            ramp = np.arange(tile_px) * 64 // tile_px
            pixels[..., 0] = (x % 4) * 64 + ramp
            pixels[..., 1] = ((y % 4) * 64 + ramp)[:, None]
            pixels[..., 2] = zoom * 10
            path = folder / f"{zoom}" / f"{x}" / f"{y}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return str(folder / "{z}" / "{x}" / "{y}.png")


def m_per_px(zoom: int, tile_px: int = 256) -> float:
    return 2 * math.pi * 6378137 * math.cos(math.radians(CENTRE.lat)) / 2**zoom / tile_px


def blue(image: Image.Image) -> int:
    return round(np.asarray(image)[..., 2].mean() / 10)


def test_the_tiles_of_a_frame_are_those_that_touch_it():
    frame = Frame(CENTRE, 300, 336)
    tiles = tiles_covering(frame, 17)
    box = frame.bounds
    expected = [
        (tile.z, tile.x, tile.y) for tile in mercantile.tiles(box.west, box.south, box.east, box.north, 17)
    ]
    assert sorted(tiles) == sorted(expected)
    assert (17, *mercantile.tile(CENTRE.lon, CENTRE.lat, 17)[:2]) in tiles


def test_the_coarsest_zoom_that_is_fine_enough_is_taken(tmp_path: Path):
    frame = Frame(CENTRE, 300, 336)
    source = XYZTiles(write_tiles(tmp_path, frame, (15, 17, 18, 19)), "us")
    assert m_per_px(18) < 300 / 336 < m_per_px(17) * 1.2
    assert zoom_for(source, Frame(CENTRE, 336 * m_per_px(17) * 1.01, 336)) == 17
    assert zoom_for(source, Frame(CENTRE, 336 * m_per_px(17) * 0.99, 336)) == 18
    assert zoom_for(source, Frame(CENTRE, 336 * m_per_px(16) * 0.99, 336)) == 17
    assert zoom_for(source, Frame(CENTRE, 50, 336)) == 19
    assert blue(source.image(Frame(CENTRE, 50, 336))) == 19


def test_a_zoom_with_holes_gives_way_to_a_whole_one(tmp_path: Path):
    frame = Frame(CENTRE, 330 * m_per_px(17), 336)
    template = write_tiles(tmp_path, frame, (16, 18))
    source = XYZTiles(template, "us")
    for tile in tiles_covering(frame, 18)[::2]:
        source.path(tile).unlink()
    assert zoom_for(source, frame) == 16


def test_larger_tiles_need_a_coarser_zoom(tmp_path: Path):
    frame = Frame(CENTRE, 336 * m_per_px(17) * 1.01, 336)
    source = XYZTiles(write_tiles(tmp_path, frame, (15, 16, 17), tile_px=512), "us")
    assert zoom_for(source, frame) == 16


def test_a_place_lies_on_the_picture_where_the_frame_says(tmp_path: Path):
    """A dark dot is painted into a tile at a known place; it must come out at `to_pixels` of that place."""
    frame = Frame(CENTRE, 200, 336)
    zoom, x, y = next(t for t in tiles_covering(frame, 19) if t[1:] == mercantile.tile(9.17, 48.77, 19)[:2])
    for tile in tiles_covering(frame, 19):
        path = tmp_path / f"{tile[1]}-{tile[2]}-{tile[0]}.png"
        image = Image.new("RGB", (256, 256), "white")
        if tile == (zoom, x, y):
            image.paste("black", (100, 40, 116, 56))
        image.save(path)
    west, south, east, north = mercantile.xy_bounds(x, y, zoom)
    lon, lat = mercantile.lnglat(west + (east - west) * 108 / 256, north - (north - south) * 48 / 256)
    dark = 255 - np.asarray(
        XYZTiles(str(tmp_path / "{x}-{y}-{z}.png"), "us").image(frame).convert("L"), float
    )
    rows, columns = np.mgrid[0:336, 0:336] + 0.5
    found = (dark * columns).sum() / dark.sum(), (dark * rows).sum() / dark.sum()
    np.testing.assert_allclose(found, frame.to_pixels(lat, lon), atol=0.05)


def test_missing_and_broken_tiles_are_grey_and_told(tmp_path: Path):
    frame = Frame(CENTRE, 300, 336)
    source = XYZTiles(write_tiles(tmp_path, frame, (18,)), "us")
    gone, broken = tiles_covering(frame, 18)[0], tiles_covering(frame, 18)[-1]
    source.path(gone).unlink()
    source.path(broken).write_bytes(b"no image")
    image = source.image(frame)
    assert image.getpixel((2, 2)) == MISSING_COLOUR
    assert image.getpixel((333, 333)) == MISSING_COLOUR
    assert image.getpixel((168, 168))[2] == 180
    assert source.missing == {
        gone: "no file",
        broken: f"{source.path(broken)} is not a JPEG, PNG or WebP image",
    }


def test_a_place_without_any_tile_is_an_error(tmp_path: Path):
    source = XYZTiles(write_tiles(tmp_path, Frame(CENTRE, 300, 336), (18,)), "us")
    with pytest.raises(
        AddressVLMError, match=r"no tile of .*png shows the map around \(40.44000, -79.99000\)"
    ):
        source.image(Frame(LatLon(40.44, -79.99), 300, 336))


def test_tiles_that_are_all_no_pictures_are_told(tmp_path: Path):
    source = XYZTiles(write_tiles(tmp_path, Frame(CENTRE, 300, 336), (18,)), "us")
    for tile in source.tiles:
        source.path(tile).write_text("<html>sign in")
    with pytest.raises(AddressVLMError, match=r"none of the \d+ tiles at .* is a picture; get them again"):
        _ = source.tile_px


def test_much_finer_tiles_make_no_giant_mosaic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    frame = Frame(CENTRE, 500, 56)
    source = XYZTiles(write_tiles(tmp_path, frame, (19,), tile_px=64), "us")
    made = []
    new = Image.new
    monkeypatch.setattr(Image, "new", lambda mode, size, *rest: made.append(size) or new(mode, size, *rest))
    assert blue(source.image(frame)) == 19
    assert all(side <= 3 * 56 for side in made[-1])


def test_equal_tiles_give_equal_pictures_also_after_pickling(tmp_path: Path):
    frame = Frame(CENTRE, 300, 336)
    source = XYZTiles(write_tiles(tmp_path, frame, (17, 18)), "us")
    first = source.image(frame).tobytes()
    again = pickle.loads(pickle.dumps(source))
    assert again.image(frame).tobytes() == first
    assert again.attribution == "us"


def test_other_files_in_the_folder_are_no_tiles(tmp_path: Path):
    template = write_tiles(tmp_path, Frame(CENTRE, 50, 64), (18,))
    (tmp_path / "18" / "readme.txt").touch()
    (tmp_path / "18" / "0").mkdir()
    (tmp_path / "18" / "0" / "a.png").touch()
    assert XYZTiles(template, "us").tiles == set(tiles_covering(Frame(CENTRE, 50, 64), 18))


@pytest.mark.parametrize("template", ["tiles/{z}/{x}.png", "tiles/{z}/{x}/{y}/{y}.png", "tiles"])
def test_a_template_needs_each_place_holder_once(template: str):
    with pytest.raises(UsageError, match="each once"):
        XYZTiles(template, "us")


def test_a_folder_name_may_hold_any_character(tmp_path: Path):
    frame = Frame(CENTRE, 50, 64)
    folder = tmp_path / "a[b] {c} *"
    folder.mkdir()
    assert XYZTiles(write_tiles(folder, frame, (18,)), "us").image(frame).size == (64, 64)


def test_a_city_file_may_say_streets_or_tiles(tmp_path: Path, town: StreetMap):
    write_tiles(tmp_path, Frame(CENTRE, 50, 64), (18,))
    drawn = open_satellite("streets", folder=tmp_path, street_map=town, attribution="us")
    tiles = open_satellite("{z}/{x}/{y}.png", folder=tmp_path, street_map=town, attribution="us")
    assert isinstance(drawn, DrawnMap)
    assert isinstance(tiles, XYZTiles)
    assert (drawn.attribution, tiles.attribution) == ("us", "us")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("https://tiles.example/{z}/{x}/{y}.png", "is a web address"),
        ("{z}/{x}/{y}.jpg", "there are no tiles of that name"),
        ("satellite", "must hold {z}, {x} and {y}"),
    ],
)
def test_a_city_file_that_means_no_source_is_told(tmp_path: Path, town: StreetMap, spec: str, words: str):
    with pytest.raises(UsageError, match=words):
        open_satellite(spec, folder=tmp_path, street_map=town, attribution="")


@pytest.mark.parametrize("spec", ["../{z}/{x}/{y}.png", "/{z}/{x}/{y}.png", "{z}/{x}/{y}/../../../../a"])
def test_the_tiles_of_a_city_lie_in_its_folder(tmp_path: Path, town: StreetMap, spec: str):
    with pytest.raises(AddressVLMError, match="leads out of the folder"):
        open_satellite(spec, folder=tmp_path, street_map=town, attribution="")


def test_real_tiles_make_a_picture(shared: Path):
    source = XYZTiles(
        str(shared / "aerial_samples" / "oam_kampala_xyz" / "OAM-{x}-{y}-{z}.png"), "OpenAerialMap"
    )
    assert len(source.tiles) == 147
    tile = mercantile.bounds(309612, 261632, 19)
    image = source.image(Frame(LatLon((tile.south + tile.north) / 2, (tile.west + tile.east) / 2), 70, 336))
    assert image.size == (336, 336)
    assert source.missing == {}

"""One town with each kind of imagery, and its tiles made again by the blueprint."""

import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mercantile
import numpy as np
import pytest
import rasterio
from PIL import Image
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer
from smalltown import contents, row

from addressvlm.cities.blueprint import remake_imagery
from addressvlm.cities.build import build_city
from addressvlm.cities.city import load_city
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.geo.places import LatLon
from addressvlm.imagery.frames import Frame

WriteCity = Callable[..., Path]
MIDDLE = mercantile.tile(9.0, 45.001, 17)
FRAME = Frame(LatLon(45.001, 9.0), 305, 336)
RIGHTS = 'attribution = "us"'


def tile(x: int, y: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (256, 256), (x % 256, y % 256, 17)).save(stream, "PNG")
    return stream.getvalue()


TILES = {
    (17, x, y): tile(x, y)
    for x in range(MIDDLE.x - 2, MIDDLE.x + 3)
    for y in range(MIDDLE.y - 2, MIDDLE.y + 3)
}


def folder(town: Path) -> str:
    for (zoom, x, y), data in TILES.items():
        path = town / "sat" / str(zoom) / str(x) / f"{y}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return "sat/{z}/{x}/{y}.png"


def mbtiles(town: Path) -> str:
    with sqlite3.connect(town / "sat.mbtiles") as file:
        file.execute("CREATE TABLE metadata (name, value)")
        file.execute("INSERT INTO metadata VALUES ('format', 'png'), ('attribution', 'Sky View Ltd')")
        file.execute("CREATE TABLE tiles (zoom_level, tile_column, tile_row, tile_data)")
        rows = [(z, x, 2**z - 1 - y, data) for (z, x, y), data in TILES.items()]
        file.executemany("INSERT INTO tiles VALUES (?, ?, ?, ?)", rows)
    file.close()
    return "sat.mbtiles"


def pmtiles(town: Path) -> str:
    with (town / "sat.pmtiles").open("wb") as file:
        writer = Writer(file)
        for one in sorted(TILES, key=lambda one: zxy_to_tileid(*one)):
            writer.write_tile(zxy_to_tileid(*one), TILES[one])
        writer.finalize({"tile_type": TileType.PNG, "tile_compression": Compression.NONE}, {})
    return "sat.pmtiles"


def geotiff(town: Path) -> str:
    """The same ground as the tiles, in their own plane, so that cutting it up gives the tiles again."""
    corner = mercantile.xy_bounds(MIDDLE.x - 2, MIDDLE.y - 2, 17)
    pixel_m = (corner.right - corner.left) / 256
    bands = np.zeros((3, 5 * 256, 5 * 256), np.uint8)
    for (_, x, y), data in TILES.items():
        left, top = 256 * (x - MIDDLE.x + 2), 256 * (y - MIDDLE.y + 2)
        colours = np.asarray(Image.open(io.BytesIO(data)))
        bands[:, top : top + 256, left : left + 256] = np.moveaxis(colours, -1, 0)
    options = {"driver": "GTiff", "count": 3, "height": 5 * 256, "width": 5 * 256, "dtype": "uint8"}
    place = rasterio.Affine(pixel_m, 0, corner.left, 0, -pixel_m, corner.top)
    with rasterio.open(town / "sat.tif", "w", crs="EPSG:3857", transform=place, **options) as file:
        file.write(bands)
    return "sat.tif"


def build(toml: Path, out: Path) -> dict[str, Any]:
    return build_city(toml, out, workers=1)


@pytest.mark.parametrize("source", [folder, mbtiles, pmtiles, geotiff])
def test_every_kind_of_imagery_gives_the_same_map(
    town: Path, write_city: WriteCity, tmp_path: Path, source: Callable[[Path], str]
) -> None:
    build(write_city([row(0, 45.001)], f'satellite = "{folder(town)}"'), tmp_path / "folder")
    summary = build(write_city([row(0, 45.001)], f'satellite = "{source(town)}"'), tmp_path / "out")
    picture, expected = (
        np.asarray(load_city(tmp_path / name).satellite_source.image(FRAME), int)
        for name in ("out", "folder")
    )
    assert np.abs(picture - expected).max() <= 1
    assert summary["tiles_missing"] == summary["tiles_damaged"] == summary["maps_with_holes"] == 0


def test_the_attribution_of_a_file_travels_with_the_city(
    town: Path, write_city: WriteCity, tmp_path: Path
) -> None:
    build(write_city([row(0, 45.001)], f'satellite = "{mbtiles(town)}"', RIGHTS), tmp_path / "out")
    assert load_city(tmp_path / "out").attribution == "us, Sky View Ltd (imagery)"


def test_holes_and_damaged_tiles_are_counted_and_told(
    town: Path, write_city: WriteCity, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = folder(town)
    (town / "sat" / "17" / str(MIDDLE.x) / f"{MIDDLE.y - 1}.png").unlink()
    (town / "sat" / "17" / str(MIDDLE.x) / f"{MIDDLE.y}.png").write_bytes(b"\x89PNG cut")
    summary = build(
        write_city([row(0, 45.001), row(1, 45.002)], f'satellite = "{template}"'), tmp_path / "out"
    )
    assert (summary["tiles_missing"], summary["tiles_damaged"]) == (1, 1)
    assert 1 <= summary["maps_with_holes"] <= 2
    told = capsys.readouterr().err
    assert f"tiles missing: 1 (17/{MIDDLE.x}/{MIDDLE.y - 1}), damaged: 1" in told
    assert f"tiles/17/{MIDDLE.x}/{MIDDLE.y}.png" not in contents(tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone.mbtiles", "there is no file"),
        ("sat.mbtiles", "cannot be read as MBTiles"),
        ("sat.pmtiles", "no PMTiles"),
        ("sat.tif", "cannot be read as GeoTIFF"),
    ],
)
def test_a_file_that_is_no_imagery_is_named(
    town: Path, write_city: WriteCity, tmp_path: Path, name: str, words: str
) -> None:
    if name != "gone.mbtiles":
        (town / name).write_bytes(b"hello" * 1000)
    with pytest.raises(AddressVLMError, match=words):
        build(write_city([row(0, 45.001)], f'satellite = "{name}"'), tmp_path / "out")


def test_imagery_without_one_good_tile_is_an_error(town: Path, write_city: WriteCity, tmp_path: Path) -> None:
    template = folder(town)
    for path in (town / "sat").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    far = town / "sat" / "17" / "1" / "1.png"  # tells the size of the tiles
    far.parent.mkdir()
    far.write_bytes(tile(1, 1))
    with pytest.raises(AddressVLMError, match=r"none of the \d+ tiles around the photos is a picture"):
        build(write_city([row(0, 45.001)], f'satellite = "{template}"'), tmp_path / "out")


@pytest.fixture
def city(town: Path, write_city: WriteCity, tmp_path: Path) -> Path:
    """A city whose tiles come from a folder of the town."""
    build(
        write_city([row(0, 45.001), row(1, 45.002)], f'satellite = "{folder(town)}"', RIGHTS),
        tmp_path / "city",
    )
    return tmp_path / "city"


def test_the_blueprint_says_all_but_the_pixels(city: Path) -> None:
    blueprint = json.loads((city / "blueprint.json").read_text())
    assert blueprint["imagery"]["source"] == "{y}.png"
    assert blueprint["attribution"] == "us"
    assert blueprint["frames"] == {"l000001": [45.001, 9.0], "l000002": [45.002, 9.0]}
    assert blueprint["tiles"].keys() == {name for name in contents(city) if name.startswith("tiles/")}
    assert (city / "blueprint.json").stat().st_size < 3000


def test_tiles_that_were_not_passed_on_are_made_again(town: Path, city: Path) -> None:
    before = contents(city)
    shutil.rmtree(city / "tiles")
    with pytest.raises(AddressVLMError, match=r"0 are there, 0 were made again, .* \d+ are missing"):
        remake_imagery(city)
    counts = remake_imagery(city, str(town / "sat" / "{z}" / "{x}" / "{y}.png"))
    assert counts["made"] == counts["tiles"] > 0
    assert contents(city) == before
    assert remake_imagery(city)["there"] == counts["tiles"]


def test_leftovers_of_a_killed_remake_are_removed(town: Path, city: Path) -> None:
    before = contents(city)
    for name in list(before):
        if name.startswith("tiles/"):
            path = city / name
            path.replace(path.with_name(f".{path.name}.123.tmp"))
    remake_imagery(city, str(town / "sat" / "{z}" / "{x}" / "{y}.png"))
    assert contents(city) == before


def test_the_same_tiles_may_come_from_another_file(town: Path, city: Path) -> None:
    shutil.rmtree(city / "tiles")
    counts = remake_imagery(city, str(town / mbtiles(town)))
    assert counts["made"] == counts["tiles"]


def test_tiles_that_changed_since_are_told_and_taken_only_if_wished(town: Path, city: Path) -> None:
    shutil.rmtree(city / "tiles")
    where = town / "sat" / "17" / str(MIDDLE.x) / f"{MIDDLE.y}.png"
    where.write_bytes(tile(1, 1))
    template = str(town / "sat" / "{z}" / "{x}" / "{y}.png")
    with pytest.raises(AddressVLMError, match="1 are different from what they were"):
        remake_imagery(city, template)
    changed = city / "tiles" / "17" / str(MIDDLE.x) / f"{MIDDLE.y}.png"
    assert not changed.exists()
    assert remake_imagery(city, template, accept_changes=True)["different"] == 1
    assert changed.read_bytes() == tile(1, 1)


@pytest.mark.parametrize(
    "name", ["../../secret", "tiles/17/../1.png", "/etc/17/1/1.png", "tiles/17/1/1.png.png"]
)
def test_a_blueprint_cannot_name_other_files(town: Path, city: Path, name: str) -> None:
    blueprint = json.loads((city / "blueprint.json").read_text())
    (city / "blueprint.json").write_text(json.dumps({**blueprint, "tiles": {name: "0" * 64}}))
    with pytest.raises(AddressVLMError, match="which is no tile"):
        remake_imagery(city, str(town / "sat" / "{z}" / "{x}" / "{y}.png"))


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{z}/{x}/{y}/../../../../victim", "17/1/1/../../../../victim"),
        ("tiles/{z}/{x}/{y}/../../../../../victim", "tiles/17/1/1/../../../../../victim"),
        ("/tmp/{z}/{x}/{y}.png", "/tmp/17/1/1.png"),
    ],
)
def test_a_city_folder_of_others_cannot_name_tiles_elsewhere(
    town: Path, city: Path, template: str, name: str
) -> None:
    about = (city / "city.toml").read_text()
    (city / "city.toml").write_text(about.replace("tiles/{z}/{x}/{y}.png", template))
    blueprint = json.loads((city / "blueprint.json").read_text())
    (city / "blueprint.json").write_text(json.dumps({**blueprint, "tiles": {name: "0" * 64}}))
    with pytest.raises(AddressVLMError, match="the maps of a city folder are 'streets' or its own tiles"):
        remake_imagery(city, str(town / "sat" / "{z}" / "{x}" / "{y}.png"), accept_changes=True)


def test_tiles_are_not_written_through_a_link_that_leads_out_of_the_city(
    town: Path, city: Path, tmp_path: Path
) -> None:
    shutil.rmtree(city / "tiles")
    (tmp_path / "elsewhere").mkdir()
    (city / "tiles").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AddressVLMError, match=r"is a link that leads out of .*; .* remove the link"):
        remake_imagery(city, str(town / "sat" / "{z}" / "{x}" / "{y}.png"))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_city_with_drawn_maps_has_no_blueprint(write_city: WriteCity, tmp_path: Path) -> None:
    build(write_city([row(0, 45.001)]), tmp_path / "out")
    with pytest.raises(UsageError, match=r"has no blueprint\.json: its maps are drawn"):
        remake_imagery(tmp_path / "out")

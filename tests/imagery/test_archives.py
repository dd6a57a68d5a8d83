import io
import random
import sqlite3
from pathlib import Path

import pytest
from PIL import Image
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.imagery.archives import MBTiles, PMTiles

Tiles = dict[tuple[int, int, int], bytes]
TILES = [(17, 5, 0), (17, 5, 131071), (18, 10, 3)]


def png(colour: str, size_px: int = 256) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size_px, size_px), colour).save(stream, "PNG")
    return stream.getvalue()


SAMPLE: Tiles = dict(zip(TILES, (png("red"), png("green"), png("blue")), strict=True))


def write_mbtiles(path: Path, tiles: Tiles, **about: str) -> Path:
    """Rows as the specification has them: counted from the south."""
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE metadata (name text, value text)")
        file.execute(
            "CREATE TABLE tiles (zoom_level integer, tile_column integer, tile_row integer, tile_data blob)"
        )
        file.executemany("INSERT INTO metadata VALUES (?, ?)", about.items())
        rows = [(z, x, 2**z - 1 - y, data) for (z, x, y), data in tiles.items()]
        file.executemany("INSERT INTO tiles VALUES (?, ?, ?, ?)", rows)
    file.close()
    return path


def write_pmtiles(path: Path, tiles: Tiles, kind: TileType = TileType.PNG, attribution: str = "us") -> Path:
    with path.open("wb") as file:
        writer = Writer(file)
        for tile in sorted(tiles, key=lambda tile: zxy_to_tileid(*tile)):
            writer.write_tile(zxy_to_tileid(*tile), tiles[tile])
        header = {"tile_type": kind, "tile_compression": Compression.NONE}
        writer.finalize(header, {"attribution": attribution})
    return path


def test_mbtiles_count_rows_from_the_north(tmp_path: Path) -> None:
    path = write_mbtiles(
        tmp_path / "t.mbtiles", SAMPLE, format="png", attribution='<a href="x">us</a> &  them'
    )
    source = MBTiles(path)
    assert {tile: source.read(tile) for tile in TILES} == SAMPLE
    assert (source.zooms, source.tile_px, source.ending) == ([17, 18], 256, ".png")
    assert source.attribution == "us & them"
    assert not source.has((17, 5, 1))


def test_pmtiles_have_their_tiles(tmp_path: Path) -> None:
    source = PMTiles(write_pmtiles(tmp_path / "t.pmtiles", SAMPLE))
    assert {tile: source.read(tile) for tile in TILES} == SAMPLE
    assert (list(source.zooms), source.tile_px, source.ending) == ([17, 18], 256, ".png")
    assert source.attribution == "us"
    assert not source.has((17, 5, 1))
    with pytest.raises(AddressVLMError, match=r"t\.pmtiles has no tile \(17, 5, 1\)"):
        source.read((17, 5, 1))


def test_vector_tiles_show_no_ground(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"v\.mbtiles holds vector tiles"):
        MBTiles(write_mbtiles(tmp_path / "v.mbtiles", {(1, 0, 0): b"\x1f\x8b"}, format="pbf"))
    with pytest.raises(UsageError, match=r"v\.pmtiles holds vector tiles"):
        PMTiles(write_pmtiles(tmp_path / "v.pmtiles", {(1, 0, 0): b"\x1f\x8b"}, TileType.MVT))


def test_an_empty_file_holds_no_tile(tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match="holds no tile"):
        MBTiles(write_mbtiles(tmp_path / "t.mbtiles", {}))


@pytest.mark.parametrize("content", [b"", b"no database" * 500, b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_mbtiles_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.mbtiles").write_bytes(content)
    with pytest.raises(AddressVLMError, match=r"t\.mbtiles cannot be read as MBTiles"):
        MBTiles(tmp_path / "t.mbtiles")


def many(number: int) -> Tiles:
    return {(18, x, 5): png("red") + bytes([x % 256, x // 256]) * 50 for x in range(number)}


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_cut_mbtiles_is_an_error_where_it_is_read(tmp_path: Path, share: float) -> None:
    whole = write_mbtiles(tmp_path / "whole.mbtiles", many(200))
    cut = tmp_path / "cut.mbtiles"
    cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    with pytest.raises(AddressVLMError, match=r"cut\.mbtiles"):
        [MBTiles(cut).read(tile) for tile in many(200)]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 0.99])
def test_a_cut_pmtiles_is_an_error_at_once(tmp_path: Path, share: float) -> None:
    whole = write_pmtiles(tmp_path / "whole.pmtiles", many(50))
    cut = tmp_path / "cut.pmtiles"
    cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    with pytest.raises(AddressVLMError, match=r"cut\.pmtiles"):
        PMTiles(cut)


def test_other_bytes_are_no_pmtiles(tmp_path: Path) -> None:
    (tmp_path / "t.pmtiles").write_bytes(b"hello" * 100)
    with pytest.raises(AddressVLMError, match=r"t\.pmtiles is no PMTiles of version 3"):
        PMTiles(tmp_path / "t.pmtiles")


def test_a_spoilt_directory_is_an_error(tmp_path: Path) -> None:
    path = write_pmtiles(tmp_path / "t.pmtiles", many(50))
    data = bytearray(path.read_bytes())
    data[127:200] = b"\xff" * 73
    path.write_bytes(bytes(data))
    with pytest.raises(AddressVLMError, match=r"t\.pmtiles is cut or damaged"):
        PMTiles(path).has((18, 5, 5))


@pytest.mark.parametrize("kind", ["mbtiles", "pmtiles"])
def test_spoilt_bytes_are_read_or_told_of(tmp_path: Path, kind: str) -> None:
    tiles = many(20)
    write = {"mbtiles": write_mbtiles, "pmtiles": write_pmtiles}[kind]
    read = {"mbtiles": MBTiles, "pmtiles": PMTiles}[kind]
    whole, path = write(tmp_path / "whole", tiles).read_bytes(), tmp_path / "spoilt"
    dice = random.Random(0)
    told = 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(dice.choice([1, 5, 50])):
            data[dice.randrange(dice.choice([150, len(data)]))] = dice.randrange(256)
        path.write_bytes(data)
        try:
            source = read(path)
            [source.read(tile) for tile in tiles if source.has(tile)]
        except AddressVLMError:
            told += 1
    assert told


def test_real_pmtiles_are_read(shared: Path) -> None:
    source = PMTiles(shared / "aerial_samples" / "usgs-mt-whitney-8-15-webp-512.pmtiles")
    assert (source.tile_px, source.ending, source.zooms[-1]) == (512, ".webp", 15)
    with pytest.raises(UsageError, match="vector tiles"):
        PMTiles(shared / "aerial_samples" / "protomaps_vector_firenze.pmtiles")

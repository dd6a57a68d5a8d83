import io
import random
import warnings
from pathlib import Path
from typing import Any

import mercantile
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import rasterio.warp
from PIL import Image
from rasterio.enums import ColorInterp

from addressvlm.errors import AddressVLMError
from addressvlm.geo.places import LatLon
from addressvlm.imagery.frames import Frame
from addressvlm.imagery.geotiff import GeoTiffs
from addressvlm.imagery.tilegrid import MISSING_COLOUR, tiles_covering, zoom_for

ZOOM = 17
TILE = (ZOOM, *mercantile.tile(9.17, 48.77, ZOOM)[:2])
BOX = mercantile.xy_bounds(*TILE[1:], ZOOM)
SIDE_M = BOX.right - BOX.left


def write_tiff(
    path: Path, bands: npt.NDArray[Any], *, east: float = 0.0, crs: Any = "EPSG:3857", **more: Any
) -> Path:
    """A picture (bands, rows, columns) on the ground of `TILE`, or so many tiles east of it."""
    count, height, width = bands.shape
    transform = rasterio.Affine(SIDE_M / width, 0, BOX.left + east * SIDE_M, 0, -SIDE_M / height, BOX.top)
    options = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": bands.dtype}
    place = {"crs": crs, "transform": transform} if crs else {}
    with warnings.catch_warnings(action="ignore"), rasterio.open(path, "w", **options, **place) as file:
        file.write(bands)
        for name, value in more.items():
            getattr(file, name)(value) if callable(getattr(file, name)) else setattr(file, name, value)
    return path


def halves(left: int, right: int, dtype: str = "uint8", count: int = 3) -> npt.NDArray[Any]:
    """Left half one value, right half another."""
    bands = np.full((count, 256, 256), left, dtype)
    bands[..., 128:] = right
    return bands


def pixels(source: GeoTiffs, tile: tuple[int, int, int] = TILE) -> npt.NDArray[Any]:
    return np.asarray(Image.open(io.BytesIO(source.read(tile))), int)


def test_a_picture_that_fits_a_tile_becomes_that_tile(tmp_path: Path) -> None:
    source = GeoTiffs([write_tiff(tmp_path / "a.tif", halves(10, 200))])
    assert source.has(TILE)
    assert not source.has((ZOOM, TILE[1] + 1, TILE[2]))
    assert source.zooms[-1] == ZOOM
    tile = pixels(source)
    assert (tile[5, 5].tolist(), tile[5, 250].tolist()) == ([10] * 3, [200] * 3)


def test_a_picture_in_another_reference_system_lies_where_it_should(tmp_path: Path) -> None:
    """A white square of 40 m in UTM 32N around the middle of a tile of 100 m."""
    tile = mercantile.tile(9.17, 48.77, 18)
    box = mercantile.bounds(tile)
    lon, lat = (box.west + box.east) / 2, (box.south + box.north) / 2
    east, north = rasterio.warp.transform("EPSG:4326", "EPSG:32632", [lon], [lat])
    bands = np.zeros((3, 400, 400), np.uint8)
    bands[:, 160:240, 160:240] = 255
    options = {"driver": "GTiff", "count": 3, "height": 400, "width": 400, "dtype": "uint8"}
    place = rasterio.Affine(0.5, 0, east[0] - 100, 0, -0.5, north[0] + 100)
    with rasterio.open(tmp_path / "utm.tif", "w", crs="EPSG:32632", transform=place, **options) as file:
        file.write(bands)
    rows, columns = np.nonzero(pixels(GeoTiffs([tmp_path / "utm.tif"]), (18, tile.x, tile.y))[..., 0] > 128)
    assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx((128, 128), abs=0.5)
    side_px = 40 / (2 * np.pi * 6_378_137 * np.cos(np.radians(lat)) / 2**18 / 256)
    assert np.ptp(columns) + 1 == pytest.approx(side_px, abs=2)


def test_what_no_picture_shows_is_grey(tmp_path: Path) -> None:
    source = GeoTiffs([write_tiff(tmp_path / "a.tif", halves(10, 10), east=0.5)])
    tile = pixels(source)
    assert tuple(tile[100, 50]) == MISSING_COLOUR
    assert tile[100, 200].tolist() == [10] * 3


def test_at_the_edge_of_a_picture_the_zoom_stays_fine(tmp_path: Path) -> None:
    source = GeoTiffs([write_tiff(tmp_path / "a.tif", halves(10, 10))])
    west, south, _, _ = mercantile.bounds(*TILE[1:], ZOOM)
    frame = Frame(LatLon(south, west), 200, 256)  # three quarters of it lie outside
    assert zoom_for(source, frame) == ZOOM
    assert sum(source.has(tile) for tile in tiles_covering(frame, ZOOM)) == 1


def test_several_pictures_are_one_and_the_first_counts(tmp_path: Path) -> None:
    first = write_tiff(tmp_path / "a.tif", halves(10, 10), east=-0.5)
    second = write_tiff(tmp_path / "b.tif", halves(99, 99))
    tile = pixels(GeoTiffs([first, second]))
    assert (tile[5, 5, 0], tile[5, 250, 0]) == (10, 99)


def test_transparent_parts_are_grey(tmp_path: Path) -> None:
    bands = np.concatenate([halves(10, 200), halves(255, 0, count=1)])
    meanings = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    tile = pixels(GeoTiffs([write_tiff(tmp_path / "a.tif", bands, colorinterp=meanings)]))
    assert (tile[5, 5].tolist(), tuple(tile[5, 250])) == ([10] * 3, MISSING_COLOUR)


def test_the_value_for_nothing_is_grey(tmp_path: Path) -> None:
    tile = pixels(GeoTiffs([write_tiff(tmp_path / "a.tif", halves(10, 0), nodata=0)]))
    assert (tile[5, 5].tolist(), tuple(tile[5, 250])) == ([10] * 3, MISSING_COLOUR)


def test_one_band_is_grey_and_sixteen_bits_are_stretched(tmp_path: Path) -> None:
    tile = pixels(GeoTiffs([write_tiff(tmp_path / "a.tif", halves(300, 2000, "uint16", 1))]))
    assert (tile[5, 5].tolist(), tile[5, 250].tolist()) == ([0] * 3, [255] * 3)


def test_a_picture_of_named_colours_shows_them(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, halves(1, 2, count=1))
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {1: (255, 0, 0, 255), 2: (0, 0, 255, 255)})
    tile = pixels(GeoTiffs([path]))
    assert (tile[5, 5].tolist(), tile[5, 250].tolist()) == ([255, 0, 0], [0, 0, 255])


def test_a_picture_without_georeference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match=r"a\.tif has no georeference.*with its reference system"):
        GeoTiffs([write_tiff(tmp_path / "a.tif", halves(10, 200), crs=None)])


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"II*\0" + b"\xff" * 100])
def test_what_is_no_geotiff_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(AddressVLMError, match=r"a\.tif cannot be read as GeoTIFF"):
        GeoTiffs([tmp_path / "a.tif"])


def test_a_cut_geotiff_is_an_error_where_its_pixels_are_missing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 256, 256), np.uint8)
    path = write_tiff(tmp_path / "a.tif", noise)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(AddressVLMError, match=r"a\.tif (is|cannot be read).*cut or damaged"):
        GeoTiffs([path]).read(TILE)


def test_spoilt_bytes_are_read_or_told_of(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", halves(10, 200))
    whole = path.read_bytes()
    dice = random.Random(0)
    told = 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(dice.choice([1, 5, 50])):
            data[dice.randrange(400)] = dice.randrange(256)
        path.write_bytes(data)
        try:
            source = GeoTiffs([path])
            if source.zooms and source.has(TILE):
                source.read(TILE)
        except AddressVLMError:
            told += 1
    assert told


def test_another_format_that_names_files_is_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "real.tif", halves(10, 200))
    (tmp_path / "a.tif").write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{tmp_path}/real.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(AddressVLMError, match=r"a\.tif cannot be read as GeoTIFF"):
        GeoTiffs([tmp_path / "a.tif"])


@pytest.mark.parametrize(
    ("file", "finest"),
    [("spacenet_vegas/RGB-PanSharpen_AOI_2_Vegas_img0.tif", 19), ("usgs_hro_colorado_15cm_rgba.tif", 20)],
)
def test_real_pictures_are_read(shared: Path, file: str, finest: int) -> None:
    assert GeoTiffs([shared / "aerial_samples" / file]).zooms[-1] == finest

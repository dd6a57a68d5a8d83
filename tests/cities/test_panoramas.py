import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from smalltown import picture, write_toml

from addressvlm.cities.build import build_city
from addressvlm.cities.panoramas import Cut, cut_into_views
from addressvlm.cities.photos import Offer

COLOURS = ("red", "lime", "blue", "yellow")  # of the quarters ahead, right, behind, left


def panorama(width: int = 400) -> Image.Image:
    """Each direction in its colour; ahead is the middle of the picture."""
    image = Image.new("RGB", (width, width // 2))
    quarter = width // 4
    for number, colour in enumerate(COLOURS):
        left = width // 2 - quarter // 2 + number * quarter
        for x in (left, left - width):
            image.paste(Image.new("RGB", (quarter, width // 2), colour), (x, 0))
    return image


def offers(path: Path, **more: object) -> list[Offer]:
    return cut_into_views([Offer("a.jpg", path, 45.0, 9.0, **more)], Cut(4), workers=1)  # type: ignore[arg-type]


def test_a_panorama_becomes_its_views(tmp_path: Path) -> None:
    panorama().save(tmp_path / "a.jpg")
    views = offers(tmp_path / "a.jpg", heading_deg=300.0)
    assert [view.yaw_deg for view in views] == [0, 90, 180, 270]
    assert [view.heading_deg for view in views] == [300, 30, 120, 210]
    assert {(view.source, view.lat, view.pitch_deg) for view in views} == {("a.jpg", 45, 0)}


def test_without_a_heading_views_have_none(tmp_path: Path) -> None:
    panorama().save(tmp_path / "a.jpg")
    assert all(math.isnan(view.heading_deg) for view in offers(tmp_path / "a.jpg"))


def test_the_xmp_tells_the_heading_where_nothing_else_does(tmp_path: Path) -> None:
    xmp = b'<x GPano:ProjectionType="equirectangular" GPano:PoseHeadingDegrees="10"/>'
    panorama().save(tmp_path / "a.jpg", xmp=xmp)
    assert offers(tmp_path / "a.jpg")[1].heading_deg == 100
    assert offers(tmp_path / "a.jpg", heading_deg=20.0)[1].heading_deg == 110


@pytest.mark.parametrize(
    ("size", "projection", "views"),
    [
        ((400, 200), "", 4),
        ((400, 200), "Equirectangular", 4),
        ((400, 200), "True", 4),  # Mapillary's is_pano
        ((400, 200), "perspective", 1),  # a phone's wide picture
        ((400, 300), "", 1),
        ((400, 300), "perspective", 1),
    ],
)
def test_panoramas_are_told_from_photos(
    tmp_path: Path, size: tuple[int, int], projection: str, views: int
) -> None:
    Image.new("RGB", size).save(tmp_path / "a.jpg")
    assert len(offers(tmp_path / "a.jpg", projection=projection)) == views


def test_a_part_of_the_sphere_is_rejected(tmp_path: Path) -> None:
    Image.new("RGB", (500, 100)).save(tmp_path / "a.jpg")
    (offer,) = offers(tmp_path / "a.jpg", projection="equirectangular")
    assert offer.reason == "is a panorama of a part of the sphere: 500 x 100 is not 2:1"


def test_what_is_no_picture_is_rejected_once(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("hello")
    (offer,) = offers(tmp_path / "a.jpg")
    assert offer.reason == "is not a JPEG, PNG or WebP image"


def test_a_city_is_built_of_panoramas_and_photos(town: Path, tmp_path: Path) -> None:
    panorama().save(town / "0.jpg", quality=95)
    (town / "photos.csv").write_text("file,lat,lon,heading\n0.jpg,45.001,9,350\n1.jpg,45.002,9,10\n")
    lines = ('photos = "photos.csv"', "panorama_views = 4", "panorama_fov_deg = 60", "photo_px = 64")
    build_city(write_toml(town, *lines), tmp_path / "out", workers=1)
    photos = pd.read_parquet(tmp_path / "out" / "photos.parquet")
    assert photos["heading_deg"].tolist() == [350, 80, 170, 260, 10]
    assert photos["location"].tolist() == ["l000001"] * 4 + ["l000002"]
    for file, colour in zip(photos["file"][:4], COLOURS, strict=True):
        with Image.open(tmp_path / "out" / file) as view:
            assert view.size == (64, 64)
            wanted = np.array(Image.new("RGB", (1, 1), colour).getpixel((0, 0)))
            assert abs(np.asarray(view).astype(int) - wanted).max() < 40
    taken = (tmp_path / "out" / "taken.csv").read_text("utf-8").split()
    assert taken[1:] == [*(f"p00000{number},0.jpg" for number in range(1, 5)), "p000005,1.jpg"]


def test_panoramas_stay_whole_where_no_views_are_wanted(town: Path, tmp_path: Path) -> None:
    panorama().save(town / "0.jpg")
    (town / "photos.csv").write_text("file,lat,lon\n0.jpg,45.001,9\n")
    build_city(write_toml(town, 'photos = "photos.csv"'), tmp_path / "out", workers=1)
    with Image.open(tmp_path / "out" / "images" / "p000001.jpg") as whole:
        assert whole.size == (400, 200)


def test_a_broken_panorama_is_rejected_view_by_view(town: Path, tmp_path: Path) -> None:
    picture(3, (400, 200)).save(town / "0.jpg")
    (town / "0.jpg").write_bytes((town / "0.jpg").read_bytes()[:9000])
    (town / "photos.csv").write_text("file,lat,lon\n0.jpg,45.001,9\n1.jpg,45.002,9\n")
    toml = write_toml(town, 'photos = "photos.csv"', "panorama_views = 3")
    summary = build_city(toml, tmp_path / "out", workers=1)
    assert summary["rejected"] == {"is truncated or damaged": 3}
    assert summary["offered"] == 4

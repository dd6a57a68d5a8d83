import math
from pathlib import Path

import pytest
from PIL import ExifTags, Image
from smalltown import picture, save_with_gps

from addressvlm.cities.own import OwnWriter
from addressvlm.cities.panoramas import Cut
from addressvlm.cities.photos import Offer, located, photos_in_folder
from addressvlm.imagery.stores import Imagery

SPECIMENS = Path(__file__).resolve().parents[3] / "shared" / "data" / "exif_samples"


def copied(path: Path, target: Path) -> str:
    """Copy a photo at most 150 pixels long; returns why that cannot be."""
    writer = OwnWriter(150, Cut(0), Imagery("streets"), None)
    return writer.photo({"path": path, "yaw_deg": math.nan}, target).reason


def test_a_folder_offers_its_image_files_by_name(tmp_path: Path) -> None:
    for name in ("b.JPG", "sub/a.png", "c.heic", "notes.txt", ".hidden/d.jpg", ".e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    assert [offer.source for offer in photos_in_folder(tmp_path)] == ["b.JPG", "c.heic", "sub/a.png"]


def test_exif_gives_place_and_heading(tmp_path: Path) -> None:
    save_with_gps(tmp_path / "a.jpg", 45.25, 9.5, 30.0)
    (offer,) = located(photos_in_folder(tmp_path))
    assert (offer.lat, offer.lon, offer.heading_deg, offer.reason) == (45.25, 9.5, 30.0, "")


def test_a_photo_without_gps_says_so(town: Path) -> None:
    offer = located(photos_in_folder(town), workers=1)[0]
    assert offer.reason == "has no GPS position in its EXIF"
    assert math.isnan(offer.lat)


def test_what_is_no_photo_says_so_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("hello")
    assert located(photos_in_folder(tmp_path))[0].reason == "is not a JPEG, PNG or WebP image"


def test_copies_are_smaller_and_bare(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "me"
    picture(1, (300, 200)).save(tmp_path / "a.jpg", exif=exif)
    assert copied(tmp_path / "a.jpg", tmp_path / "b.jpg") == ""
    with Image.open(tmp_path / "b.jpg") as copy:
        assert (copy.size, dict(copy.getexif())) == ((150, 100), {})


def test_small_photos_keep_their_size(tmp_path: Path) -> None:
    picture(1, (30, 20)).save(tmp_path / "a.png")
    copied(tmp_path / "a.png", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as copy:
        assert copy.size == (30, 20)


def test_turned_photos_are_copied_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture(1, (60, 40)).save(tmp_path / "a.jpg", exif=exif)
    copied(tmp_path / "a.jpg", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as copy:
        assert copy.size == (40, 60)


@pytest.mark.skipif(not SPECIMENS.is_dir(), reason="the shared sample data is not here")
def test_real_specimens_have_the_places_their_makers_give() -> None:
    offers = {offer.source: offer for offer in located(photos_in_folder(SPECIMENS), workers=1)}
    places = {
        name: (round(offer.lat, 4), round(offer.lon, 4)) for name, offer in offers.items() if not offer.reason
    }
    assert places["DSC00001.JPG"] == (45.5169, -122.5728)
    assert places["test_exif.jpg"] == (35.9125, 14.4988)
    assert isinstance(offers["adobe_coords.jpg"], Offer)
    assert offers["empty_exif.jpg"].reason == "has no GPS position in its EXIF"

import gzip
import math
from pathlib import Path

import pandas as pd
import pytest
from smalltown import picture, write_toml

from addressvlm.cities.build import build_city
from addressvlm.cities.vprnames import has_vpr_name, is_list_of_names, names_in_list, offer_of_name
from addressvlm.errors import AddressVLMError, UsageError

# Of SF-XL, Tokyo 24/7, and Pitts250k as it is converted.
SF = "database/@0550506.53@4181256.88@10@S@037.77726@-122.42647@4lvBxtHrrG--rnHW9UcwKA@@150@-5@@@201508@@.jpg"
TOKYO = "queries/@0382794.06@3946461.03@54@S@035.65504@0139.70520@00265@@@@@@@@.jpg"
PITTS = "@0585230.45@4477142.26@17@T@040.44056@-079.99503@000116@35@@@@@@pitch2_yaw12@.jpg"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "vpr_name_lists"


def test_a_name_tells_place_heading_pitch_and_month() -> None:
    offer = offer_of_name(SF)
    assert (offer.lat, offer.lon, offer.heading_deg, offer.pitch_deg) == (37.77726, -122.42647, 150, -5)
    assert (offer.source, offer.time, offer.reason) == (SF, "2015-08", "")


def test_what_a_name_leaves_open_is_unknown() -> None:
    offer = offer_of_name(TOKYO)
    assert (offer.lat, offer.lon, offer.time) == (35.65504, 139.7052, None)
    assert math.isnan(offer.heading_deg)
    assert math.isnan(offer.pitch_deg)


def test_a_full_date_is_kept() -> None:
    assert offer_of_name(SF.replace("201508", "20150831")).time == "2015-08-31"


@pytest.mark.parametrize("name", [SF, TOKYO, PITTS])
def test_utm_alone_is_enough(name: str) -> None:
    offer = offer_of_name(name)
    fields = name.split("@")
    alone = offer_of_name("@".join([*fields[:5], *[""] * 10, ".jpg"]))
    assert alone.lat == pytest.approx(offer.lat, abs=2e-5)
    assert alone.lon == pytest.approx(offer.lon, abs=2e-5)


def test_the_southern_half_of_the_world_is_in_the_south() -> None:
    offer = offer_of_name("@0334300@6250900@56@H@@@@@@@@@@@.jpg")
    assert (offer.lat, offer.lon) == (pytest.approx(-33.86, abs=0.02), pytest.approx(151.21, abs=0.02))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("@1@2.jpg", "no four UTM fields"),
        ("@.jpg", "no four UTM fields"),
        ("@@4181256@10@S@@.jpg", "its name has no utm_east"),
        ("@x@4181256@10@S@@.jpg", "utm_east in its name is no number: 'x'"),
        ("@550506@4181256@99@S@@.jpg", "no UTM zone but '99'"),
        ("@550506@4181256@10@I@@.jpg", "no UTM zone but '10', 'I'"),
        ("@550506@inf@10@S@@.jpg", "outside of zone 10"),
        (SF.replace("037.77726", "037.97726"), "UTM and degrees in its name lie 22"),
        (SF.replace("@150@", "@north@"), "heading in its name is no number"),
    ],
)
def test_a_name_that_tells_no_place_says_why(name: str, reason: str) -> None:
    assert reason in offer_of_name(name).reason


def test_only_names_with_an_at_are_meant() -> None:
    assert has_vpr_name(SF)
    assert not has_vpr_name("database/photo@home.jpg")


def test_a_list_is_read_packed_or_not(tmp_path: Path) -> None:
    plain, packed = tmp_path / "names.txt", tmp_path / "names.txt.gz"
    plain.write_text(f"{SF}\n\n{TOKYO}\n")
    packed.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    for path in (plain, packed):
        assert is_list_of_names(path)
        assert names_in_list(path) == [SF, TOKYO]
    (tmp_path / "photos.txt").write_text("file,lat,lon\n1.jpg,1,2\n")
    assert not is_list_of_names(tmp_path / "photos.txt")


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"@1@2\n" * 999, mtime=0)[:-20], gzip.compress(b"\xff\xfe", mtime=0)],
)
def test_a_damaged_list_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "names.txt.gz").write_bytes(content)
    with pytest.raises(AddressVLMError, match=r"names\.txt\.gz cannot be read as a list of names"):
        names_in_list(tmp_path / "names.txt.gz")


def test_a_city_takes_photos_by_their_names(town: Path, tmp_path: Path) -> None:
    (town / "photos").mkdir()
    for number in range(4):
        name = f"@@@@@045.000{number}@009.0001@@@{number}0@@@@@@.jpg"
        picture(number).save(town / "photos" / _with_utm(name))
    build_city(write_toml(town, 'photos = "photos"'), tmp_path / "out", workers=1)
    photos = pd.read_parquet(tmp_path / "out" / "photos.parquet")
    assert photos["heading_deg"].tolist() == [0, 10, 20, 30]
    assert photos["lat"].tolist() == pytest.approx([45.0, 45.0001, 45.0002, 45.0003], abs=1e-6)


def test_a_city_takes_places_of_a_list_without_photos(town: Path, tmp_path: Path) -> None:
    names = [_with_utm(f"@@@@@045.000{number}@009.0001@@@@@@@@@.jpg") for number in range(3)]
    (town / "names.txt").write_text("\n".join(names))
    with pytest.raises(UsageError, match="set images = false"):
        build_city(write_toml(town, 'photos = "names.txt"'), tmp_path / "out", workers=1)
    build_city(write_toml(town, 'photos = "names.txt"', "images = false"), tmp_path / "out", workers=1)
    assert len(pd.read_parquet(tmp_path / "out" / "photos.parquet")) == 3


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample data is not here")
def test_all_names_of_real_data_sets_can_be_read() -> None:
    counts = {"sf_xs_val_database": 8015, "sf_xs_val_queries": 7993, "sf_xs_test_queries": 1000}
    for name, count in {**counts, "tokyo_xs_queries": 315}.items():
        offers = [offer_of_name(line) for line in names_in_list(SHARED / f"{name}.txt.gz")]
        assert len(offers) == count
        assert [offer.reason for offer in offers if offer.reason] == []


def _with_utm(name: str) -> str:
    """A name with UTM fields (zone 32) that fit its degrees."""
    import pyproj

    fields = name.split("@")
    east, north = pyproj.Transformer.from_crs(4326, 32632, always_xy=True).transform(
        float(fields[6]), float(fields[5])
    )
    return "@".join(["", f"{east:.2f}", f"{north:.2f}", "32", "T", *fields[5:]])

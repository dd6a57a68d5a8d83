import math
from pathlib import Path

import pytest

from addressvlm.cities.photocsv import photos_in_csv
from addressvlm.cities.photos import Offer
from addressvlm.errors import AddressVLMError, UsageError


def offers(
    folder: Path, text: str, columns: dict[str, str] | None = None, *, images: bool = True
) -> list[Offer]:
    path = folder / "photos.csv"
    path.write_bytes(text.encode())
    return photos_in_csv(path, columns or {}, images=images)


def only(folder: Path, text: str) -> Offer:
    (offer,) = offers(folder, text)
    return offer


def test_a_row_is_a_photo_with_its_place(town: Path) -> None:
    offer = only(town, "file,lat,lon,heading,location,time\n0.jpg,45.5,9.25,370,spot 1,2024-05-01T12:00:00\n")
    assert offer == Offer("0.jpg", town / "0.jpg", 45.5, 9.25, 10.0, "spot 1", "2024-05-01T12:00:00")


def test_only_file_lat_and_lon_are_needed(town: Path) -> None:
    offer = only(town, "file,lat,lon\n0.jpg,45.5,9.25\n")
    assert math.isnan(offer.heading_deg)
    assert (offer.location, offer.time, offer.reason) == ("", None, "")


@pytest.mark.parametrize(
    "header",
    [
        "Filename,Latitude,Longitude",
        "IMAGE, LAT ,LNG",
        "\ufefffile,lat,long",
        "path,gps_latitude,gps_longitude",
    ],
)
def test_columns_may_have_their_usual_names(town: Path, header: str) -> None:
    assert (only(town, f"{header}\n0.jpg,45.5,9.25\n").lat, only(town, f"{header}\n0.jpg,45,9\n").lon) == (
        45.5,
        9,
    )


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_semicolons_and_tabs_separate_too(town: Path, delimiter: str) -> None:
    assert only(town, "file,lat,lon\n0.jpg,45.5,9.25\n".replace(",", delimiter)).lon == 9.25


def test_columns_can_be_named(town: Path) -> None:
    (offer,) = offers(town, "lat,lon,y,file\n1,2,45.5,0.jpg\n", {"lat": "y"})
    assert (offer.lat, offer.lon) == (45.5, 2)


def test_missing_columns_are_named(town: Path) -> None:
    with pytest.raises(AddressVLMError, match=r"no column lat and no column lon; it has file, x, y"):
        offers(town, "file,x,y\n0.jpg,1,2\n")


def test_an_empty_csv_has_no_columns(town: Path) -> None:
    with pytest.raises(AddressVLMError, match="no column file and no column lat .* it has none"):
        offers(town, "")


@pytest.mark.parametrize(
    ("columns", "message"), [({"altitude": "z"}, "no column 'altitude'"), ({"lat": "z"}, "has no column 'z'")]
)
def test_a_named_column_must_exist(town: Path, columns: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        offers(town, "file,lat,lon\n", columns)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("gone.jpg,45,9", "there is no such file"),
        (",45,9", "no file is named"),
        ("0.jpg,north,9", "lat is no number: 'north'"),
        ("0.jpg,45,9,1", "its row has more cells than the header"),
        ("x" * 5000 + ".jpg,45,9", "there is no such file"),
        ("a\0b.jpg,45,9", "there is no such file"),
        (".,45,9", "there is no such file"),
    ],
)
def test_a_bad_row_is_offered_with_its_reason(town: Path, cells: str, reason: str) -> None:
    assert only(town, f"file,lat,lon\n{cells}\n").reason == reason


def test_a_row_without_coordinates_is_left_to_geocoding(town: Path) -> None:
    offer = only(town, "file,lat,lon\n0.jpg,,\n")
    assert math.isnan(offer.lat)
    assert offer.reason == ""


def test_a_short_row_lacks_what_it_lacks(town: Path) -> None:
    assert math.isnan(only(town, "file,lat,lon\n0.jpg,45\n").lon)


def test_a_file_listed_twice_is_taken_once(town: Path) -> None:
    rows = offers(town, "file,lat,lon\n0.jpg,45,9\n./0.jpg,46,9\n1.jpg,45,9\n")
    assert [offer.reason for offer in rows] == ["", "is listed twice", ""]


def test_names_may_hold_commas_quotes_and_letters_of_any_script(town: Path) -> None:
    (town / 'Straße "5", 東京.jpg').write_bytes((town / "0.jpg").read_bytes())
    assert only(town, 'file,lat,lon\n"Straße ""5"", 東京.jpg",45,9\n').reason == ""


def test_places_need_no_files(town: Path) -> None:
    (offer,) = offers(town, "lat,lon\n45,9\n", images=False)
    assert (offer.source, offer.path, offer.reason) == ("photos.csv:2", None, "")


def test_text_in_another_encoding_is_an_error(town: Path) -> None:
    (town / "photos.csv").write_bytes("file,lat,lon\nStraße.jpg,45,9\n".encode("latin-1"))
    with pytest.raises(AddressVLMError, match=r"photos\.csv is not UTF-8 text \(byte 17\)"):
        photos_in_csv(town / "photos.csv", {})


def test_an_open_quote_is_an_error(town: Path) -> None:
    with pytest.raises(AddressVLMError, match=r"photos\.csv cannot be read as CSV"):
        offers(town, 'file,lat,lon\n"0.jpg,45,9\n')

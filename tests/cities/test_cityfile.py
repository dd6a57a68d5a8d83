from dataclasses import fields
from pathlib import Path

import pytest
from smalltown import write_toml

from addressvlm.cities.cityfile import CityFile, read_city_file
from addressvlm.errors import AddressVLMError, UsageError

PHOTOS = 'photos = "."'


def test_paths_are_relative_to_the_file(town: Path) -> None:
    file = read_city_file(write_toml(town, PHOTOS))
    assert file.streets == town / "streets.geojson"


def test_what_is_not_said_has_the_published_default(town: Path) -> None:
    file = read_city_file(write_toml(town, PHOTOS))
    assert (file.satellite, file.levels, file.map_side_m) == ("streets", ("district", "street"), 305.0)
    assert (file.radius_m, file.photo_px, file.images) == (30.0, 768, True)


def test_every_key_is_read(town: Path) -> None:
    file = read_city_file(
        write_toml(
            town,
            PHOTOS,
            'satellite = "tiles/{z}/{x}/{y}.png"',
            'levels = ["chome", "street"]',
            "map_side_m = 150",
            'attribution = "us"',
            "[district_aliases]",
            'West = "Sunset"',
        )
    )
    assert file.satellite == f"{town.as_posix()}/tiles/{{z}}/{{x}}/{{y}}.png"
    assert (file.levels, file.map_side_m, file.attribution) == (("chome", "street"), 150.0, "us")
    assert file.district_aliases == {"West": "Sunset"}


def test_overrides_replace_keys(town: Path) -> None:
    assert read_city_file(write_toml(town, PHOTOS, "radius_m = 20"), radius_m=40.0).radius_m == 40.0


def test_an_unknown_key_names_the_nearest(town: Path) -> None:
    with pytest.raises(
        UsageError, match=r"city\.toml: there is no key 'attribtion'; did you mean 'attribution'"
    ):
        read_city_file(write_toml(town, PHOTOS, 'attribtion = "us"'))


def test_a_missing_key_is_named(town: Path) -> None:
    with pytest.raises(UsageError, match="key 'photos' is missing"):
        read_city_file(write_toml(town))


def test_a_path_to_nothing_is_named(town: Path) -> None:
    with pytest.raises(AddressVLMError, match=r"photos = 'gone\.csv' is not there"):
        read_city_file(write_toml(town, 'photos = "gone.csv"'))


def test_a_missing_city_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match="there is no file .*city.toml"):
        read_city_file(tmp_path / "city.toml")


def test_what_is_no_toml_says_where(tmp_path: Path) -> None:
    (tmp_path / "city.toml").write_text("name = \nphotos")
    with pytest.raises(AddressVLMError, match=r"city\.toml cannot be read as TOML.*line 1"):
        read_city_file(tmp_path / "city.toml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("radius_m = 0", "radius_m is a number from 1 to 500, not 0"),
        ("radius_m = nan", "radius_m is a number from 1 to 500, not nan"),
        ('map_side_m = "wide"', "map_side_m is a number from 40 to 5000, not 'wide'"),
        ("photo_px = 99.5", "photo_px is a whole number from 64 to 4096"),
        ('images = "no"', "images is true or false"),
        ('levels = ["street"]', "levels is two names"),
        ('levels = ["street", "street"]', "levels is two different names"),
        ('satellite = "tiles/{z}/{x}.png"', "satellite is a path with {z}, {x} and {y}, an .mbtiles"),
        ('satellite = "https://t.example/{z}/{x}/{y}.png"', "nothing is fetched"),
        ('street_language = "xx"', "no abbreviations of the language 'xx'; there are en, de"),
        ("districts_from_points_m = 5", "districts_from_points_m is a number from 10 to 20000, not 5"),
        ("attribution = 7", "attribution is text in quotes, not 7"),
        ('district_aliases = ["West"]', "district_aliases is a table of texts"),
    ],
)
def test_a_value_that_does_not_fit_says_what_would(town: Path, line: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        read_city_file(write_toml(town, PHOTOS, line))
    assert message in str(error.value)


def test_every_key_is_explained_in_the_docs() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "your-city.md").read_text("utf-8")
    for item in fields(CityFile):
        assert f"`{item.name}`" in page or f"`[{item.name}]`" in page, item.name


def test_a_city_without_a_name_is_refused(town: Path) -> None:
    path = write_toml(town, PHOTOS)
    path.write_text(path.read_text().replace("Town", " "))
    with pytest.raises(UsageError, match="name is not empty"):
        read_city_file(path)

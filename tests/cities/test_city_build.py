import csv
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mercantile
import pandas as pd
import pytest
from PIL import Image
from smalltown import contents, feature, picture, ring, row, save_with_gps, write_features, write_toml

from addressvlm.cities.build import build_city
from addressvlm.cities.city import load_city
from addressvlm.errors import AddressVLMError, UsageError

WriteCity = Callable[..., Path]


def build(toml: Path, out: Path, **options: Any) -> dict[str, Any]:
    return build_city(toml, out, workers=1, **options)


def rejected(out: Path) -> dict[str, str]:
    with (out / "rejected.csv").open(newline="", encoding="utf-8") as file:
        return {line["file"]: line["reason"] for line in csv.DictReader(file)}


def test_photos_get_addresses_and_names_of_ours(write_city: WriteCity, tmp_path: Path) -> None:
    build(write_city([row(3, 45.001), row(1, 45.002, 9.001)]), tmp_path / "out")
    photos = load_city(tmp_path / "out").photos
    assert photos["photo"].tolist() == ["p000001", "p000002"]
    assert photos["file"].tolist() == ["images/p000001.jpg", "images/p000002.jpg"]
    assert photos["street"].tolist() == ["First Street", "Second Street"]
    assert photos["district"].tolist() == ["West", "East"]
    assert (tmp_path / "out" / "taken.csv").read_text() == "photo,file\np000001,3.jpg\np000002,1.jpg\n"


def test_pictures_are_flushed_to_disk(write_city: WriteCity, tmp_path: Path, flushes: list[None]) -> None:
    build(write_city([row(3, 45.001)]), tmp_path / "out")
    assert len(flushes) == 1


def test_a_file_name_that_is_no_utf8_is_rejected_and_told(town: Path, tmp_path: Path) -> None:
    (town / "ride").mkdir()
    save_with_gps(town / "ride" / "good.jpg", 45.001, 9.0)
    save_with_gps(town / "ride" / os.fsdecode(b"caf\xe9.jpg"), 45.002, 9.0)
    summary = build(write_toml(town, 'photos = "ride"'), tmp_path / "out")
    assert (summary["photos"], summary["rejected"]) == (1, {"its file name is no UTF-8": 1})
    assert rejected(tmp_path / "out") == {r"caf\udce9.jpg": "its file name is no UTF-8"}


def test_equal_coordinates_are_one_location(write_city: WriteCity, tmp_path: Path) -> None:
    rows = [row(0, 45.001), row(1, 45.002), row(2, 45.001), row(3, 45.0010001)]
    build(write_city(rows), tmp_path / "out")
    assert load_city(tmp_path / "out").photos["location"].tolist() == [
        "l000001",
        "l000002",
        "l000001",
        "l000001",
    ]


def test_the_location_of_the_csv_counts_where_given(write_city: WriteCity, tmp_path: Path) -> None:
    rows = [row(0, 45.001, location="a"), row(1, 45.0011, location="a"), row(2, 45.001, location="b")]
    build(write_city(rows), tmp_path / "out")
    assert load_city(tmp_path / "out").photos["location"].tolist() == ["l000001", "l000001", "l000002"]


def test_a_photo_far_from_its_location_is_rejected(write_city: WriteCity, tmp_path: Path) -> None:
    rows = [row(number, 45.001 if number < 3 else 45.009, location="a") for number in range(4)]
    build(write_city(rows), tmp_path / "out")
    assert rejected(tmp_path / "out") == {"3.jpg": "more than 152.5 m from the other photos of its location"}


def test_every_bad_photo_is_rejected_with_its_reason(
    town: Path, write_city: WriteCity, tmp_path: Path
) -> None:
    (town / "1.jpg").write_bytes((town / "1.jpg").read_bytes()[:900])
    (town / "2.jpg").write_bytes(b"")
    (town / "3.jpg").write_text("hello")
    frames = [picture(number) for number in range(3)]
    frames[0].save(town / "4.jpg", "WEBP", save_all=True, append_images=frames[1:])
    Image.new("1", (9000, 9000)).save(town / "5.jpg", "PNG")
    picture(6).convert("CMYK").save(town / "6.jpg")
    rows = [row(number, 45.001) for number in range(7)]
    rows += [row(7, 0, 0), row(8, 1.3, 103.8), row(9, 45.005, 9.0005), row(10, 45.0), row(0, 45.0)]
    summary = build(write_city(rows), tmp_path / "out")
    assert (summary["offered"], summary["photos"]) == (12, 2)
    assert sum(summary["rejected"].values()) == 10
    assert load_city(tmp_path / "out").photos["photo"].tolist() == ["p000001", "p000007"]
    assert rejected(tmp_path / "out") == {
        "1.jpg": "is truncated or damaged: its pixels cannot be decoded",
        "2.jpg": "is empty (0 bytes)",
        "3.jpg": "is not a JPEG, PNG or WebP image",
        "4.jpg": "is an animation; a photo is a single picture",
        "5.jpg": "has more than 50 million pixels; scale it down",
        "7.jpg": "coordinates are 0, 0",
        "8.jpg": "outside the city",
        "9.jpg": "no named street within 30 m",
        "10.jpg": "there is no such file",
        "0.jpg": "is listed twice",
    }


def test_reasons_are_counted_by_kind(town: Path, write_city: WriteCity, tmp_path: Path) -> None:
    rows = [row(0, 45.0), {**row(1, 45.0), "lat": "x"}, {**row(2, 45.0), "lat": "y"}, row(3, 80.0)]
    summary = build(write_city(rows), tmp_path / "out")
    assert summary["rejected"] == {"lat is no number": 2, "outside the city": 1}


def test_without_any_photo_left_there_is_no_city(write_city: WriteCity, tmp_path: Path) -> None:
    with pytest.raises(
        AddressVLMError, match=r"no photo is left of 2 \(1 coordinates are 0, 0, 1 outside the city\)"
    ):
        build(write_city([row(0, 0, 0), row(1, 50.0)]), tmp_path / "out")
    assert len(rejected(tmp_path / "out")) == 2
    with pytest.raises(AddressVLMError, match="not complete"):
        load_city(tmp_path / "out")


def test_photos_may_lie_anywhere_but_nothing_is_written_outside(
    town: Path, write_city: WriteCity, tmp_path: Path
) -> None:
    (town / "0.jpg").rename(tmp_path / "far.jpg")
    before = contents(town)
    rows = [
        {"file": "../far.jpg", "lat": 45.0, "lon": 9.0},
        {"file": str(town / "1.jpg"), "lat": 45.0, "lon": 9.0},
    ]
    toml = write_city(rows)
    build(toml, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "images").iterdir()) == [
        "p000001.jpg",
        "p000002.jpg",
    ]
    assert contents(town).keys() == before.keys() | {"city.toml", "photos.csv"}


def test_no_path_of_this_machine_is_in_the_tables(town: Path, write_city: WriteCity, tmp_path: Path) -> None:
    (town / "1.jpg").write_bytes(b"")
    build(write_city([row(0, 45.0), row(1, 45.0)]), tmp_path / "out")
    for name, content in contents(tmp_path / "out").items():
        assert str(tmp_path).encode() not in content, name


def test_places_without_photos_get_addresses(town: Path, tmp_path: Path) -> None:
    (town / "places.csv").write_text("lat,lon\n45.001,9.0\n60,9.0\n45.001,9.001\n")
    build(write_toml(town, 'photos = "places.csv"', "images = false"), tmp_path / "out")
    photos = load_city(tmp_path / "out").photos
    assert photos["street"].tolist() == ["First Street", "Second Street"]
    assert photos["file"].isna().all()
    assert rejected(tmp_path / "out") == {"places.csv:3": "outside the city"}


def test_a_folder_of_photos_without_gps_is_no_city(town: Path, tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match="10 has no GPS position in its EXIF"):
        build(write_toml(town, 'photos = "."'), tmp_path / "out")


def test_the_city_is_not_built_among_its_photos(town: Path) -> None:
    with pytest.raises(UsageError, match="lies in the folder of the photos"):
        build(write_toml(town, 'photos = "."'), town / "out")


def test_any_number_of_processes_gives_the_same_bytes(
    town: Path, write_city: WriteCity, tmp_path: Path
) -> None:
    for number in range(10, 40):
        picture(number).save(town / f"{number}.jpg")
    toml = write_city([row(number, 45 + number / 5000) for number in range(40)])
    build(toml, tmp_path / "one")
    build_city(toml, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_complete_city_is_not_built_again(town: Path, write_city: WriteCity, tmp_path: Path) -> None:
    toml = write_city([row(0, 45.0)])
    first = build(toml, tmp_path / "out")
    before = (tmp_path / "out" / "photos.parquet").stat().st_mtime_ns
    assert build(toml, tmp_path / "out") == first
    assert (tmp_path / "out" / "photos.parquet").stat().st_mtime_ns == before


def test_another_config_is_refused_and_named(write_city: WriteCity, tmp_path: Path) -> None:
    toml = write_city([row(0, 45.0)])
    build(toml, tmp_path / "out")
    with pytest.raises(UsageError, match=r"radius_m: 30\.0 there, 20\.0 now"):
        build(toml, tmp_path / "out", radius_m=20.0)


def test_other_photos_under_the_same_names_are_another_config(
    town: Path, write_city: WriteCity, tmp_path: Path
) -> None:
    toml = write_city([row(0, 45.0)])
    build(toml, tmp_path / "out")
    picture(5, (90, 90)).save(town / "0.jpg")
    with pytest.raises(UsageError, match="photos_sha256"):
        build(toml, tmp_path / "out")


def test_another_place_in_the_exif_is_another_config(town: Path, tmp_path: Path) -> None:
    (town / "ride").mkdir()
    photo, toml = town / "ride" / "1.jpg", write_toml(town, 'photos = "ride"')
    save_with_gps(photo, 45.001, 9.0)
    before = photo.stat()
    build(toml, tmp_path / "out")
    save_with_gps(photo, 45.002, 9.0)
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert photo.stat().st_size == before.st_size
    with pytest.raises(UsageError, match="photos_sha256"):
        build(toml, tmp_path / "out")


def test_other_tiles_of_the_same_numbers_are_another_config(
    town: Path, write_city: WriteCity, tmp_path: Path
) -> None:
    write_tiles(town, 17, 45.001)
    toml = write_city([row(0, 45.001)], 'satellite = "tiles/{z}/{x}/{y}.png"')
    build(toml, tmp_path / "out")
    one, other = list((town / "tiles").rglob("*.png"))[:2]
    other.write_bytes(one.read_bytes())
    with pytest.raises(UsageError, match="tiles_sha256"):
        build(toml, tmp_path / "out")


def test_a_copy_of_all_that_a_city_is_built_from_goes_on_with_it(
    town: Path, write_city: WriteCity, tmp_path: Path
) -> None:
    write_tiles(town, 17, 45.001)
    summary = build(write_city([row(0, 45.001)], 'satellite = "tiles/{z}/{x}/{y}.png"'), tmp_path / "out")
    shutil.copytree(town, tmp_path / "copy", copy_function=shutil.copyfile)  # with times of now
    assert build(tmp_path / "copy" / "city.toml", tmp_path / "out") == summary


def test_levels_and_rights_are_kept(write_city: WriteCity, tmp_path: Path) -> None:
    lines = ('levels = ["chome", "street"]', 'attribution = "© \\"us\\""', 'licence = "CC0"')
    build(write_city([row(0, 45.0)], *lines), tmp_path / "out")
    city = load_city(tmp_path / "out")
    assert (city.levels, city.attribution, city.licence) == (("chome", "street"), '© "us"', "CC0")


def test_a_city_without_imagery_has_a_drawn_map(write_city: WriteCity, tmp_path: Path) -> None:
    from addressvlm.geo.places import LatLon
    from addressvlm.imagery.satellite import Frame

    build(write_city([row(0, 45.001)]), tmp_path / "out")
    image = load_city(tmp_path / "out").satellite_source.image(Frame(LatLon(45.001, 9.0), 300, 64))
    assert image.size == (64, 64)


def write_tiles(town: Path, zoom: int, lat: float, around: int = 2) -> None:
    middle = mercantile.tile(9.0, lat, zoom)
    for x in range(middle.x - around, middle.x + around + 1):
        for y in range(middle.y - around, middle.y + around + 1):
            path = town / "tiles" / str(zoom) / str(x) / f"{y}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (256, 256), (x % 256, y % 256, zoom)).save(path)


def test_the_tiles_around_the_locations_are_copied(town: Path, write_city: WriteCity, tmp_path: Path) -> None:
    write_tiles(town, 17, 45.001)
    write_tiles(town, 12, 45.001)
    toml = write_city([row(0, 45.001)], 'satellite = "tiles/{z}/{x}/{y}.png"')
    summary = build(toml, tmp_path / "out")
    copied = [name for name in contents(tmp_path / "out") if name.startswith("tiles/")]
    assert summary["tiles"] == len(copied)
    assert all(name.startswith("tiles/17/") for name in copied)
    assert 4 <= len(copied) <= 9  # a map of 305 m meets two or three tiles of 216 m each way
    assert load_city(tmp_path / "out").satellite == "tiles/{z}/{x}/{y}.png"


def test_a_map_from_the_copied_tiles_equals_one_from_the_original(
    town: Path, write_city: WriteCity, tmp_path: Path
) -> None:
    from addressvlm.geo.places import LatLon
    from addressvlm.imagery.satellite import Frame, XYZTiles

    write_tiles(town, 17, 45.001)
    toml = write_city([row(0, 45.001)], 'satellite = "tiles/{z}/{x}/{y}.png"')
    build(toml, tmp_path / "out")
    frame = Frame(LatLon(45.001, 9.0), 305, 336)
    original = XYZTiles(str(town / "tiles/{z}/{x}/{y}.png")).image(frame)
    assert load_city(tmp_path / "out").satellite_source.image(frame).tobytes() == original.tobytes()


def test_places_without_imagery_are_rejected(town: Path, write_city: WriteCity, tmp_path: Path) -> None:
    write_tiles(town, 17, 45.001)
    toml = write_city([row(0, 45.001), row(1, 45.0095)], 'satellite = "tiles/{z}/{x}/{y}.png"')
    build(toml, tmp_path / "out")
    assert rejected(tmp_path / "out") == {"1.jpg": "no satellite tile shows its place"}


def test_a_folder_without_tiles_is_an_error(town: Path, write_city: WriteCity, tmp_path: Path) -> None:
    toml = write_city([row(0, 45.001)], 'satellite = "tiles/{z}/{x}/{y}.png"')
    with pytest.raises(AddressVLMError, match=r"there is no tile at .*tiles/\{z\}.*check the folder"):
        build(toml, tmp_path / "out")


def test_a_folder_of_photos_with_gps_is_a_city(town: Path, tmp_path: Path) -> None:
    (town / "walk").mkdir()
    save_with_gps(town / "walk" / "a.jpg", 45.001, 9.0, 30.0)
    save_with_gps(town / "walk" / "b.jpg", 0.0, 0.0)
    build(write_toml(town, 'photos = "walk"'), tmp_path / "out")
    photos = load_city(tmp_path / "out").photos
    assert (photos["street"][0], photos["heading_deg"][0]) == ("First Street", 30.0)
    assert rejected(tmp_path / "out") == {"b.jpg": "coordinates are 0, 0"}


def test_a_name_that_is_no_city_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        build_city("atlantis", tmp_path / "out")


def test_a_folder_is_no_city_file(town: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no city\.toml"):
        build_city(town, tmp_path / "out")


def test_a_damaged_city_says_so(write_city: WriteCity, tmp_path: Path) -> None:
    build(write_city([row(0, 45.0)]), tmp_path / "out")
    (tmp_path / "out" / "photos.parquet").write_bytes(b"PAR1")
    with pytest.raises(AddressVLMError, match=r"is damaged.*build it again"):
        load_city(tmp_path / "out")


# Builds a city once undisturbed, and then again and again elsewhere, each time killed within the time that
# the undisturbed build took, until a build ends; forks, because importing takes longer than building.
KILLER = """
    import os, random, signal, sys, time
    from pathlib import Path
    from addressvlm.cities.build import build_city

    toml, undisturbed, killed = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])

    def build(out):
        child = os.fork()
        if child == 0:
            build_city(toml, out, workers=1)
            os._exit(0)
        return child

    start = time.monotonic()
    os.waitpid(build(undisturbed), 0)
    whole_s = time.monotonic() - start
    moments = random.Random()
    kills = 0
    while True:
        child = build(killed)
        if kills < 5:
            time.sleep(moments.uniform(0, 0.8) * whole_s)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if status == 0:
            break
        kills += os.WIFSIGNALED(status)
        assert os.WIFSIGNALED(status), f"a resumed build failed: {status}"
    print(kills)
"""


@pytest.mark.slow
def test_kill_9_at_random_moments_leaves_the_bytes_of_an_undisturbed_build(
    town: Path, write_city: WriteCity, tmp_path: Path
) -> None:
    for number in range(10, 60):
        picture(number, (600, 400)).save(town / f"{number}.jpg")
    toml = write_city([row(number, 45 + number / 10000) for number in range(60)])
    script = tmp_path / "killer.py"
    script.write_text(textwrap.dedent(KILLER))
    kills = 0
    for attempt in range(2):
        undisturbed, killed = tmp_path / f"undisturbed-{attempt}", tmp_path / f"killed-{attempt}"
        job = subprocess.run(
            [sys.executable, script, toml, undisturbed, killed], check=True, capture_output=True, text=True
        )
        kills += int(job.stdout)
        assert contents(killed) == contents(undisturbed)
    assert kills  # otherwise nothing was tested


def test_the_summary_accounts_for_every_photo(write_city: WriteCity, tmp_path: Path) -> None:
    rows = [row(number, 45 + number / 500) for number in range(10)]
    summary = build(write_city(rows), tmp_path / "out")
    assert summary["offered"] == summary["photos"] + sum(summary["rejected"].values())
    taken = pd.read_csv(tmp_path / "out" / "taken.csv")
    assert len(taken) == summary["photos"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary


def test_spellings_of_one_street_are_joined_and_listed(
    town: Path, write_city: WriteCity, tmp_path: Path
) -> None:
    names = ("First Street", "FIRST  ST", "First St.", "Second Street")
    lines = [[[9.0, 45.0], [9.0, 45.01]], [[9.0, 45.01], [9.0, 45.02]], [[9.0, 45.02], [9.0, 45.03]]]
    lines.append([[9.001, 45.0], [9.001, 45.01]])
    rows = [feature(name, "LineString", line) for name, line in zip(names, lines, strict=True)]
    write_features(town / "streets.geojson", [*rows, rows[0]])
    summary = build(write_city([row(0, 45.001)]), tmp_path / "out")
    assert (summary["streets"], summary["other_spellings"]) == (2, 2)
    listed = (tmp_path / "out" / "spellings.csv").read_text()
    assert listed == "name,spelling,pieces\nFirst Street,FIRST ST,1\nFirst Street,First St.,1\n"


def test_districts_that_overlap_are_counted_and_named(
    town: Path, write_city: WriteCity, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = {"West": (8.99, 9.0005), "East": (9.0, 9.02)}
    write_features(town / "districts.geojson", [feature(n, "Polygon", ring(*e)) for n, e in ends.items()])
    summary = build(write_city([row(0, 45.001)]), tmp_path / "out")
    assert summary["district_coverage"]["overlapping"] == 1
    assert "districts overlap: East and West; who stands in both" in capsys.readouterr().err


def test_streets_in_no_district_are_told_with_the_way_out(
    town: Path, write_city: WriteCity, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_features(town / "districts.geojson", [feature("West", "Polygon", ring(8.99, 9.0005))])
    build(write_city([row(0, 45.001)]), tmp_path / "out")
    told = capsys.readouterr().err
    assert "50 % of the streets' length lies in no district" in told
    assert "district_tolerance_m" in told


def test_pieces_without_a_name_are_told_where_they_are_most(
    town: Path, write_city: WriteCity, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [[9.0, 45.0], [9.0, 45.01]]
    names = ("First Street", "", "")
    write_features(town / "streets.geojson", [feature(name, "LineString", line) for name in names])
    build(write_city([row(0, 45.001)]), tmp_path / "out")
    assert "2 of 3 pieces of streets have no name" in capsys.readouterr().err


def test_a_good_city_is_built_without_a_remark(
    write_city: WriteCity, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(write_city([row(0, 45.001)]), tmp_path / "out")
    assert capsys.readouterr().err == ""


def test_streets_of_another_place_are_told_by_where_they_lie(
    town: Path, write_city: WriteCity, tmp_path: Path
) -> None:
    line = [[45.0, 9.0], [45.01, 9.0]]  # latitude first
    write_features(town / "streets.geojson", [feature("First Street", "LineString", line)])
    with pytest.raises(AddressVLMError, match=r"photos lie around \(45\..*the streets around \(9\..*swapped"):
        build(write_city([row(0, 45.001)]), tmp_path / "out")


def test_districts_may_be_points(town: Path, write_city: WriteCity, tmp_path: Path) -> None:
    (town / "points.csv").write_text("name,lat,lon\nWest,45.001,8.9995\nEast,45.001,9.0015\n")
    toml = write_city([row(0, 45.001, 9.0), row(1, 45.001, 9.001)], "districts_from_points_m = 500")
    toml.write_text(toml.read_text().replace("districts.geojson", "points.csv"))
    build(toml, tmp_path / "out")
    assert load_city(tmp_path / "out").photos["district"].tolist() == ["West", "East"]

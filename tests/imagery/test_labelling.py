import itertools
import os
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from addressvlm.errors import UsageError
from addressvlm.geo.places import LatLon
from addressvlm.geo.reading import read_streets
from addressvlm.geo.streets import StreetMap, street_map
from addressvlm.imagery.frames import Frame
from addressvlm.imagery.labelling import Label, LabelledMap, draw_street_names

GREEN = (70, 110, 70)


def blank(size_px: int = 300) -> Image.Image:
    return Image.new("RGB", (size_px, size_px), GREEN)


def streets(frame: Frame, lines: dict[str, list[list[tuple[float, float]]]]) -> gpd.GeoDataFrame:
    """Streets by their pieces, in metres east and north of the frame's centre."""
    shapes = gpd.GeoSeries(
        [shapely.MultiLineString(pieces) for pieces in lines.values()], crs=frame.projection.crs
    )
    return gpd.GeoDataFrame({"name": list(lines)}, geometry=shapes.to_crs(4326))


def by_name(labelled: LabelledMap) -> dict[str, Label]:
    return {label.name: label for label in labelled.labels}


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_names_follow_their_streets(town: StreetMap, frame: Frame):
    labels = by_name(draw_street_names(blank(), frame, town.streets, font_px=12))
    assert set(labels) == set(town.streets["name"])
    assert labels["High Street"].angle_deg == pytest.approx(0, abs=2)
    assert abs(labels["Mill Lane"].angle_deg) == pytest.approx(90, abs=2)
    assert 0 < labels["River Bend"].angle_deg < 45
    left, top, right, bottom = labels["High Street"].box
    assert top < 150 < bottom
    assert right - left > 5 * (bottom - top)


def test_a_name_longer_than_its_street_stands_level_and_wrapped_beside_it(town: StreetMap, frame: Frame):
    label = by_name(draw_street_names(blank(), frame, town.streets, font_px=12))["Saint Bartholomew Passage"]
    left, top, right, bottom = label.box
    assert label.angle_deg == 0
    assert bottom - top > 2 * 12
    assert right - left < 12 * len("Bartholomew")
    street = shapely.LineString([(210, 90), (240, 90)])  # in pixels
    assert shapely.box(left, top, right, bottom).distance(street) < 5


def test_level_names_stand_in_cells_over_their_streets_or_beside_them(frame: Frame):
    one = streets(frame, {"Elder Lane": [[(-60, -60), (60, 60)]]})
    assert by_name(draw_street_names(blank(), frame, one, font_px=12))["Elder Lane"].angle_deg > 40
    (label,) = draw_street_names(blank(), frame, one, font_px=12, level=True).labels
    assert label.angle_deg == 0
    assert len(label.middles) == len("Elder Lane")
    middle = frame.size_px / 2
    assert shapely.box(*label.box).contains(shapely.Point(middle, middle))
    assert all((x - 3.5) % 7 == 0 and (y - 7) % 14 == 0 for x, y in label.middles)  # cells of 7 x 14 px
    # Photo over the middle: the name goes to where its street is seen.
    reserved = (int(middle) - 60, 0, 300, 300)
    aside = draw_street_names(blank(), frame, one, font_px=12, level=True, reserved=reserved)
    assert all(label.box[2] <= reserved[0] for label in aside.labels)
    # A strip narrower than the name: there is no room.
    narrow = streets(frame, {"Elder Lane": [[(-140, -100), (-140, 100)]]})
    beside = draw_street_names(blank(), frame, narrow, font_px=12, level=True, reserved=(30, 0, 300, 300))
    assert beside.labels == ()


def test_what_is_written_lies_inside_the_boxes_and_is_all_there(town: StreetMap, frame: Frame):
    labelled = draw_street_names(blank(), frame, town.streets, font_px=12)
    pixels = np.asarray(labelled.image, int)
    dark = pixels.max(axis=2) < 60
    changed = (pixels != GREEN).any(axis=2)
    for label in labelled.labels:
        left, top, right, bottom = label.box
        letters = len(label.name.replace(" ", ""))
        assert dark[top:bottom, left:right].sum() > 12 * letters
        changed[max(top - 3, 0) : bottom + 3, max(left - 3, 0) : right + 3] = False
    assert not changed.any()


def test_every_name_stands_once_however_many_pieces_its_street_has(frame: Frame):
    pieces = [
        [(x, 20 * y) for x in range(start, start + 100, 10)] for start in (-150, -50, 50) for y in (-2, 0, 2)
    ]
    labelled = draw_street_names(blank(), frame, streets(frame, {"High Street": pieces}), font_px=11)
    assert labelled.names == ("High Street",)


def test_short_side_arms_do_not_break_a_street(frame: Frame):
    arms = [[(x, 0), (x, 8)] for x in (-60, -20, 20, 60)]
    pieces = [[(x, 0), (x + 40, 0)] for x in (-140, -100, -60, -20, 20, 60, 100)]
    pieces[-1][-1] = (140, 0)
    labelled = draw_street_names(
        blank(), frame, streets(frame, {"Avenue of the Republic": pieces + arms}), font_px=12
    )
    assert by_name(labelled)["Avenue of the Republic"].angle_deg == pytest.approx(0, abs=2)
    assert len(labelled.labels[0].letters) > 5


def test_the_street_nearest_to_the_centre_comes_first_and_wins(frame: Frame):
    crowd = {
        f"Parallel Street {number}": [[(-150, 7 * number), (150, 7 * number)]] for number in range(-9, 10)
    }
    labelled = draw_street_names(blank(), frame, streets(frame, crowd), font_px=12)
    assert labelled.names[0] == "Parallel Street 0"
    assert 4 < len(labelled.names) < 19


def test_a_name_is_left_out_rather_than_cut(frame: Frame):
    corner = {"Very Long Corner Street": [[(120, -150), (150, -120)]], "Middle": [[(-150, 0), (150, 0)]]}
    assert draw_street_names(blank(), frame, streets(frame, corner), font_px=30).names == ("Middle",)


def test_a_street_under_the_grafted_photo_is_named_where_it_can_be_seen(frame: Frame):
    reserved = (150, 0, 300, 120)
    half_hidden = streets(
        frame, {"Half Hidden Street": [[(-140, 60), (140, 60)]], "Hidden": [[(20, 100), (140, 100)]]}
    )
    labelled = draw_street_names(blank(), frame, half_hidden, reserved=reserved, font_px=12)
    assert labelled.names == ("Half Hidden Street",)
    assert not overlap(labelled.labels[0].box, reserved)


def test_a_name_whose_letters_the_font_lacks_is_left_out(frame: Frame):
    lines = {
        "東大通り": [[(-140, 40), (140, 40)]],
        "Königstraße": [[(-140, 0), (140, 0)]],
        "Ул. Мира": [[(-140, -40), (140, -40)]],
    }
    assert set(draw_street_names(blank(), frame, streets(frame, lines), font_px=12).names) == {
        "Königstraße",
        "Ул. Мира",
    }


def test_names_may_hold_any_sign(frame: Frame):
    names = ["A & B", "<Wall>", "[name]", "'Quote\" Street", "$x^2$", "50% Way"]
    lines = {
        name: [[(-140, 40 * number - 100), (140, 40 * number - 100)]] for number, name in enumerate(names)
    }
    assert set(draw_street_names(blank(), frame, streets(frame, lines), font_px=12).names) == set(names)


def test_no_street_in_reach_is_a_picture_without_names(town: StreetMap):
    far = Frame(LatLon(48.70, 9.17), 300, 300)
    labelled = draw_street_names(blank(), far, town.streets, font_px=12)
    assert labelled.names == ()
    assert labelled.image.tobytes() == blank().tobytes()


def test_the_picture_given_stays_as_it_was(town: StreetMap, frame: Frame):
    image = blank()
    draw_street_names(image, frame, town.streets, font_px=12)
    assert image.tobytes() == blank().tobytes()


def test_a_picture_that_is_not_the_frames_is_refused(town: StreetMap, frame: Frame):
    with pytest.raises(UsageError, match="the picture has 200 x 200 px, its frame 300"):
        draw_street_names(blank(200), frame, town.streets, font_px=12)
    with pytest.raises(UsageError, match="font_px is 0"):
        draw_street_names(blank(), frame, town.streets, font_px=0)
    with pytest.raises(UsageError, match="is not a font file"):
        draw_street_names(blank(), frame, town.streets, font_px=12, font=Path(__file__))


@settings(max_examples=60, deadline=None)
@given(
    east_m=st.integers(-120, 120),
    north_m=st.integers(-120, 120),
    side_m=st.integers(100, 600),
    size_px=st.sampled_from([112, 168, 336]),
    font_px=st.sampled_from([9.0, 10.5, 12.0, 20.0]),
    delta=st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]),
)
@example(east_m=0, north_m=0, side_m=300, size_px=336, font_px=12.0, delta=1.0)
def test_names_keep_clear_of_each_other_of_the_edges_and_of_the_photo(
    town: StreetMap,
    frame: Frame,
    east_m: int,
    north_m: int,
    side_m: int,
    size_px: int,
    font_px: float,
    delta: float,
):
    lat, lon = frame.projection.to_latlon(east_m, north_m)
    somewhere = Frame(LatLon(float(lat), float(lon)), side_m, size_px)
    reserved = (round(size_px * (1 - delta)), 0, size_px, round(size_px * delta * 0.75)) if delta else None
    labelled = draw_street_names(blank(size_px), somewhere, town.streets, reserved=reserved, font_px=font_px)
    assert len(set(labelled.names)) == len(labelled.names)
    for label in labelled.labels:
        assert min(label.box) >= 0
        assert max(label.box) <= size_px
        assert reserved is None or not any(overlap(letter, reserved) for letter in label.letters)
    for one, other in itertools.combinations(labelled.labels, 2):
        assert not any(overlap(a, b) for a in one.letters for b in other.letters)
    if reserved:
        hidden = np.asarray(labelled.image)[reserved[1] : reserved[3], reserved[0] : reserved[2]]
        assert (hidden == GREEN).all()


def test_equal_input_gives_equal_bytes_in_every_process(town: StreetMap, frame: Frame, tmp_path: Path):
    town.streets.to_parquet(tmp_path / "streets.parquet")
    code = (
        "import geopandas, sys\n"
        "from PIL import Image\n"
        "from addressvlm.geo.places import LatLon\n"
        "from addressvlm.imagery.labelling import Frame, draw_street_names\n"
        f"image = Image.new('RGB', (300, 300), {GREEN})\n"
        f"labelled = draw_street_names(image, {frame!r}, geopandas.read_parquet(sys.argv[1]), font_px=12)\n"
        "sys.stdout.buffer.write(labelled.image.tobytes())"
    )
    command = [sys.executable, "-c", code, tmp_path / "streets.parquet"]
    there = [
        subprocess.run(
            command, check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    ]
    here = draw_street_names(blank(), frame, town.streets, font_px=12).image.tobytes()
    assert there == [here, here]


def test_mapnik_leaves_the_environment_alone():
    code = "import addressvlm.imagery.canvas, os; assert not {'PROJ_LIB', 'GDAL_DATA'} & set(os.environ)"
    clean = {name: value for name, value in os.environ.items() if name not in ("PROJ_LIB", "GDAL_DATA")}
    subprocess.run([sys.executable, "-c", code], check=True, env=clean)


def test_real_streets_are_named(shared: Path):
    found = read_streets(shared / "stuttgart_streetscapes" / "osm_streets_stuttgart.geojson")
    everywhere = gpd.GeoDataFrame({"name": ["all"]}, geometry=[shapely.box(*found.total_bounds)], crs=4326)
    stuttgart = street_map(found, everywhere)
    frame = Frame(LatLon(48.77, 9.1735), 305, 336)
    for size_px, font_px in ((336, 11), (168, 10), (112, 9)):
        there = Frame(frame.centre, 305, size_px)
        labelled = draw_street_names(blank(size_px), there, stuttgart.streets, font_px=font_px)
        assert "Tübinger Straße" in labelled.names

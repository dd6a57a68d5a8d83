from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from addressvlm.cities.city import City
from addressvlm.dataset.alignment import View, alignment_samples, cross_street, labelled_map
from addressvlm.dataset.describing import Pictures, read_hint
from addressvlm.dataset.options import DatasetOptions
from addressvlm.imagery.satellite import Frame

OPTIONS = DatasetOptions(image_px=224)
WHITE = Image.new("RGB", (64, 48), "white")


class CountingSatellite:
    """White ground, and the frames it was asked for."""

    attribution = ""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def image(self, frame: Frame) -> Image.Image:
        self.frames.append(frame)
        return Image.new("RGB", (frame.size_px, frame.size_px), "white")


@pytest.fixture
def satellite() -> CountingSatellite:
    return CountingSatellite()


@pytest.fixture
def from_above(city: City, satellite: CountingSatellite) -> City:
    """The town seen by a satellite that counts."""
    seen = replace(city)
    vars(seen)["satellite_source"] = satellite
    return seen


def views_at(city: City, location: str, image: Image.Image = WHITE) -> list[View]:
    rows = city.photos[city.photos["location"] == location]
    return [View(row, image, image.size) for _, row in rows.iterrows()]


class Recorder:
    """A describer that keeps what it is shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[Pictures, str]] = []

    def __call__(self, image: Pictures, prompt: str) -> str:
        self.seen.append((image, prompt))
        return f"label {len(self.seen)}"


def samples_at(city: City, location: str, tmp_path: Path, **options: Any) -> tuple[list[Any], Recorder]:
    recorder = Recorder()
    chosen = replace(OPTIONS, **options)
    return list(alignment_samples(city, views_at(city, location), tmp_path, chosen, recorder)), recorder


def test_all_photos_of_a_location_share_one_satellite_picture(
    from_above: City, satellite: CountingSatellite, tmp_path: Path
) -> None:
    samples, _ = samples_at(from_above, "2-3", tmp_path)
    assert [sample.photo for sample in samples] == ["2-3-0", "2-3-1"]
    assert len(satellite.frames) == 1
    assert (satellite.frames[0].side_m, satellite.frames[0].size_px) == (250, 224)
    assert satellite.frames[0].centre.lat == pytest.approx(0.0035)
    assert [path.name for path in (tmp_path / "images" / "maps").iterdir()] == ["2-3.jpg"]


def test_a_sample_is_the_grafted_picture_with_a_plain_question_and_the_describers_label(
    from_above: City, tmp_path: Path
) -> None:
    (first, _), recorder = samples_at(from_above, "2-3", tmp_path)
    assert first.images == ("images/grafted/2-3-0.jpg",)
    assert first.answer == "label 1"
    assert (first.district, first.street) == ("Midtown", "2nd Street")
    assert not any(name in first.question for name in ("Midtown", "2nd Street", "Hint"))
    with Image.open(tmp_path / first.images[0]) as grafted:
        assert grafted.size == (224, 224)
    assert recorder.seen[0][0].size == (224, 224)


@pytest.mark.parametrize("variant", ["graft", "stitch"])
def test_every_picture_says_whom_to_name(city: City, tmp_path: Path, variant: str) -> None:
    samples_at(replace(city, attribution="© Sky View"), "2-3", tmp_path, variant=variant)
    pictures = list(tmp_path.rglob("*.jpg"))
    assert len(pictures) == 3
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.info["comment"].decode() == "© Sky View"


def test_the_hint_holds_address_crossing_scene_and_what_the_map_shows(
    from_above: City, tmp_path: Path
) -> None:
    samples, recorder = samples_at(from_above, "2-0", tmp_path)
    hint = read_hint(recorder.seen[1][1])
    assert (hint.city, hint.district, hint.street) == ("Gridville", "Midtown", "2nd Street")
    assert (hint.cross_street, hint.scene) == ("Elm Avenue", "a wall of colour 1")
    assert hint.map_names == samples[1].map_names
    assert {"2nd Street", "Elm Avenue"} <= set(hint.map_names)


def test_no_name_is_written_where_the_photo_will_lie(from_above: City) -> None:
    # A photo of 4:3 covers 112 x 84 px of the map of 224 px, in the upper right corner.
    labelled = labelled_map(from_above, "2-3", [WHITE.size], OPTIONS)
    free = labelled_map(from_above, "2-3", [WHITE.size], replace(OPTIONS, variant="pair"))
    assert np.asarray(labelled.image)[:84, 112:].min() == 255
    assert np.asarray(free.image)[:84, 112:].min() < 255


def test_the_corner_is_kept_free_for_the_widest_and_the_highest_photo(from_above: City) -> None:
    labelled = labelled_map(from_above, "2-3", [(64, 32), (32, 64)], OPTIONS)
    assert np.asarray(labelled.image)[:112, 112:].min() == 255


def test_a_place_aside_lies_anywhere_on_its_map_but_under_the_photo(
    from_above: City, satellite: CountingSatellite, tmp_path: Path
) -> None:
    for seed in range(40):
        _, recorder = samples_at(from_above, "2-3", tmp_path, control="aside", seed=seed)
    place = from_above.photos[from_above.photos["location"] == "2-3"][["lat", "lon"]].mean()
    spots = np.concatenate([frame.to_pixels([place["lat"]], [place["lon"]]) for frame in satellite.frames], 1)
    x, y = spots
    assert len(satellite.frames) == 40
    assert spots.min() > 10
    assert spots.max() < 214
    assert not ((x > 224 - 112) & (y < 84)).any()
    assert min((x < 112).sum(), (y > 112).sum(), (x > 112).sum()) > 5
    assert not read_hint(recorder.seen[0][1]).centred


def test_a_place_aside_is_where_it_was_when_asked_again(
    from_above: City, satellite: CountingSatellite, tmp_path: Path
) -> None:
    for _ in range(2):
        samples_at(from_above, "2-3", tmp_path, control="aside")
    assert satellite.frames[0] == satellite.frames[1]


def test_without_labels_the_map_is_the_bare_picture(from_above: City, tmp_path: Path) -> None:
    samples, recorder = samples_at(from_above, "2-3", tmp_path, labels=False)
    assert samples[0].map_names == ()
    assert read_hint(recorder.seen[0][1]).map_names == ()
    with Image.open(tmp_path / "images" / "maps" / "2-3.jpg") as bare:
        assert np.asarray(bare).min() == 255


def test_delta_is_the_share_of_the_map_that_the_photo_takes(from_above: City, tmp_path: Path) -> None:
    black = Image.new("RGB", (64, 48))
    options = replace(OPTIONS, delta=0.25, labels=False)
    list(alignment_samples(from_above, views_at(from_above, "1-1", black), tmp_path, options, Recorder()))
    with Image.open(tmp_path / "images" / "grafted" / "1-1-0.jpg") as grafted:
        dark = np.argwhere(np.asarray(grafted.convert("L")) < 128)
    assert dark.min(axis=0).tolist() == [0, 168]
    assert dark.max(axis=0).tolist() == [41, 223]


def test_stitched_is_one_picture_and_pair_is_two(from_above: City, tmp_path: Path) -> None:
    (stitched, _), _ = samples_at(from_above, "2-3", tmp_path, variant="stitch")
    assert stitched.images == ("images/stitched/2-3-0.jpg",)
    (pair, _), recorder = samples_at(from_above, "2-3", tmp_path, variant="pair")
    assert pair.images == ("images/maps/2-3.jpg", "images/photos/2-3-0.jpg")
    assert [picture.size for picture in recorder.seen[0][0]] == [(224, 224), (64, 48)]


def corner(city: City, **changes: Any) -> Any:
    """The row of a photo 11 m from a crossing, with some values changed."""
    row = city.photos.set_index("photo").loc["2-0-0"].copy()
    for name, value in changes.items():
        row[name] = value
    return row


def test_a_street_that_is_met_within_40_m_is_the_cross_street(city: City) -> None:
    assert cross_street(city, corner(city)) == "Elm Avenue"
    assert cross_street(city, corner(city, lat=0.0013)) == "Elm Avenue"  # 33 m from the crossing
    assert cross_street(city, corner(city, lat=0.0015)) is None  # 56 m


def test_a_parallel_street_is_no_cross_street(city: City) -> None:
    assert cross_street(city, corner(city, runner_up="3rd Street", lon=0.0025)) is None


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_without_a_second_street_there_is_no_cross_street(city: City, nothing: Any) -> None:
    assert cross_street(city, corner(city, runner_up=nothing)) is None

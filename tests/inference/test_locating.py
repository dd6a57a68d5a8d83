import json
import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from PIL import Image

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import open_step
from addressvlm.geo.places import LatLon
from addressvlm.inference.calibrating import calibrate_run
from addressvlm.inference.calibration import Calibration
from addressvlm.inference.fusion import normalised
from addressvlm.inference.gazetteer import Gazetteer
from addressvlm.inference.localizer import Localizer
from addressvlm.inference.locating import locate
from addressvlm.model.backbone import Backbone

OAK = LatLon(48.0, 9.005)


@pytest.fixture
def localizer(taught: Backbone, run: Path) -> Localizer:
    return Localizer(taught, run)


def probabilities(located: dict) -> dict[str, float]:
    return {row["name"]: row["probability"] for row in located["streets"]}


def test_all_streets_and_districts_are_ranked(localizer: Localizer, photos: list[Path]) -> None:
    located = locate(localizer, photos[:1])
    told = probabilities(located)
    assert set(told) == {"Oak Street", "Elm Street", "Low Road"}
    assert list(told.values()) == sorted(told.values(), reverse=True)
    assert sum(told.values()) == pytest.approx(1)
    assert located["districts"] == [{"name": "North", "probability": pytest.approx(1)}]
    assert located["answer"] == f"{next(iter(told))}, North"
    assert located["granularity"] == "street"
    assert located["confidence"] == next(iter(told.values()))
    assert json.loads(json.dumps(located)) == located


def test_the_top_is_as_long_as_asked(localizer: Localizer, photos: list[Path]) -> None:
    assert len(locate(localizer, photos[:1], top=2)["streets"]) == 2


def test_beliefs_are_those_of_the_joint_question(localizer: Localizer, photos: list[Path]) -> None:
    (beliefs,) = localizer.distributions([(photos[0],)])
    told = probabilities(locate(localizer, photos[:1]))
    assert sorted(told.values()) == pytest.approx(sorted(2.718281828459045 ** normalised(beliefs["both"])))


def test_below_the_confidence_asked_for_the_district_is_told(
    localizer: Localizer, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = locate(localizer, photos[:1], min_confidence=0.99)
    assert (told["answer"], told["granularity"]) == ("North", "district")
    assert "North (100 %)" in told["in_words"]


def test_a_photo_that_is_none_of_the_city_is_unknown(
    localizer: Localizer, tiny: Backbone, run: Path, photos: list[Path]
) -> None:
    told = locate(Localizer(tiny, run), photos[:1])  # which says nonsense
    assert told["none_of_these"] > 0.99
    assert (told["answer"], told["granularity"]) == ("unknown", "unknown")
    assert "no address of this city" in told["in_words"]


def test_the_likeliest_street_is_told_though_it_runs_through_several_districts(
    localizer: Localizer, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Gazetteer(
        ("North", "Centre", "South"), ("Long Road", "Short Lane"), ((0, 0), (1, 0), (2, 0), (1, 1)), {}, {}
    )
    monkeypatch.setattr(localizer, "names", names)
    beliefs = {"both": np.log([0.25, 0.26, 0.19, 0.3])}
    monkeypatch.setattr(localizer, "distributions", lambda photos: iter([beliefs] * len(photos)))
    located = locate(localizer, photos[:1], min_confidence=0.5)
    assert located["answer"] == "Long Road, Centre"
    assert located["confidence"] == pytest.approx(0.7)
    assert located["in_words"] == "Long Road (70 %), Centre"
    assert locate(localizer, photos[:1], min_confidence=0.71)["answer"] == "unknown"


def test_photos_of_one_place_and_a_fix_are_put_together(localizer: Localizer, photos: list[Path]) -> None:
    alone = probabilities(locate(localizer, photos[:1]))
    several = probabilities(locate(localizer, photos))
    assert several != alone
    near_oak = probabilities(locate(localizer, photos, near=OAK, within_m=30.0))
    assert near_oak["Oak Street"] > several["Oak Street"]


def test_a_fix_takes_the_place_of_how_often_an_address_was_trained(
    localizer: Localizer, photos: list[Path], gazetteer: gpd.GeoDataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, fixed = (probabilities(locate(localizer, photos[:1], near=near)) for near in (None, OAK))
    several = probabilities(locate(localizer, photos))
    often = gazetteer.assign(photos=np.where(gazetteer["name"] == "Oak Street", 99, gazetteer["photos"]))
    monkeypatch.setattr(localizer, "gazetteer", often)
    assert probabilities(locate(localizer, photos[:1])) == alone
    assert probabilities(locate(localizer, photos[:1], near=OAK))["Oak Street"] < fixed["Oak Street"]
    assert probabilities(locate(localizer, photos))["Oak Street"] < several["Oak Street"]  # counted once


def test_a_set_needs_a_calibration_and_one_photo(localizer: Localizer, photos: list[Path]) -> None:
    with pytest.raises(UsageError, match="is not calibrated"):
        locate(localizer, photos[:1], coverage=0.9)
    assert localizer.run is not None
    told = [(probability, 1.0) for probability in (0.01, 0.3, 0.31, 0.5, 0.9)]
    Calibration(2.0, {"street": told}, "").save(localizer.run)
    try:
        located = locate(localizer, photos[:1], coverage=0.8)
        assert located["calibrated"]
        assert located["set"]["coverage"] == 0.8
        assert set(located["set"]["streets"]) == {
            name for name, value in probabilities(located).items() if value >= 0.01
        }
        with pytest.raises(UsageError, match="for one photo alone"):
            locate(localizer, photos, coverage=0.8)
        assert not locate(localizer, photos)["calibrated"]  # single photos were
        assert not locate(localizer, photos[:1], near=OAK)["calibrated"]
    finally:
        (localizer.run / "calibration.json").unlink()


def test_samples_stand_beside_what_was_expected(localizer: Localizer, photos: list[Path]) -> None:
    samples = locate(localizer, photos[:1], samples=200, temperature=1.0)["samples"]
    assert sum(row["count"] for row in samples["streets"]) == 200 * (1 - samples["none_of_these"]["share"])
    assert all(abs(row["share"] - row["expected"]) < 0.15 for row in samples["streets"])
    with pytest.raises(UsageError, match="samples are of one photo"):
        locate(localizer, photos, samples=5)


def test_the_belief_is_written_as_map_and_page(
    localizer: Localizer, photos: list[Path], tmp_path: Path
) -> None:
    located = locate(localizer, photos[:2], near=OAK, out=tmp_path / "maps" / "here")
    streets = gpd.read_file(located["files"]["geojson"])
    assert streets.crs == "EPSG:4326"
    assert streets["probability"].tolist() == pytest.approx(list(probabilities(located).values()))
    with Image.open(located["files"]["map"]) as picture:
        assert picture.format == "PNG"
    page = Path(located["files"]["page"]).read_text("utf-8")
    assert page.count("<img") == 2
    assert "Oak Street: " in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # nothing is loaded from elsewhere


def test_names_cannot_break_the_page(
    localizer: Localizer, photos: list[Path], tmp_path: Path, gazetteer: gpd.GeoDataFrame
) -> None:
    hostile = gazetteer.replace("Oak Street", "<script>alert(1)</script>")
    localizer.gazetteer = hostile
    page = locate(localizer, photos[:1], out=tmp_path)["files"]["page"]
    assert "<script" not in Path(page).read_text("utf-8")


def test_a_folder_that_cannot_be_made_is_named(
    localizer: Localizer, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AddressVLMError, match="cannot make the folder"):
        locate(localizer, photos[:1], out=tmp_path / "file")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_confidence": 1.5}, "min_confidence is 1.5"),
        ({"top": 0}, "top is 0"),
        ({"photos": []}, "no photo"),
    ],
)
def test_impossible_settings_are_errors(
    localizer: Localizer, photos: list[Path], settings: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        locate(localizer, **{"photos": photos[:1], **settings})


def test_a_model_without_run_cannot_be_calibrated(taught: Backbone, tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match="belongs to no run"):
        calibrate_run(Localizer(taught), tmp_path)


def test_a_run_is_calibrated_on_the_data_set_that_it_learned_from(
    localizer: Localizer, tmp_path: Path
) -> None:
    with open_step(tmp_path / "other", "dataset", {}) as step:
        step.finish({})
    with pytest.raises(UsageError, match="was trained on another data set"):
        calibrate_run(localizer, tmp_path / "other")

import hashlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
from PIL import Image

from addressvlm.dataset.answers import is_correct
from addressvlm.dataset.build import build_dataset
from addressvlm.dataset.describing import rule_based_describe
from addressvlm.dataset.options import DatasetOptions
from addressvlm.dataset.tables import read_conversations, read_questions, read_table
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import read_json, sha256, write_json
from addressvlm.imagery.fonts import FONT

SMALL = DatasetOptions(image_px=96)


def build(town: Path, out: Path, **fields: Any) -> dict[str, Any]:
    return build_dataset(town, out, SMALL, workers=1, **fields)


def rewrite_photos(town: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = town / "photos.parquet"
    change(pd.read_parquet(path)).to_parquet(path)


def content(folder: Path) -> dict[str, str]:
    """Digest of every file that is left when the job is done."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def dataset(town: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "dataset"
    build(town, out)
    return out


@pytest.fixture(scope="module")
def summary(town: Path, dataset: Path) -> dict[str, Any]:
    return build(town, dataset)


def test_the_folder_is_what_the_formats_say(dataset: Path) -> None:
    assert sorted(path.name for path in dataset.iterdir() if path.name != ".lock") == [
        *("alignment.parquet", "config.json", "gazetteer.parquet", "images", "locations.parquet"),
        *("summary.json", "test.parquet", "train.parquet", "val.parquet"),
    ]
    pictures = {path.name: len(list(path.iterdir())) for path in (dataset / "images").iterdir()}
    assert pictures == {"photos": 40, "maps": 14, "grafted": 28}


def test_pictures_are_flushed_to_disk(town: Path, tmp_path: Path, flushes: list[None]) -> None:
    build(town, tmp_path / "out")
    assert len(flushes) == 1


def test_the_splits_are_by_location_and_every_photo_is_in_one(dataset: Path) -> None:
    tables = [read_table(dataset, name).to_pandas() for name in ("train", "val", "test")]
    locations = [set(table["location"]) for table in tables]
    assert [len(found) for found in locations] == [14, 4, 2]
    assert len(set.union(*locations)) == 20
    assert sum(table["photo"].nunique() for table in tables) == 40


def test_only_training_photos_are_aligned(dataset: Path) -> None:
    aligned, trained = (
        {(talk.photo, talk.location) for talk in read_conversations(dataset, stage)}
        for stage in ("alignment", "localization")
    )
    assert aligned == trained
    assert len(aligned) == 28


def test_every_picture_that_a_table_names_is_there(dataset: Path) -> None:
    for stage in ("alignment", "localization"):
        assert all(image.is_file() for talk in read_conversations(dataset, stage) for image in talk.images)
    for images in read_questions(dataset, "test")["images"]:
        assert all((dataset / image).is_file() for image in images)


def test_the_true_answer_to_every_question_counts(dataset: Path) -> None:
    questions = pd.concat([read_questions(dataset, split) for split in ("val", "test")])
    for row in questions.itertuples():
        assert is_correct(row.kind, row.level, row.truth, row.truth, options=row.options)
    assert set(questions["kind"]) == {"generation", "judgment", "multiple_choice", "joint"}


def test_the_summary_counts_what_the_tables_hold(dataset: Path, summary: dict[str, Any]) -> None:
    assert summary["alignment"] == {"samples": 28, "maps": 14}
    for split in ("val", "test"):
        questions = read_questions(dataset, split)
        told = summary["splits"][split]
        assert told["questions"] == len(questions) == sum(told["types"].values())
        assert told["photos"] == questions["photo"].nunique()
        dropped = summary["dropped_no_judgments"][split]
        assert told["questions"] == 9 * told["photos"] - sum(dropped.values())
    assert summary["splits"]["train"]["questions"] == 28 * 7
    assert summary["skipped"] == {"photos": {}, "maps": []}


def test_the_summary_holds_the_digest_of_every_table(dataset: Path, summary: dict[str, Any]) -> None:
    digests = content(dataset)
    for name in ("alignment", "train", "val", "test", "gazetteer"):
        assert summary["sha256"][f"{name}.parquet"] == digests[f"{name}.parquet"]


def test_the_gazetteer_has_all_names_of_the_city_with_their_training_photos(dataset: Path) -> None:
    names = gpd.read_parquet(dataset / "gazetteer.parquet")
    train = read_table(dataset, "train").to_pandas()
    assert list(names) == ["level", "name", "spellings", "districts", "photos", "geometry"]
    assert names["level"].tolist() == ["district"] * 3 + ["street"] * 8
    streets = names[names["level"] == "street"].set_index("name")
    assert streets["photos"].to_dict() == {
        name: int((train["street"] == name).sum()) for name in streets.index
    }
    assert streets["districts"].map(list)["2nd Street"] == ["Midtown"]
    assert streets["photos"]["Oak Avenue"] == 0  # on the map alone, across all three districts
    assert streets["districts"].map(list)["Oak Avenue"] == ["Harbour", "Midtown", "Old Town"]
    assert streets["spellings"].map(list)["Oak Avenue"] == ["Oak Avenue"]


def test_photos_are_made_smaller_but_never_larger(own_town: Path, dataset: Path, tmp_path: Path) -> None:
    build(own_town, tmp_path / "out", image_px=40)
    for folder, size in ((tmp_path / "out", (40, 30)), (dataset, (64, 48))):
        with Image.open(folder / "images" / "photos" / "1-0-0.jpg") as photo:
            assert photo.size == size


def test_thinning_changes_training_only(town: Path, dataset: Path, tmp_path: Path) -> None:
    thinned = build(town, tmp_path / "thin", views_share=0.5, locations_share=0.5)
    assert (thinned["splits"]["train"]["photos"], thinned["splits"]["train"]["locations"]) == (7, 7)
    for split in ("val", "test"):
        assert read_questions(tmp_path / "thin", split).equals(read_questions(dataset, split))
    kept = {talk.photo: talk for talk in read_conversations(dataset, "localization")}
    for talk in read_conversations(tmp_path / "thin", "localization"):
        assert talk.turns == kept[talk.photo].turns


def test_questions_of_a_photo_do_not_depend_on_the_other_photos_tested(
    make_town: Callable[..., Path], dataset: Path, tmp_path: Path
) -> None:
    own_town = make_town(tmp_path / "town")
    questions = read_questions(dataset, "test")
    gone = questions["photo"].iloc[0]
    rewrite_photos(own_town, lambda photos: photos[photos["photo"] != gone])
    build(own_town, tmp_path / "fewer")
    left = questions[questions["photo"] != gone].reset_index(drop=True)
    assert read_questions(tmp_path / "fewer", "test").equals(left)


def test_the_city_names_its_levels(make_town: Callable[..., Path], tmp_path: Path) -> None:
    build(make_town(tmp_path / "town", views=1, levels=("chome", "street")), tmp_path / "out")
    texts = " ".join(read_questions(tmp_path / "out", "test")["question"])
    assert "chome" in texts
    assert "district" not in texts


@pytest.mark.parametrize(("variant", "pictures"), [("stitch", "stitched"), ("pair", "maps")])
def test_the_rivals_of_grafting_are_built_too(
    own_town: Path, tmp_path: Path, variant: str, pictures: str
) -> None:
    build(own_town, tmp_path / "out", variant=variant)
    talks = read_conversations(tmp_path / "out", "alignment")
    assert {len(talk.images) for talk in talks} == {2 if variant == "pair" else 1}
    assert talks[0].images[0].parent.name == pictures
    assert not (tmp_path / "out" / "images" / "grafted").exists()


def test_several_processes_give_the_bytes_of_one(town: Path, dataset: Path, tmp_path: Path) -> None:
    build_dataset(town, tmp_path / "two", SMALL, workers=2)
    assert content(tmp_path / "two") == content(dataset)


def test_another_seed_is_another_data_set(own_town: Path, tmp_path: Path) -> None:
    first, second = (build(own_town, tmp_path / f"{seed}", seed=seed)["sha256"] for seed in (0, 1))
    assert first["train.parquet"] != second["train.parquet"]


def test_a_killed_build_ends_with_the_same_bytes(town: Path, dataset: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from addressvlm.dataset.build import build_dataset\n"
        "if __name__ == '__main__':\n"
        f"    build_dataset(Path({str(town)!r}), Path(sys.argv[1]), image_px=96, workers=int(sys.argv[2]))\n"
    )
    script = tmp_path / "job.py"
    script.write_text(code)
    out, dice = tmp_path / "killed", random.Random(7)
    for workers in (1, 2):
        before = len(content(out)) if out.exists() else 0
        job = subprocess.Popen([sys.executable, script, out, str(workers)], stderr=subprocess.DEVNULL)
        while job.poll() is None and (len(content(out)) if out.exists() else 0) <= before + dice.randrange(
            40
        ):
            time.sleep(0.01)
        job.send_signal(signal.SIGKILL)
        job.wait()
    time.sleep(0.5)  # workers notice that their parent is gone
    assert not (out / "summary.json").exists()
    build(town, out)
    assert content(out) == content(dataset)


class Fragile:
    """A describer that is gone after `budget` labels."""

    def __init__(self, budget: int):
        self.budget = budget
        self.written = 0

    def __call__(self, image: Any, prompt: str) -> str:
        if self.written == self.budget:
            raise ConnectionError("the describer is gone")
        self.written += 1
        return rule_based_describe(image, prompt)


def test_a_rerun_writes_only_the_labels_that_are_missing(town: Path, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        build(town, tmp_path / "out", describe=Fragile(15))
    again = Fragile(1000)
    summary = build(town, tmp_path / "out", describe=again)
    assert summary["alignment"]["samples"] == 28
    assert again.written == 14  # seven locations with two photos each were done, the eighth was not


@pytest.mark.parametrize("loss", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_location_whose_pictures_a_power_cut_took_is_made_again(
    town: Path, summary: dict[str, Any], tmp_path: Path, loss: Callable[[Path], object]
) -> None:
    with pytest.raises(ConnectionError):
        build(town, tmp_path / "out", describe=Fragile(15))
    loss(sorted((tmp_path / "out" / "images" / "grafted").iterdir())[0])
    again = Fragile(1000)
    assert build(town, tmp_path / "out", describe=again)["sha256"]["images"] == summary["sha256"]["images"]
    assert again.written == 14 + 2


def refuse(image: Any, prompt: str) -> str:
    raise AddressVLMError("no more disk")


def test_only_missing_imagery_is_forgiven_to_a_place(own_town: Path, tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match="no more disk"):
        build(own_town, tmp_path / "out", describe=refuse)


def test_a_photo_that_cannot_be_opened_is_left_out_and_told(own_town: Path, tmp_path: Path) -> None:
    (own_town / "images" / "2-2-0.jpg").write_bytes(b"no picture")
    (own_town / "images" / "3-3-0.jpg").unlink()
    summary = build(own_town, tmp_path / "out")
    assert summary["skipped"]["photos"] == {
        "2-2-0": "images/2-2-0.jpg is not a JPEG, PNG or WebP image",
        "3-3-0": "images/3-3-0.jpg cannot be opened: No such file or directory",
    }
    assert sum(split["photos"] for split in summary["splits"].values()) == 18
    assert str(tmp_path) not in (tmp_path / "out" / "summary.json").read_text()


def test_a_picture_outside_of_the_city_is_left_out_and_told(own_town: Path, tmp_path: Path) -> None:
    (own_town / "images" / "2-2-0.jpg").replace(tmp_path / "mine.jpg")
    rewrite_photos(own_town, lambda photos: photos.replace({"file": {"images/2-2-0.jpg": "../mine.jpg"}}))
    skipped = build(own_town, tmp_path / "out")["skipped"]["photos"]
    assert skipped["2-2-0"].startswith("'../mine.jpg' leads out of the folder that names it")


def test_streets_that_the_font_has_no_letters_for_are_counted_and_told(
    own_town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    streets = gpd.read_parquet(own_town / "streets.parquet")
    streets.replace({"name": {"Oak Avenue": "大通り", "Pine Avenue": "𝖯𝗂𝗇𝖾"}}).to_parquet(
        own_town / "streets.parquet"
    )
    assert build(own_town, tmp_path / "usual")["unwritten_streets"] == 2
    assert "2 of 8 street names, such as '大通り', will stand on no map" in capsys.readouterr().err
    font = FONT.with_name("DejaVuSans.ttf")
    summary = build(own_town, tmp_path / "own", name_style="along", font=str(font))
    assert summary["unwritten_streets"] == 1
    config = read_json(tmp_path / "own" / "config.json")
    assert config["font"] == sha256(font)
    written = {
        name for some in read_table(tmp_path / "own", "alignment")["map_names"].to_pylist() for name in some
    }
    assert "𝖯𝗂𝗇𝖾" in written
    assert "大通り" not in written


def test_a_font_that_is_not_there_or_none_is_told(own_town: Path, tmp_path: Path) -> None:
    (tmp_path / "no.ttf").write_text("no font")
    for name, words in (("gone.ttf", "font: there is no file"), ("no.ttf", "is not a font file")):
        with pytest.raises(UsageError, match=words):
            build(own_town, tmp_path / "out", name_style="along", font=str(tmp_path / name))
    assert not (tmp_path / "out").exists()


def with_tiles(town: Path) -> None:
    path = town / "city.toml"
    path.write_text(path.read_text().replace('"streets"', '"tiles/{z}/{x}/{y}.png"'))


def test_a_place_without_imagery_has_no_map_but_is_asked_about(own_town: Path, tmp_path: Path) -> None:
    # The town is two tiles of zoom 17 wide and high; only the south-western one is there.
    with_tiles(own_town)
    tile = own_town / "tiles" / "17" / "65536" / "65535.png"
    tile.parent.mkdir(parents=True)
    Image.new("RGB", (256, 256), "green").save(tile)
    summary = build(own_town, tmp_path / "out")
    assert 0 < summary["alignment"]["maps"] < 14
    assert len(summary["skipped"]["maps"]) == 14 - summary["alignment"]["maps"]
    assert summary["splits"]["train"]["photos"] == 14
    assert str(tmp_path) not in (tmp_path / "out" / "summary.json").read_text()


def test_a_city_without_any_imagery_is_an_error(own_town: Path, tmp_path: Path) -> None:
    with_tiles(own_town)
    tile = own_town / "tiles" / "17" / "0" / "0.png"
    tile.parent.mkdir(parents=True)
    Image.new("RGB", (256, 256), "green").save(tile)
    with pytest.raises(AddressVLMError, match="no training photo of Gridville could be aligned with a map"):
        build(own_town, tmp_path / "out")


def test_a_city_of_one_street_has_nothing_to_tell_apart(own_town: Path, tmp_path: Path) -> None:
    rewrite_photos(own_town, lambda photos: photos[photos["street"] == "2nd Street"])
    with pytest.raises(AddressVLMError, match=r"lie on one street only \(2nd Street\)"):
        build(own_town, tmp_path / "out")


def test_a_city_of_two_locations_cannot_be_split(own_town: Path, tmp_path: Path) -> None:
    rewrite_photos(own_town, lambda photos: photos[photos["location"].isin(["1-1", "2-2"])])
    with pytest.raises(AddressVLMError, match="2 locations, too few for 3 splits"):
        build(own_town, tmp_path / "out")


@pytest.mark.parametrize("name", ["../../up", "a b", ""])
def test_an_id_that_could_leave_the_folder_is_refused(own_town: Path, tmp_path: Path, name: str) -> None:
    rewrite_photos(own_town, lambda photos: photos.replace({"photo": {"1-0-0": name}}))
    with pytest.raises(AddressVLMError, match="is no id"):
        build(own_town, tmp_path / "out")


def test_a_folder_made_with_other_options_is_not_touched(town: Path, dataset: Path) -> None:
    before = content(dataset)
    with pytest.raises(UsageError, match="delta: 0.5 there, 0.3 now"):
        build(town, dataset, delta=0.3)
    assert content(dataset) == before


def test_a_changed_city_is_not_mixed_into_its_old_data_set(own_town: Path, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        build(own_town, tmp_path / "out", describe=Fragile(0))
    write_json(own_town / "summary.json", {"photos": 0})
    with pytest.raises(UsageError, match="fingerprint"):
        build(own_town, tmp_path / "out")


def test_an_incomplete_city_is_refused(own_town: Path, tmp_path: Path) -> None:
    (own_town / "summary.json").unlink()
    with pytest.raises(AddressVLMError, match="is not complete"):
        build(own_town, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_photos_too_near_to_another_split_are_left_out_and_counted(own_town: Path, tmp_path: Path) -> None:
    # Of each street the first two locations lie 44 m apart, all others 111 m.
    def given(photos: pd.DataFrame) -> pd.DataFrame:
        block = photos["location"].str[-1]
        return photos.assign(
            split=block.map({"0": "train", "1": "test", "2": "val", "3": "train", "4": "train"})
        )

    rewrite_photos(own_town, given)
    summary = build(own_town, tmp_path / "out", split_by="given", apart_m=50.0)
    assert summary["too_near_to_another_split"] == {"train": 4, "val": 0, "test": 0}
    assert {split: part["photos"] for split, part in summary["splits"].items()} == {
        "train": 8,
        "val": 4,
        "test": 4,
    }
    assert sorted(set(read_table(tmp_path / "out", "test")["location"].to_pylist())) == [
        "1-1",
        "2-1",
        "3-1",
        "4-1",
    ]

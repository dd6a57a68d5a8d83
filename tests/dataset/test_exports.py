import base64
import csv
import io
import json
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import geopandas as gpd
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import ExifTags, Image

from addressvlm.cli.main import exit_code
from addressvlm.dataset.build import build_dataset
from addressvlm.dataset.exporting import FORMATS, export_dataset
from addressvlm.dataset.exports import items as items_module
from addressvlm.dataset.exports.naming import slug
from addressvlm.dataset.exports.pictures import clean_picture, holds_only_pixels
from addressvlm.dataset.exports.vlmevalkit import CHOICE_COLUMNS
from addressvlm.dataset.tables import read_table
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.evaluation.metrics import METRICS, score
from addressvlm.folders import read_json

# What streets of the town are called here: markup, other scripts, what breaks tables.
HOSTILE = {
    "1st Street": "</script><script>alert(1)</script>",
    "2nd Street": "明治通り",
    "3rd Street": 'Tab\tand "quote"\nStreet',
    "4th Street": "شارع الملك, 5",
}
RIGHTS = "(c) nobody"  # the attribution of the town
PARTS = ("alignment", "train", "val", "test")

Turns = list[tuple[str, str]]
# What comes back of a part: by photo its questions with answers, and its pictures.
Back = dict[str, tuple[Turns, list[bytes]]]


@pytest.fixture(scope="module")
def hostile_town(make_town: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    town = make_town(tmp_path_factory.mktemp("hostile") / "town")
    photos = pd.read_parquet(town / "photos.parquet")
    photos.replace({"street": HOSTILE}).to_parquet(town / "photos.parquet")
    streets = gpd.read_parquet(town / "streets.parquet")
    streets.assign(name=streets["name"].replace(HOSTILE)).to_parquet(town / "streets.parquet")
    return town


@pytest.fixture(scope="module")
def dataset(hostile_town: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hostile") / "data"
    build_dataset(hostile_town, out, image_px=96, workers=1)
    return out


@pytest.fixture(scope="module")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of every format."""
    folders = {name: tmp_path_factory.mktemp("exports") / name for name in FORMATS}
    for name, folder in folders.items():
        export_dataset(dataset, folder, name)
    return folders


@pytest.fixture
def own_dataset(dataset: Path, tmp_path: Path) -> Path:
    """A data set that a test may change."""
    return Path(shutil.copytree(dataset, tmp_path / "data"))


def expected(dataset: Path, part: str) -> Back:
    """The part as the tables of the data set have it."""
    back: Back = {}
    for row in read_table(dataset, part).to_pylist():
        asked = row.get("turns") or [row]
        turns, _ = back.setdefault(row["photo"], ([], [(dataset / i).read_bytes() for i in row["images"]]))
        turns += [(turn["question"], turn["truth"] if "truth" in turn else turn["answer"]) for turn in asked]
    return back


def of_conversation(turns: list[dict[str, str]]) -> Turns:
    assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
    texts = [turn["value"] for turn in turns]
    return list(zip([texts[0].replace("<image>\n", ""), *texts[2::2]], texts[1::2], strict=True))


def read_llava(folder: Path, part: str) -> Back:
    if part in ("alignment", "train"):
        rows = json.loads((folder / f"{part}.json").read_text("utf-8"))
        assert all(row["conversations"][0]["value"].count("<image>\n") == 1 for row in rows)
        return {
            row["id"]: (of_conversation(row["conversations"]), [(folder / row["image"]).read_bytes()])
            for row in rows
        }
    back: Back = {}
    for line in (folder / f"{part}.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        photo = row["question_id"].rpartition("-")[0]
        back.setdefault(photo, ([], [(folder / row["image"]).read_bytes()]))[0].append(
            (row["text"], row["answer"])
        )
    return back


def read_sharegpt(folder: Path, part: str) -> Back:
    described = json.loads((folder / "dataset_info.json").read_text("utf-8"))[f"gridville_{part}"]
    assert described["formatting"] == "sharegpt"
    messages, images = described["columns"]["messages"], described["columns"]["images"]
    rows = json.loads((folder / described["file_name"]).read_text("utf-8"))
    return {
        Path(row[images][0]).stem: (
            of_conversation(row[messages]),
            [(folder / image).read_bytes() for image in row[images]],
        )
        for row in rows
    }


def hub_folder(part: str) -> tuple[str, str]:
    split = {"val": "validation", "test": "test"}.get(part, "train")
    return "alignment" if part == "alignment" else "localization", split


def of_turns(turns: list[dict[str, Any]]) -> Turns:
    return [(turn["question"], turn["answer"]) for turn in turns]


def read_imagefolder(folder: Path, part: str) -> Back:
    split = folder / Path(*hub_folder(part))
    rows = map(json.loads, (split / "metadata.jsonl").read_text("utf-8").split("\n")[:-1])
    return {row["photo"]: (of_turns(row["turns"]), [(split / row["file_name"]).read_bytes()]) for row in rows}


def read_parquet(folder: Path, part: str) -> Back:
    config, split = hub_folder(part)
    rows = pq.read_table(folder / config / f"{split}-00000.parquet").to_pylist()
    return {row["photo"]: (of_turns(row["turns"]), [row["image"]["bytes"]]) for row in rows}


def read_webdataset(folder: Path, part: str) -> Back:
    """As the format's documentation says: files in a row with one name up to its first dot are a sample."""
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(folder / f"{part}-000000.tar") as tar:
        for member in tar:
            key, _, kind = member.name.partition(".")
            file = tar.extractfile(member)
            assert file is not None
            samples.setdefault(key, {})[kind] = file.read()
    return {
        key: (of_turns(json.loads(sample["json"])["turns"]), [sample["jpg"]])
        for key, sample in samples.items()
    }


def read_lmms_eval(folder: Path, part: str) -> Back:
    back: Back = {}
    for line in (folder / f"{part}.jsonl").read_text("utf-8").split("\n")[:-1]:
        row = json.loads(line)
        pictures = [(folder / image).read_bytes() for image in row["images"]]
        back.setdefault(row["photo"], ([], pictures))[0].append((row["question"], row["truth"]))
    return back


def read_tsv(path: Path) -> list[dict[str, Any]]:
    """The rows as VLMEvalKit reads them: a short `image` is the index of the row that has the picture."""
    rows = pd.read_csv(path, sep="\t").to_dict("records")
    pictures = {row["index"]: row["image"] for row in rows}
    for row in rows:
        image = row["image"] if len(row["image"]) > 64 else pictures[int(row["image"])]
        row["picture"] = base64.b64decode(image)
    return [{str(name): value for name, value in row.items()} for row in rows]


def read_vlmevalkit(folder: Path, part: str) -> Back:
    back: Back = {}
    for row in read_tsv(folder / f"addressvlm_gridville_{part}_open.tsv"):
        back.setdefault(row["photo"], ([], [row["picture"]]))[0].append((row["question"], row["answer"]))
    for row in read_tsv(folder / f"addressvlm_gridville_{part}_choice.tsv"):
        back[row["photo"]][0].append((row["asked"], row["answer"]))
    return back


READERS = {
    "llava": read_llava,
    "sharegpt": read_sharegpt,
    "imagefolder": read_imagefolder,
    "parquet": read_parquet,
    "webdataset": read_webdataset,
    "lmms-eval": read_lmms_eval,
    "vlmevalkit": read_vlmevalkit,
}


def in_any_order(back: Back) -> dict[str, tuple[Turns, list[bytes]]]:
    return {photo: (sorted(turns), pictures) for photo, (turns, pictures) in back.items()}


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_read_back_is_what_the_data_set_holds(
    dataset: Path, exported: dict[str, Path], name: str
) -> None:
    parts = ("val", "test") if name in ("lmms-eval", "vlmevalkit") else PARTS
    for part in parts:
        found, wanted = READERS[name](exported[name], part), expected(dataset, part)
        assert list(found) == list(wanted)
        if name == "vlmevalkit":  # two tables
            found, wanted = in_any_order(found), in_any_order(wanted)
        assert found == wanted


def test_pictures_are_flushed_to_disk(dataset: Path, tmp_path: Path, flushes: list[None]) -> None:
    export_dataset(dataset, tmp_path / "out", "llava")
    assert len(flushes) == 1


def test_the_summary_counts_what_was_written(dataset: Path, exported: dict[str, Path]) -> None:
    about = read_json(dataset / "summary.json")
    summary = read_json(exported["llava"] / "summary.json")
    assert summary["parts"] == {
        "alignment": {"photos": 28, "questions": 28},
        **{
            part: {"photos": split["photos"], "questions": split["questions"]}
            for part, split in about["splits"].items()
        },
    }
    assert summary["skipped"] == {}
    pictures = {
        image for part in PARTS for row in read_table(dataset, part).to_pylist() for image in row["images"]
    }
    assert len(list((exported["llava"] / "images").rglob("*.jpg"))) == len(pictures) == 68


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


class Interrupted:
    """Reads pictures until its budget is spent."""

    def __init__(self, budget: int):
        self.budget = budget

    def __call__(self, path: Path, rights: str) -> bytes:
        self.budget -= 1
        if self.budget < 0:
            raise KeyboardInterrupt
        return clean_picture(path, rights)


@pytest.mark.parametrize("name", FORMATS)
def test_a_stopped_export_ends_with_the_same_bytes(
    dataset: Path, exported: dict[str, Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    for budget in (3, 9):
        monkeypatch.setattr(items_module, "clean_picture", Interrupted(budget))
        with pytest.raises(KeyboardInterrupt):
            export_dataset(dataset, out, name)
        assert not (out / "summary.json").exists()
    monkeypatch.undo()
    export_dataset(dataset, out, name)
    assert contents(out) == contents(exported[name])


def test_hugging_face_is_told_the_types_and_the_files(exported: dict[str, Path]) -> None:
    schema = pq.read_schema(exported["parquet"] / "localization" / "test-00000.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["image"] == {"_type": "Image"}
    for name in ("parquet", "imagefolder"):
        for config in header(exported[name])["configs"]:
            for files in config["data_files"]:
                assert list(exported[name].glob(files["path"].replace("**", "*")))


def header(folder: Path) -> Any:
    _, front, _ = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(front)


class TaskLoader(yaml.SafeLoader):
    """Reads a task as lmms-eval does: `!function utils.NAME` is a name in the `utils.py` beside it."""


def task_in(folder: Path, name: str) -> dict[str, Any]:
    utils = ModuleType("utils")
    utils.__file__ = str(folder / "utils.py")
    exec(compile((folder / "utils.py").read_text("utf-8"), utils.__file__, "exec"), vars(utils))
    TaskLoader.add_constructor(
        "!function", lambda loader, node: getattr(utils, str(node.value).removeprefix("utils."))
    )
    task: dict[str, Any] = yaml.load((folder / f"{name}.yaml").read_text("utf-8"), TaskLoader)
    return task


@pytest.mark.parametrize(
    ("split", "name"), [("test", "addressvlm_gridville"), ("val", "addressvlm_gridville_val")]
)
def test_the_lmms_eval_task_scores_as_we_do(exported: dict[str, Path], split: str, name: str) -> None:
    task = task_in(exported["lmms-eval"], name)
    docs = [
        json.loads(line)
        for line in Path(task["dataset_kwargs"]["data_files"]["test"]).read_text("utf-8").split("\n")[:-1]
    ]
    assert Path(task["dataset_kwargs"]["data_files"]["test"]).name == f"{split}.jsonl"
    # Right, right in other words, and wrong answers in turn.
    answers = [
        (doc["truth"], f" {doc['truth'].lower()}. ", "no idea")[number % 3] for number, doc in enumerate(docs)
    ]
    collected: dict[str, list[float]] = {}
    for doc, answer in zip(docs, answers, strict=True):
        for metric, value in task["process_results"](doc, [answer]).items():
            collected.setdefault(metric, []).append(value)
    aggregations = {entry["metric"]: entry["aggregation"] for entry in task["metric_list"]}
    assert tuple(aggregations) == METRICS
    figures = {metric: aggregations[metric](collected[metric]) for metric in METRICS}
    assert figures == pytest.approx(score(pd.DataFrame(docs).assign(answer=answers)).metrics, abs=1e-6)
    assert 0 < figures["mean"] < 100
    (picture,) = task["doc_to_visual"](docs[0])
    assert picture.mode == "RGB"


def test_the_task_needs_nothing_of_ours(exported: dict[str, Path]) -> None:
    source = (exported["lmms-eval"] / "utils.py").read_text("utf-8")
    assert "import addressvlm" not in source
    assert "from addressvlm" not in source


def test_multiple_choices_stand_in_columns(dataset: Path, exported: dict[str, Path]) -> None:
    rows = read_tsv(exported["vlmevalkit"] / "addressvlm_gridville_test_choice.tsv")
    asked = read_table(dataset, "test").to_pandas()
    asked = asked[asked["kind"] == "multiple_choice"]
    assert list(rows[0])[:-1] == list(CHOICE_COLUMNS)
    for row, question in zip(rows, asked.to_dict("records"), strict=True):
        options = [row[letter] for letter in "ABCD" if isinstance(row[letter], str)]
        assert options == list(question["options"])
        assert row["answer"] == question["truth"]
        assert not any(option in row["question"] for option in options)
        assert question["question"].startswith(row["question"])


def test_a_pair_of_pictures_is_exported_as_two(town: Path, tmp_path: Path) -> None:
    build_dataset(town, tmp_path / "data", image_px=96, variant="pair", workers=1)
    for name in ("llava", "imagefolder", "parquet", "webdataset"):
        export_dataset(tmp_path / "data", tmp_path / name, name)
    wanted = expected(tmp_path / "data", "alignment")["1-1-0"][1]
    assert len(wanted) == 2
    row = next(r for r in json.loads((tmp_path / "llava/alignment.json").read_text()) if r["id"] == "1-1-0")
    assert row["conversations"][0]["value"].startswith("<image>\n<image>\n")
    assert [(tmp_path / "llava" / image).read_bytes() for image in row["image"]] == wanted
    folder = tmp_path / "imagefolder/alignment/train"
    lines = map(json.loads, (folder / "metadata.jsonl").read_text().splitlines())
    names = next(line["file_names"] for line in lines if line["photo"] == "1-1-0")
    assert [(folder / name).read_bytes() for name in names] == wanted
    rows = pq.read_table(tmp_path / "parquet/alignment/train-00000.parquet").to_pylist()
    pictures = next(row["images"] for row in rows if row["photo"] == "1-1-0")
    assert [picture["bytes"] for picture in pictures] == wanted
    with tarfile.open(tmp_path / "webdataset/alignment-000000.tar") as tar:
        found = [tar.extractfile(f"1-1-0.{kind}") for kind in ("map.jpg", "jpg")]
        assert [file.read() for file in found if file] == wanted


# --- what pictures bring along


def laden(path: Path) -> None:
    """A photo with GPS, a comment, a thumbnail's worth of maker's notes, and words behind its end."""
    exif = Image.Exif()
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLatitude] = "N", (48.0, 46.0, 30.0)
    exif[ExifTags.Base.ImageDescription] = "SECRET"
    Image.new("RGB", (64, 48), "teal").save(path, "JPEG", exif=exif, comment=b"SECRET", quality=90)
    with path.open("ab") as file:
        file.write(b"SECRET")


def every_byte(folder: Path) -> Iterator[bytes]:
    """The files of an export, and what is packed in them."""
    for path in folder.rglob("*"):
        if path.suffix == ".parquet":
            for row in pq.read_table(path).to_pylist():
                yield row["image"]["bytes"]
        elif path.suffix == ".tsv":
            for row in csv.DictReader(io.StringIO(path.read_text("utf-8"), newline=""), dialect="excel-tab"):
                yield base64.b64decode(row["image"]) if len(row["image"]) > 64 else b""
        if path.is_file():
            yield path.read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_exported_bytes_hold_no_exif_and_nothing_else_of_a_camera(
    own_dataset: Path, tmp_path: Path, name: str
) -> None:
    csv.field_size_limit(sys.maxsize)
    photo = read_table(own_dataset, "test")["images"][0].as_py()[0]
    laden(own_dataset / photo)
    assert b"Exif" in (own_dataset / photo).read_bytes()
    export_dataset(own_dataset, tmp_path / "out", name)
    for content in every_byte(tmp_path / "out"):
        assert b"Exif\0" not in content
        assert b"SECRET" not in content


def test_a_clean_picture_is_copied_byte_for_byte(dataset: Path) -> None:
    path = next((dataset / "images" / "grafted").iterdir())
    assert clean_picture(path, RIGHTS) == path.read_bytes()
    with Image.open(io.BytesIO(clean_picture(path, "(c) another"))) as image:
        assert image.info["comment"] == b"(c) another"
    with Image.open(io.BytesIO(clean_picture(path))) as image:
        assert "comment" not in image.info


def test_a_laden_picture_keeps_its_pixels_and_nothing_else(tmp_path: Path) -> None:
    laden(tmp_path / "a.jpg")
    content = clean_picture(tmp_path / "a.jpg")
    assert holds_only_pixels(content)
    image = Image.open(io.BytesIO(content))
    assert image.size == (64, 48)
    assert not image.getexif()
    assert image.getpixel((30, 20)) == pytest.approx((0, 128, 128), abs=3)


@pytest.mark.parametrize("ending", [b"", b"\xff", b"\xff\xd9", b"\xff\xe1\x00\x04ab"])
def test_a_picture_that_only_begins_like_one_is_not_called_clean(dataset: Path, ending: bytes) -> None:
    path = next((dataset / "images" / "photos").iterdir())
    content = path.read_bytes()
    assert holds_only_pixels(content, RIGHTS)
    assert not holds_only_pixels(content[: len(content) // 2] + ending, RIGHTS)
    assert not holds_only_pixels(content[:2] + b"\xff\xe1\x00\x08Exif\0\0" + content[2:], RIGHTS)
    assert not holds_only_pixels(content + b"\0", RIGHTS)
    assert not holds_only_pixels(content)
    assert not holds_only_pixels(content, "(c) another")


# --- the card


@pytest.mark.parametrize("name", FORMATS)
def test_the_card_tells_rights_sizes_and_how_to_read_it(exported: dict[str, Path], name: str) -> None:
    card = (exported[name] / "README.md").read_text("utf-8")
    assert header(exported[name])["license"] == "cc0-1.0"
    for words in ("(c) nobody", "CC0-1.0", "## Privacy", "## Limits", "| test | 4 |"):
        assert words in card
    assert f"--format {name}" in card


def test_the_card_tells_whose_addresses_and_splits_they_are(
    make_town: Callable[..., Path], exported: dict[str, Path], tmp_path: Path
) -> None:
    card = (exported["llava"] / "README.md").read_text("utf-8")
    assert "from vector maps: the nearest named line" in card
    assert "dealt out by location at 0.7:0.2:0.1 with seed 0" in card
    town = make_town(tmp_path / "town")
    photos = pd.read_parquet(town / "photos.parquet")
    splits = {"1-0": "val", "1-1": "test"}
    photos.assign(split=photos["location"].map(splits).fillna("train")).to_parquet(town / "photos.parquet")
    labels = {"photos": 40, "district_as_geocoded": 39, "street_as_geocoded": 31}
    (town / "summary.json").write_text(json.dumps(read_json(town / "summary.json") | {"labels": labels}))
    summary = build_dataset(town, tmp_path / "data", image_px=96, split_by="given", workers=1)
    assert summary["annotations"] == labels
    export_dataset(tmp_path / "data", tmp_path / "out", "llava")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "are those of the annotations that came with the photos" in card
    assert "31 have the street and 39 the district" in card
    assert "the splits are those that came with the photos" in card
    for words in ("seed", "0.7:0.2:0.1", "those of the nearest named line", "from vector maps"):
        assert words not in card


def test_what_a_user_wrote_cannot_be_markup_in_the_card(own_dataset: Path, tmp_path: Path) -> None:
    path = own_dataset / "summary.json"
    about = read_json(path) | {
        "city": "<script>alert(1)</script>\n---\n# | `x`",
        "licence": 'mine": [',
        "attribution": "",
    }
    path.write_text(json.dumps(about))
    export_dataset(own_dataset, tmp_path / "out", "parquet")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "<script" not in card.split("---\n", 2)[2]
    assert header(tmp_path / "out")["pretty_name"].endswith(about["city"])
    assert header(tmp_path / "out")["license_name"] == about["licence"]
    assert "none was given by whoever built the city" in card


@pytest.mark.parametrize(
    ("name", "short"),
    [("San Francisco", "san_francisco"), ("Zürich", "zurich"), ("../../x", "x"), ("mini:3", "mini_3")],
)
def test_a_city_has_a_short_name_for_files(name: str, short: str) -> None:
    assert slug(name) == short


def test_cities_in_other_scripts_have_names_of_their_own() -> None:
    assert slug("東京").startswith("city_")
    assert slug("東京") != slug("大阪")


# --- bad input


def test_an_unknown_format_names_those_there_are(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no format 'coco'; there are llava, sharegpt, imagefolder, parquet"):
        export_dataset(dataset, tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_data_set_is_refused(hostile_town: Path, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    for folder, words in (
        (tmp_path / "some", "was not made by addressvlm"),
        (hostile_town, "is a city folder"),
    ):
        with pytest.raises(UsageError, match=words):
            export_dataset(folder, tmp_path / "out", "llava")
    with pytest.raises(AddressVLMError, match="there is no folder"):
        export_dataset(tmp_path / "nowhere", tmp_path / "out", "llava")


def test_an_incomplete_data_set_is_refused(own_dataset: Path, tmp_path: Path) -> None:
    (own_dataset / "summary.json").unlink()
    with pytest.raises(AddressVLMError, match="is not complete"):
        export_dataset(own_dataset, tmp_path / "out", "llava")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_other_things_is_not_touched(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other things"):
        export_dataset(dataset, tmp_path, "llava")
    with pytest.raises(UsageError, match="lies in the data set"):
        export_dataset(dataset, dataset / "export", "llava")


@pytest.mark.parametrize("name", FORMATS)
def test_photos_without_a_picture_are_left_out_and_told(own_dataset: Path, tmp_path: Path, name: str) -> None:
    first, second = sorted(set(read_table(own_dataset, "test")["photo"].to_pylist()))[:2]
    (own_dataset / "images" / "photos" / f"{first}.jpg").unlink()
    (own_dataset / "images" / "photos" / f"{second}.jpg").write_bytes(b"\xff\xd8 no picture")
    summary = export_dataset(own_dataset, tmp_path / "out", name)
    assert summary["parts"]["test"]["photos"] == 2
    assert set(summary["skipped"]["test"]) == {first, second}
    assert summary["skipped"]["test"][first] == (
        f"images/photos/{first}.jpg cannot be opened: No such file or directory"
    )
    assert first not in READERS[name](tmp_path / "out", "test")
    assert "2 of test" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_a_data_set_without_any_picture_is_an_error(own_dataset: Path, tmp_path: Path) -> None:
    shutil.rmtree(own_dataset / "images")
    with pytest.raises(AddressVLMError, match="nothing of .* could be exported: images/"):
        export_dataset(own_dataset, tmp_path / "out", "parquet")


def test_a_name_that_a_format_uses_for_itself_is_left_out(own_dataset: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(own_dataset / "train.parquet")
    table.at[0, "turns"][0]["answer"] = "Corner of <image>"
    table.to_parquet(own_dataset / "train.parquet")
    summary = export_dataset(own_dataset, tmp_path / "llava", "llava")
    assert list(summary["skipped"]["train"]) == [table.at[0, "photo"]]
    assert export_dataset(own_dataset, tmp_path / "parquet", "parquet")["skipped"] == {}


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [("photo", "../../up", "is no id"), ("images", ["../../up.jpg"], "does not lie in")],
)
def test_tables_cannot_lead_out_of_the_folder(
    own_dataset: Path, tmp_path: Path, column: str, value: Any, words: str
) -> None:
    table = pd.read_parquet(own_dataset / "train.parquet")
    table.at[0, column] = value
    table.to_parquet(own_dataset / "train.parquet")
    with pytest.raises(AddressVLMError, match=words):
        export_dataset(own_dataset, tmp_path / "out", "imagefolder")


def test_the_command_dispatches_on_what_the_folder_is(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        exit_code(["export", str(dataset), "--format", "llava", "--out", str(tmp_path / "a"), "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["parts"]["train"]["photos"] == 28
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text('{"step": "run"}')
    assert exit_code(["export", str(run), "--format", "llava", "--out", str(tmp_path / "b")]) == 2
    assert "no format 'llava' of a run" in capsys.readouterr().err
    assert exit_code(["export", str(dataset), "--format", "x", "--out", str(tmp_path / "b")]) == 2
    assert exit_code(["export", str(tmp_path / "no"), "--format", "llava", "--out", str(tmp_path / "b")]) == 3


def test_a_data_set_made_before_an_option_came_is_exported(own_dataset: Path, tmp_path: Path) -> None:
    config = read_json(own_dataset / "config.json")
    del config["control"], config["describe"]
    (own_dataset / "config.json").write_text(json.dumps(config))
    assert export_dataset(own_dataset, tmp_path / "out", "parquet")["files"] == 5


def test_the_help_and_the_page_name_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["export", "--help"]) == 0
    told = capsys.readouterr().out
    page = (Path(__file__).parents[2] / "docs" / "exports.md").read_text("utf-8")
    for name in FORMATS:
        assert name in told
        assert f"| `{name}` |" in page

import gzip
import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import pytest
from smalltown import picture, write_toml

from addressvlm.cities.annotations import address_in, annotated, photo_key
from addressvlm.cities.build import build_city
from addressvlm.cities.photos import Offer
from addressvlm.errors import AddressVLMError, UsageError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "vpr_name_lists"
VERBOSE = (
    "This picture is located in West, specifically on a section of First Street that lies between A and B."
)
CANONICAL = "First Street, West (A Street, West and B Street, East)"
NOTE = ["a street view of a tree", VERBOSE, CANONICAL]


def mat(**matrices: np.ndarray) -> bytes:
    """A MATLAB 5 file as MATLAB writes it: matrices of doubles, compressed."""

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)

    content = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49)
    for name, matrix in matrices.items():
        flags = element(6, struct.pack("<II", 6, 0))
        size = element(5, struct.pack("<ii", *matrix.shape))
        values = element(9, matrix.astype("<f8").tobytes("F"))
        packed = zlib.compress(element(14, flags + size + element(1, name.encode()) + values))
        content += struct.pack("<II", 15, len(packed)) + packed
    return content


def utm(lat: float, lon: float) -> tuple[float, float]:
    east, north = pyproj.Transformer.from_crs(4326, 32617, always_xy=True).transform(lon, lat)
    return float(east), float(north)


@pytest.mark.parametrize(
    ("note", "address"),
    [
        (NOTE, ("West", "First Street")),
        (NOTE[::-1], ("West", "First Street")),
        (NOTE[:2], ("West", "First Street")),
        (CANONICAL, ("West", "First Street")),
        (
            ["", "P. J. McArdle Roadway, South Side Slopes (P. J. Mc)"],
            ("South Side Slopes", "P. J. McArdle Roadway"),
        ),
        (["11th Street, Strip District (Liberty Avenue, Downtown)"], ("Strip District", "11th Street")),
        (["a street view of a tree, with a car (red)"], ("with a car", "a street view of a tree")),
        (["a street view of a tree"], None),
        ([], None),
        ({"address": CANONICAL}, None),
        ([None, 3, [CANONICAL]], None),
    ],
)
def test_the_address_of_an_annotation(note: Any, address: tuple[str, str] | None) -> None:
    assert address_in(note) == address


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("000/000829_pitch1_yaw1.jpg", "000/000829_pitch1_yaw1.jpg"),
        ("data/pitts250k/images/010/010585_pitch2_yaw12.jpg", "010/010585_pitch2_yaw12.jpg"),
        ("queries_real/000/000546_pitch1_yaw1.jpg", "queries_real/000/000546_pitch1_yaw1.jpg"),
        ("pitts/queries_real/000546_pitch1_yaw1.jpg", "queries_real/000/000546_pitch1_yaw1.jpg"),
        (
            "images/test/database/@0585230.45@4477142.26@17@T@040.44056@-079.99503@000116@35@@@@@@pitch2_yaw12@.jpg",
            "000/000116_pitch2_yaw12.jpg",
        ),
        (
            "images/test/queries/@0585230.45@4477142.26@17@T@040.44056@-079.99503@004116@35@@@@@@pitch2_yaw12@.jpg",
            "queries_real/004/004116_pitch2_yaw12.jpg",
        ),
        ("train/@1@2@10@S@@@pano@@@@@@@@.jpg", "@1@2@10@S@@@pano@@@@@@@@.jpg"),
        ("sub/a.jpg", "sub/a.jpg"),
    ],
)
def test_a_photo_is_known_by_its_key(name: str, key: str) -> None:
    assert photo_key(name) == key


def annotate(folder: Path, offers: list[Offer], **files: Mapping[str, Any]) -> list[Offer]:
    paths = {split: folder / f"{split}.json" for split in files}
    for split, notes in files.items():
        paths[split].write_text(json.dumps(notes))
    return annotated(offers, paths)


def test_equal_file_names_in_two_folders_are_two_places(tmp_path: Path) -> None:
    offers = [Offer("000/000001_pitch1_yaw1.jpg"), Offer("queries_real/000/000001_pitch1_yaw1.jpg")]
    other = ["", "", "Second Street, East (A, B)"]
    notes = {"000/000001_pitch1_yaw1.jpg": NOTE, "queries_real/000/000001_pitch1_yaw1.jpg": other}
    found = annotate(tmp_path, offers, train=notes)
    assert [(offer.street, offer.district) for offer in found] == [
        ("First Street", "West"),
        ("Second Street", "East"),
    ]


def test_each_file_is_a_split(tmp_path: Path) -> None:
    found = annotate(tmp_path, [Offer("a.jpg"), Offer("b.jpg")], train={"a.jpg": NOTE}, test={"b.jpg": NOTE})
    assert [offer.split for offer in found] == ["train", "test"]


def test_what_is_missing_on_either_side_is_named(tmp_path: Path) -> None:
    notes = {"a.jpg": NOTE, "c.jpg": NOTE, "d.jpg": ["no address"]}
    offers = [Offer("a.jpg"), Offer("b.jpg"), Offer("d.jpg"), Offer("e.jpg", reason="is empty")]
    assert {offer.source: offer.reason for offer in annotate(tmp_path, offers, val=notes)} == {
        "a.jpg": "",
        "b.jpg": "is in no annotation",
        "c.jpg": "is annotated, but there is no such file",
        "d.jpg": "has an annotation without an address",
        "e.jpg": "is empty",
    }


def test_a_photo_in_two_splits_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AddressVLMError, match=r"annotations of test: 'a\.jpg' is in train too"):
        annotate(tmp_path, [], train={"a.jpg": NOTE}, test={"a.jpg": NOTE})


@pytest.mark.parametrize("content", ["", "[]", "{}", '["a.jpg"]', "[" * 100_000])
def test_what_is_no_annotation_file_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(AddressVLMError, match=r"a\.json (holds no annotations|cannot be read as JSON)"):
        annotated([], {"train": tmp_path / "a.json"})


@pytest.fixture
def pitts(town: Path) -> Path:
    """The town where Pittsburgh's UTM zone is: four panoramas of two views, one query, and annotations."""
    for name in ("streets", "districts"):
        path = town / f"{name}.geojson"
        text = path.read_text()
        for degrees in ("9.0005", "9.001", "8.99", "9.02", "9.0"):
            text = text.replace(f"[{degrees},", f"[{float(degrees) - 90:.4f},")
        path.write_text(text)
    root, names, notes = town / "pitts250k", [], {"train": {}, "val": {}, "test": {}}
    for place in range(5):
        folder = root / ("queries_real/000" if place == 4 else "000")
        folder.mkdir(parents=True, exist_ok=True)
        for view in (1, 2):
            file = f"{0 if place == 4 else place:06}_pitch1_yaw{view}.jpg"
            picture(10 * place + view).save(folder / file)
            if place < 4:
                names.append(f"000/{file}")
                split = ("train", "train", "val", "test")[place]
                notes[split][f"000/{file}"] = NOTE
    truth = root / "groundtruth"
    truth.mkdir()
    places = np.array([utm(45.001 + number / 1000, -80.9999) for number in range(4)]).T
    (truth / "pittsburgh_database_10586_utm.mat").write_bytes(mat(Cdb=places))
    (truth / "imagelist.txt").write_text("\n".join(names))
    (truth / "pittsburgh_query_1000_utm.mat").write_bytes(mat(Cq=np.array([utm(45.008, -80.9999)]).T))
    (truth / "querylist.txt").write_text("000/000000_pitch1_yaw1.jpg\n000/000000_pitch1_yaw2.jpg\n")
    for split, some in notes.items():
        (town / f"pitts_{split}.json").write_text(json.dumps(some))
    return town


ANNOTATIONS = ("[annotations]", *(f'{split} = "pitts_{split}.json"' for split in ("train", "val", "test")))


def build(town: Path, out: Path, *lines: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    summary = build_city(write_toml(town, 'photos = "pitts250k"', *lines), out, workers=1)
    return pd.read_parquet(out / "photos.parquet"), summary


def test_pitts250k_has_its_places_from_its_ground_truth(pitts: Path, tmp_path: Path) -> None:
    photos, _ = build(pitts, tmp_path / "out")
    assert photos["lat"].tolist() == pytest.approx(
        [45.001, 45.001, 45.002, 45.002, 45.003, 45.003, 45.004, 45.004, 45.008, 45.008], abs=1e-7
    )
    assert photos["location"].value_counts().tolist() == [2] * 5
    assert photos["heading_deg"].isna().all()


def test_with_annotations_its_labels_and_splits_are_the_papers(pitts: Path, tmp_path: Path) -> None:
    photos, summary = build(pitts, tmp_path / "out", *ANNOTATIONS)
    assert photos["split"].tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    assert summary["rejected"] == {"is in no annotation": 2}
    assert summary["labels"] == {"photos": 8, "district_as_geocoded": 8, "street_as_geocoded": 8}


def test_labels_count_where_the_map_would_say_otherwise(pitts: Path, tmp_path: Path) -> None:
    text = (pitts / "pitts_train.json").read_text().replace("First Street, West (", "SECOND ST, East (")
    (pitts / "pitts_train.json").write_text(text)
    photos, summary = build(
        pitts, tmp_path / "out", *ANNOTATIONS, "[label_aliases]", '"Second St" = "Second Street"'
    )
    labelled = photos[photos["split"] == "train"]
    assert set(zip(labelled["district"], labelled["street"], strict=True)) == {("East", "Second Street")}
    # The photos are 8 m east of First Street and 71 m west of Second Street.
    assert labelled["street_m"].tolist() == pytest.approx([70.9] * 4, abs=0.2)
    assert labelled["runner_up"].tolist() == ["First Street"] * 4
    assert labelled["margin_m"].tolist() == pytest.approx([-63.0] * 4, abs=0.3)
    assert summary["labels"]["street_as_geocoded"] == 4


def test_a_label_that_the_map_lacks_rejects_the_photo(pitts: Path, tmp_path: Path) -> None:
    text = (pitts / "pitts_train.json").read_text().replace("First Street, West (", "Third Street, West (")
    (pitts / "pitts_train.json").write_text(text)
    _, summary = build(pitts, tmp_path / "out", *ANNOTATIONS)
    assert summary["rejected"]["its street is not on the map"] == 4


def test_an_alias_must_be_on_the_map(pitts: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="vectors have no such name; the nearest is 'first street'"):
        build(pitts, tmp_path / "out", *ANNOTATIONS, "[label_aliases]", '"Erste" = "First St"')


@pytest.mark.parametrize(
    "name",
    ["imagelist.txt", "pittsburgh_database_10586_utm.mat", "querylist.txt", "pittsburgh_query_1000_utm.mat"],
)
def test_ground_truth_that_is_missing_is_named(pitts: Path, tmp_path: Path, name: str) -> None:
    (pitts / "pitts250k" / "groundtruth" / name).unlink()
    with pytest.raises(AddressVLMError, match=rf"groundtruth/{name} is not there, .*data-sets\.md"):
        build(pitts, tmp_path / "out")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 300,
        mat(Other=np.zeros((2, 4))),
        mat(Cdb=np.zeros((3, 4))),
        mat(Cdb=np.zeros((2, 4)))[:160],
    ],
)
def test_ground_truth_that_is_damaged_is_an_error(pitts: Path, tmp_path: Path, content: bytes) -> None:
    (pitts / "pitts250k" / "groundtruth" / "pittsburgh_database_10586_utm.mat").write_bytes(content)
    with pytest.raises(AddressVLMError, match=r"pittsburgh_database_10586_utm\.mat"):
        build(pitts, tmp_path / "out")


def test_a_list_that_is_cut_is_an_error(pitts: Path, tmp_path: Path) -> None:
    path = pitts / "pitts250k" / "groundtruth" / "imagelist.txt"
    path.write_text("\n".join(path.read_text().split()[:-1]))
    with pytest.raises(AddressVLMError, match="names 7 images of 4 places: one is cut"):
        build(pitts, tmp_path / "out")


def test_annotations_that_are_missing_are_named(pitts: Path, tmp_path: Path) -> None:
    (pitts / "pitts_val.json").unlink()
    with pytest.raises(
        AddressVLMError, match=r"annotations of val, 'pitts_val\.json', are not there .*data-sets\.md"
    ):
        build(pitts, tmp_path / "out", *ANNOTATIONS)


def test_splits_have_the_names_that_data_sets_have(pitts: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="annotations is a table of train, val, test and their files"):
        build(pitts, tmp_path / "out", "[annotations]", 'queries = "pitts_val.json"')


def test_a_csv_may_give_splits(town: Path, tmp_path: Path) -> None:
    (town / "photos.csv").write_text(
        "file,lat,lon,split\n0.jpg,45.001,9,train\n1.jpg,45.002,9,Validation\n2.jpg,45.003,9,x\n3.jpg,45.004,9,\n"
    )
    summary = build_city(write_toml(town, 'photos = "photos.csv"'), tmp_path / "out", workers=1)
    photos = pd.read_parquet(tmp_path / "out" / "photos.parquet")
    assert photos["split"].tolist()[:2] == ["train", "val"]
    assert summary["rejected"] == {"split is neither train, val nor test": 1}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample data is not here")
def test_keys_of_real_names_are_their_paths() -> None:
    for name in ("pitts30k_test_database", "pitts30k_test_queries", "pitts30k_val_queries"):
        names = gzip.decompress((SHARED / f"{name}.txt.gz").read_bytes()).decode().split()
        assert [photo_key(path) for path in names] == names

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from addressvlm.dataset.tables import (
    Conversation,
    read_conversations,
    read_questions,
    read_table,
    table_path,
    write_table,
)
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import write_json

TURN = {"kind": "generation", "level": "street", "question": "Which?", "options": [], "answer": "Oak Street"}
TRAIN = {
    "photo": "a",
    "location": "l",
    "images": ["images/photos/a.jpg"],
    "district": "Hill",
    "street": "Oak Street",
    "turns": [TURN, {**TURN, "question": "(A) x (B) y?", "options": ["x", "y"], "answer": "B"}],
}
ALIGNED = {
    **{name: TRAIN[name] for name in ("photo", "location", "district", "street")},
    "images": ["images/maps/l.jpg", "images/photos/a.jpg"],
    "question": "Where?",
    "answer": "There.",
    "map_names": ["Oak Street"],
}
ASKED = {
    **{name: TRAIN[name] for name in ("photo", "location", "images", "district", "street")},
    **{"kind": "multiple_choice", "level": "street", "question": "?", "options": ["x", "y"], "truth": "A"},
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "of=ten"  # a name that some readers take for a column
    folder.mkdir()
    write_json(folder / "config.json", {})
    write_json(folder / "summary.json", {})
    write_table(folder, "alignment", [ALIGNED])
    write_table(folder, "train", [TRAIN])
    write_table(folder, "val", [])
    write_table(folder, "test", [{**ASKED, "margin_m": 2.5}, {**ASKED, "margin_m": None, "options": []}])
    return folder


def test_the_alignment_stage_has_one_turn_a_photo(dataset: Path) -> None:
    images = (dataset.absolute() / "images/maps/l.jpg", dataset.absolute() / "images/photos/a.jpg")
    assert read_conversations(dataset, "alignment") == [
        Conversation("a", "l", images, (("Where?", "There."),))
    ]


def test_the_localization_stage_has_the_turns_in_their_order(dataset: Path) -> None:
    (conversation,) = read_conversations(dataset, "localization")
    assert conversation.turns == (("Which?", "Oak Street"), ("(A) x (B) y?", "B"))
    assert conversation.images == (dataset.absolute() / "images/photos/a.jpg",)


def test_questions_come_as_a_table_with_lists_in_it(dataset: Path) -> None:
    questions = read_questions(dataset, "test")
    assert questions["options"].tolist() == [["x", "y"], []]
    assert questions["images"][0] == ["images/photos/a.jpg"]
    assert questions["margin_m"].isna().tolist() == [False, True]


def test_a_split_without_questions_is_an_empty_table_with_all_columns(dataset: Path) -> None:
    questions = read_questions(dataset, "val")
    assert len(questions) == 0
    assert list(questions) == list(read_questions(dataset, "test"))


def test_equal_rows_are_equal_bytes_and_name_no_software_but_the_writer(dataset: Path) -> None:
    path = table_path(dataset, "train")
    before = path.read_bytes()
    write_table(dataset, "train", iter([TRAIN]))
    assert path.read_bytes() == before
    assert set(pq.read_metadata(path).metadata or {}) <= {b"ARROW:schema"}


def test_more_rows_than_fit_at_once_keep_their_order(dataset: Path) -> None:
    write_table(dataset, "test", ({**ASKED, "photo": f"{n:05}", "margin_m": 0.0} for n in range(20_000)))
    photos = read_questions(dataset, "test")["photo"]
    assert len(photos) == 20_000
    assert photos.is_monotonic_increasing


@pytest.mark.parametrize(
    ("read", "name"),
    [(read_conversations, "pretraining"), (read_questions, "train"), (read_questions, "dev")],
)
def test_a_name_that_is_none_is_told(dataset: Path, read: Any, name: str) -> None:
    with pytest.raises(UsageError, match=repr(name)):
        read(dataset, name)


def test_an_incomplete_data_set_is_not_read(dataset: Path) -> None:
    (dataset / "summary.json").unlink()
    with pytest.raises(AddressVLMError, match="is not complete"):
        read_conversations(dataset, "alignment")


def test_a_damaged_table_is_named(dataset: Path) -> None:
    table_path(dataset, "test").write_bytes(b"PAR1 nothing")
    with pytest.raises(AddressVLMError, match=r"test\.parquet cannot be read"):
        read_questions(dataset, "test")
    table_path(dataset, "test").unlink()
    with pytest.raises(AddressVLMError, match=r"test\.parquet cannot be read"):
        read_table(dataset, "test")


def test_training_reads_without_any_geographic_library(dataset: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from addressvlm.dataset.tables import read_conversations\n"
        f"print(len(read_conversations(Path({str(dataset)!r}), 'localization')))\n"
        "print(*{'geopandas', 'shapely', 'pyproj', 'mapnik'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]

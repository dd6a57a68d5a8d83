from pathlib import Path

import numpy as np
import pytest

from addressvlm.errors import AddressVLMError
from addressvlm.training.rowfiles import RowFiles


@pytest.fixture
def rows(tmp_path: Path) -> RowFiles:
    """Ten arrays of 24 bytes, four in a file."""
    return RowFiles(tmp_path, 10, (2, 3), "float32", file_bytes=100)


def content(rows: RowFiles, number: int) -> list[np.ndarray]:
    return [np.full(rows.shape, row, rows.dtype) for row in rows.rows(number)]


def test_rows_come_back_from_the_files_that_hold_them(rows: RowFiles) -> None:
    for number in range(rows.files):
        rows.write(number, iter(content(rows, number)))
    assert [rows.read(row)[1, 2] for row in range(10)] == list(range(10))
    assert [len(rows.rows(number)) for number in range(rows.files)] == [4, 4, 2]


def test_numpy_reads_a_file(rows: RowFiles) -> None:
    rows.write(2, content(rows, 2))
    found = np.load(rows.path(2), allow_pickle=False)
    assert found.shape == (2, 2, 3)
    assert found.dtype == np.float32
    assert found[:, 0, 0].tolist() == [8, 9]


def test_file_that_was_not_finished_is_not_there(rows: RowFiles) -> None:
    def dies() -> object:
        yield content(rows, 0)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rows.write(0, dies())  # type: ignore[arg-type]
    assert list(rows.folder.iterdir()) == []
    assert not rows.is_whole(0)


@pytest.mark.parametrize("harm", ["shorter", "longer", "another shape", "another dtype", "no array"])
def test_file_that_is_not_what_it_should_be_is_not_whole(harm: str, rows: RowFiles) -> None:
    rows.write(0, content(rows, 0))
    assert rows.is_whole(0)
    path = rows.path(0)
    whole = path.read_bytes()
    if harm == "another shape":
        np.save(path, np.zeros((4, 3, 2), np.float32))
    elif harm == "another dtype":
        np.save(path, np.zeros((4, 2, 3), np.int32))
    else:
        path.write_bytes({"shorter": whole[:-1], "longer": whole + b"x", "no array": bytes(len(whole))}[harm])
    assert not rows.is_whole(0)


def test_row_behind_the_end_is_an_error_that_names_the_file(rows: RowFiles) -> None:
    rows.write(0, content(rows, 0))
    rows.path(0).write_bytes(rows.path(0).read_bytes()[:-1])
    rows.read(2)
    with pytest.raises(AddressVLMError, match=r"00000\.npy is torn"):
        rows.read(3)
    with pytest.raises(AddressVLMError, match=r"00001\.npy cannot be read"):
        rows.read(4)

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from addressvlm.cities.pictures import NOTES, write_pictures
from addressvlm.cities.source import Written
from addressvlm.imagery.tilegrid import Tile


class Painter:
    """Writes a few bytes a picture, fails on "bad" and stops the job at "stop"."""

    def __init__(self) -> None:
        self.painted: list[str] = []

    def photo(self, row: Mapping[str, Any], path: Path) -> Written:
        if row["name"] == "stop":
            raise KeyboardInterrupt
        if row["name"] == "bad":
            return Written("is bad")
        self.painted.append(row["name"])
        path.write_text(row["name"])
        return Written(scene=f"a picture of {row['name']}")

    def tile(self, tile: Tile, path: Path) -> Written:
        if tile[0] == 99:
            return Written("is no picture")
        self.painted.append(path.name)
        path.write_text(str(tile))
        return Written()


def rows(*names: str) -> dict[str, dict[str, str]]:
    return {f"images/{number}.jpg": {"name": name} for number, name in enumerate(names)}


def test_photos_and_tiles_are_written(tmp_path: Path) -> None:
    written = write_pictures(Painter(), rows("a", "b"), {"tiles/1/2/3.png": (1, 2, 3)}, tmp_path, workers=1)
    assert (tmp_path / "images/1.jpg").read_text() == "b"
    assert (tmp_path / "tiles/1/2/3.png").read_text() == "(1, 2, 3)"
    assert list(written) == ["images/0.jpg", "images/1.jpg", "tiles/1/2/3.png"]
    assert written["images/1.jpg"].scene == "a picture of b"


def test_a_picture_that_fails_has_a_reason_and_no_digest(tmp_path: Path) -> None:
    written = write_pictures(Painter(), rows("a", "bad"), {}, tmp_path, workers=1)
    assert written["images/1.jpg"] == Written("is bad")
    assert len(written["images/0.jpg"].sha256) == 64
    tiles = write_pictures(Painter(), {}, {"tiles/99/2/3.png": (99, 2, 3)}, tmp_path / "tiles", workers=1)
    assert tiles["tiles/99/2/3.png"] == Written("is no picture")


def test_an_interrupted_job_goes_on_after_the_last_whole_batch(tmp_path: Path) -> None:
    first = Painter()
    with pytest.raises(KeyboardInterrupt):
        write_pictures(first, rows(*"abcdef", "stop"), {}, tmp_path, workers=1)
    second = Painter()
    written = write_pictures(second, rows(*"abcdefg"), {}, tmp_path, workers=1)
    assert second.painted == list("efg")
    assert [outcome.scene for outcome in written.values()] == [f"a picture of {name}" for name in "abcdefg"]


@pytest.mark.parametrize("loss", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_batch_whose_pictures_a_power_cut_took_is_made_again(
    tmp_path: Path, loss: Callable[[Path], object]
) -> None:
    first = write_pictures(Painter(), rows(*"abcd", "bad"), {}, tmp_path, workers=1)
    loss(tmp_path / "images/1.jpg")
    again = Painter()
    assert write_pictures(again, rows(*"abcd", "bad"), {}, tmp_path, workers=1) == first
    assert again.painted == list("abcd")
    assert (tmp_path / "images/1.jpg").read_text() == "b"


def test_notes_of_other_files_are_not_believed(tmp_path: Path) -> None:
    write_pictures(Painter(), rows("a"), {}, tmp_path, workers=1)
    again = Painter()
    write_pictures(again, {"images/7.jpg": {"name": "z"}}, {}, tmp_path, workers=1)
    assert again.painted == ["z"]


def test_the_notes_hold_no_path_of_this_machine(tmp_path: Path) -> None:
    write_pictures(Painter(), rows("a"), {}, tmp_path, workers=1)
    assert all(str(tmp_path) not in note.read_text() for note in (tmp_path / NOTES).iterdir())

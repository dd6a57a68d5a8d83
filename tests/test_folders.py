import os
import subprocess
import sys
from pathlib import Path

import pytest

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import fingerprint, open_step, read_json, write_atomically


def half_written(path: Path) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("power cut")


def test_a_finished_step_returns_its_summary(tmp_path: Path) -> None:
    with open_step(tmp_path / "out", "city", {"seed": 1}) as step:
        assert step.summary is None
        step.finish({"photos": 3})
    with open_step(tmp_path / "out", "city", {"seed": 1}) as step:
        assert step.summary == {"photos": 3}


def test_what_is_not_durable_is_flushed_before_the_summary_says_that_all_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []
    monkeypatch.setattr(os, "sync", lambda: found.append((tmp_path / "summary.json").exists()))
    with open_step(tmp_path, "city", {}) as step:
        step.finish({}, flush=True)
    assert found == [False]
    assert (tmp_path / "summary.json").exists()


def test_another_config_is_refused_by_field(tmp_path: Path) -> None:
    with open_step(tmp_path, "city", {"seed": 1, "views": 8}):
        pass
    with (
        pytest.raises(UsageError, match=r"seed: 1 there, 2 now"),
        open_step(tmp_path, "city", {"seed": 2, "views": 8}),
    ):
        pass


def test_what_was_refused_before_anything_was_made_leaves_the_folder_free(tmp_path: Path) -> None:
    def refused(number: int, file: str) -> None:
        with open_step(tmp_path / "a", "city", {"number": number}):
            if file:
                (tmp_path / "a" / file).write_text("half")
            raise AddressVLMError("no such photo")

    with pytest.raises(AddressVLMError, match="no such photo"):
        refused(1, "")
    with pytest.raises(AddressVLMError, match="no such photo"):
        refused(2, "photos.parquet")
    with pytest.raises(UsageError, match="number: 2 there, 3 now"):
        refused(3, "")


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"thesis\.txt"), open_step(tmp_path, "city", {}):
        pass


def test_two_processes_cannot_write_one_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from addressvlm.errors import AddressVLMError\n"
        "from addressvlm.folders import open_step\n"
        "try:\n"
        "    with open_step(Path(sys.argv[1]), 'city', {}): pass\n"
        "except AddressVLMError as error: print(error)\n"
    )
    with open_step(tmp_path, "city", {}):
        second = subprocess.run(
            [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
        )
    assert "another process is writing" in second.stdout


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="power cut"):
        half_written(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_killed_writes_are_removed(tmp_path: Path) -> None:
    with open_step(tmp_path, "city", {}):
        (tmp_path / ".photo.jpg.123.tmp").write_text("half")
    with open_step(tmp_path, "city", {}):
        assert not (tmp_path / ".photo.jpg.123.tmp").exists()


def test_a_folder_with_other_things_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".game.1.tmp").write_text("another program at work")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / ".draft.2.tmp").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=r"\.game"), open_step(tmp_path, "city", {}):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_a_refused_config_leaves_no_new_file(tmp_path: Path) -> None:
    with open_step(tmp_path, "city", {"seed": 1}):
        (tmp_path / ".photo.jpg.123.tmp").write_text("half")
    (tmp_path / ".lock").unlink(missing_ok=True)  # a copy without hidden files
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match="seed"), open_step(tmp_path, "city", {"seed": 2}):
        pass
    assert sorted(tmp_path.iterdir()) == before


def test_a_step_killed_at_its_first_write_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".config.json.123.tmp").write_text("{")
    with open_step(tmp_path, "city", {}):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "config.json"}


def test_only_what_our_own_writes_left_is_removed(tmp_path: Path) -> None:
    with open_step(tmp_path, "city", {}):
        (tmp_path / ".x.tmp").mkdir()
        (tmp_path / ".x.1.tmp").mkdir()
        (tmp_path / ".editor.tmp").write_text("mine")
        (tmp_path / "images").mkdir()
        (tmp_path / "images" / ".p1.jpg.7.tmp").write_text("half")
    with open_step(tmp_path, "city", {}):
        pass
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.tmp")}
    assert left == {".x.tmp", ".x.1.tmp", ".editor.tmp"}


def test_a_step_within_a_step_stays_at_work(tmp_path: Path) -> None:
    with open_step(tmp_path, "dataset", {}):
        pass
    with open_step(tmp_path / "shards" / "one", "shards", {}) as shards:
        half = shards.folder / ".00000.npy.123.tmp"
        half.write_text("half")
        with open_step(tmp_path, "dataset", {}):
            assert half.exists()
    with open_step(tmp_path / "shards" / "one", "shards", {}):
        assert not half.exists()


def test_a_path_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(AddressVLMError, match="cannot write"), open_step(tmp_path / "out", "city", {}):
        pass


def test_an_incomplete_folder_has_no_fingerprint(tmp_path: Path) -> None:
    with open_step(tmp_path, "city", {}):
        pass
    with pytest.raises(AddressVLMError, match="not complete"):
        fingerprint(tmp_path)


def test_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(AddressVLMError, match=r"a\.json cannot be read"):
        read_json(tmp_path / "a.json")

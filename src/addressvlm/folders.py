"""Steps from folder to folder: atomic files, one config per folder, resume, a summary written last.

Every long job of the project opens its output with `open_step`. The folder holds `config.json` from the first
moment and `summary.json` when it is complete; whatever is killed in between is continued by the same call.
Neither file holds times or paths of this machine, so equal inputs give equal bytes.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from addressvlm.errors import AddressVLMError, UsageError

CONFIG = "config.json"
SUMMARY = "summary.json"
LOCK = ".lock"
_TEMPORARY = re.compile(r"\.(.+)\.[0-9]+\.tmp")  # what `write_atomically` calls a file that is being written


@contextmanager
def write_atomically(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the name in one rename.

    A durable file is flushed to disk first, so that it survives a power cut; thousands of small pictures are
    written without, because two flushes a file would take longer than making them. `Step.finish` flushes
    those together.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if durable:
            _flush(temporary)
        temporary.replace(path)
        if durable:
            _flush(path.parent)
    except OSError as error:
        raise AddressVLMError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, keys in the order given, atomically."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is an error that names it."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise AddressVLMError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise AddressVLMError(f"{path} cannot be read as JSON: {error}") from error


def inside(folder: Path, file: str) -> Path:
    """The path of `file` under `folder`; raises `AddressVLMError` where the text leads out of the folder.

    For what a folder, which may come from anybody, says of itself.
    """
    if Path(file).is_absolute() or ".." in Path(file).parts or "\0" in file:
        raise AddressVLMError(
            f"{file!r} leads out of the folder that names it, which was not made so; make the folder again"
        )
    return folder / file


def sha256(path: Path) -> str:
    """Hex digest of one file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(folder: Path) -> str:
    """Digest of a complete step: its config and its summary, which carries the digests of what it wrote."""
    require_complete(folder)
    digest = hashlib.sha256()
    for name in (CONFIG, SUMMARY):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def require_complete(folder: Path) -> dict[str, Any]:
    """The summary of a complete step, or an error that says what is missing."""
    if not folder.is_dir():
        raise AddressVLMError(f"there is no folder {folder}")
    if not (folder / SUMMARY).is_file():
        raise AddressVLMError(
            f"{folder} is not complete: it has no {SUMMARY}; run the command that makes it again"
        )
    summary: dict[str, Any] = read_json(folder / SUMMARY)
    return summary


@dataclass(frozen=True)
class Step:
    """An output folder that this process owns until the `with` block ends."""

    folder: Path
    config: dict[str, Any]

    @property
    def summary(self) -> dict[str, Any] | None:
        """What `finish` wrote, or None while the step is incomplete."""
        path = self.folder / SUMMARY
        return read_json(path) if path.is_file() else None

    def finish(self, summary: Mapping[str, Any], *, flush: bool = False) -> dict[str, Any]:
        """Write the summary, which marks the folder as complete, and return it.

        `flush` what was written without being durable first: no power cut must leave a complete folder in
        which files are missing.
        """
        if flush:
            os.sync()
        write_json(self.folder / SUMMARY, dict(summary))
        return dict(summary)


@contextmanager
def open_step(folder: Path, step: str, config: Mapping[str, Any]) -> Iterator[Step]:
    """Own `folder` for the step named `step` ("city", "dataset", "run") with this JSON-able `config`.

    Creates the folder, or continues one with an equal config. Refuses a folder that another process holds,
    one that holds something else, and one made with another config (the fields that differ are named); in
    these two nothing is touched. Leftovers of killed writes are removed. A block that ends with an
    `AddressVLMError` before it has written anything leaves the folder free for another config.
    """
    wanted: dict[str, Any] = json.loads(json.dumps({"step": step, **config}))
    _require_fit(folder, wanted)
    with own_folder(folder):
        _require_fit(folder, wanted)  # another process may have come first
        new = not (folder / CONFIG).exists()
        if new:
            write_json(folder / CONFIG, wanted)
        try:
            yield Step(folder, wanted)
        except AddressVLMError:
            # What was refused before anything was made must not stand in the way of a better wish.
            if new and {entry.name for entry in folder.iterdir()} <= {CONFIG, LOCK}:
                (folder / CONFIG).unlink()
            raise


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Be the only process that writes into `folder`, created if need be, until the block ends.

    The folder is new or one of ours: leftovers of killed writes are removed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise AddressVLMError(
            f"another process is writing {folder}; wait for it or choose another folder"
        ) from None
    except OSError as error:
        raise AddressVLMError(f"cannot write to {folder}: {error.strerror or error}") from error
    try:
        _remove_leftovers(folder)
        yield
    finally:
        lock.release()


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed writes left, but not in steps within the step: they may be at work."""
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not Path(here, name, LOCK).exists()]
        for name in files:
            if _TEMPORARY.fullmatch(name):
                Path(here, name).unlink(missing_ok=True)


def _require_fit(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Raise `UsageError` unless `folder` is new, empty or made with this config."""
    try:
        entries = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    except OSError as error:
        raise AddressVLMError(f"cannot read {folder}: {error.strerror or error}") from error
    if CONFIG in entries:
        _require_same(folder, read_json(folder / CONFIG), wanted)
        return
    strangers = sorted(name for name in entries if name != LOCK and not _is_first_write(name))
    if strangers:
        raise UsageError(f"{folder} holds other things ({strangers[0]!r}, …); choose an empty folder")


def _is_first_write(name: str) -> bool:
    temporary = _TEMPORARY.fullmatch(name)
    return temporary is not None and temporary[1] == CONFIG


def _require_same(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing = [
        f"{key}: {_short(found.get(key))} there, {_short(wanted.get(key))} now"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    ]
    if differing:
        raise UsageError(
            f"{folder} was made with another config ({'; '.join(differing)}); "
            "choose another folder, or remove this one to make it again"
        )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

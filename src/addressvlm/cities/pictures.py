"""Writing the pictures of a city in several processes, so that a killed build goes on where it stopped."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from addressvlm.cities.source import Writer, Written
from addressvlm.folders import read_json, sha256, write_json
from addressvlm.imagery.tilegrid import Tile
from addressvlm.work import Workers, in_processes, track

# Holds a note on every finished batch while a build runs.
NOTES = ".pictures"
_BATCH = 4


@dataclass(frozen=True)
class Batch:
    """Some photos or some tiles, and the files they become (paths under the city's folder)."""

    number: int
    items: tuple[Any, ...]
    files: tuple[str, ...]
    kind: str


def write_pictures(
    writer: Writer,
    photos: Mapping[str, Mapping[str, Any]],
    tiles: Mapping[str, Tile],
    folder: Path,
    workers: Workers = None,
) -> dict[str, Written]:
    """Write photos (file → row) and tiles (file → tile) under `folder`; returns what became of each file."""
    batches = [*_batches("photo", photos, 0)]
    batches += _batches("tile", tiles, len(batches))
    for parent in {(folder / file).parent for file in (*photos, *tiles)} | {folder / NOTES}:
        parent.mkdir(parents=True, exist_ok=True)
    done = in_processes(partial(_write_batch, writer, folder), batches, workers)
    outcomes = (
        pair
        for batch, some in zip(batches, done, strict=True)
        for pair in zip(batch.files, some, strict=True)
    )
    return dict(track(outcomes, "pictures", len(photos) + len(tiles)))


def _batches(kind: str, items: Mapping[str, Any], first: int) -> list[Batch]:
    files = list(items)
    return [
        Batch(first + number, tuple(items[file] for file in some), tuple(some), kind)
        for number, some in enumerate(files[at : at + _BATCH] for at in range(0, len(files), _BATCH))
    ]


def _write_batch(writer: Writer, folder: Path, batch: Batch) -> list[Written]:
    note = folder / NOTES / f"{batch.number:06d}.json"
    if note.exists() and (before := read_json(note))["files"] == list(batch.files):
        noted = [Written(**outcome) for outcome in before["written"]]
        # Notes are flushed to disk and pictures are not: after a power cut a picture may be gone or empty.
        if all(map(_is_there, (folder / file for file in batch.files), noted)):
            return noted
    pairs = zip(batch.items, batch.files, strict=True)
    written = [_write(writer, batch.kind, item, folder / file) for item, file in pairs]
    write_json(note, {"files": list(batch.files), "written": [asdict(outcome) for outcome in written]})
    return written


def _is_there(path: Path, noted: Written) -> bool:
    """Whether a picture is as it was noted; one that could not be written has none."""
    return bool(noted.reason) or (path.is_file() and sha256(path) == noted.sha256)


def _write(writer: Writer, kind: str, item: Any, path: Path) -> Written:
    outcome = writer.photo(item, path) if kind == "photo" else writer.tile(item, path)
    return outcome if outcome.reason else replace(outcome, sha256=sha256(path))

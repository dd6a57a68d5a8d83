"""Shards: the pictures of a stage as the vision tower reads them, cut once, so that no epoch decodes them.

They lie in `shards/` of the data set, are read in place of its pictures wherever they fit, and change no
result: their bytes are those that decoding would give. A data set that was built anew, or a tower that
wants other pictures, passes them over. What they cost is disk: 0.34 MB a picture at 336 px.
"""

import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from addressvlm.dataset.tables import read_images
from addressvlm.errors import AddressVLMError
from addressvlm.folders import (
    CONFIG,
    SUMMARY,
    fingerprint,
    open_step,
    read_json,
    require_complete,
    sha256,
    write_atomically,
)
from addressvlm.model.preprocessing import Preprocessing
from addressvlm.training.rowfiles import RowFiles
from addressvlm.work import in_processes, say, track

SHARDS, INDEX = "shards", "index.parquet"
# To be raised when the same file and settings would give other pixels than before.
_FORMAT = 1

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Shards:
    """Pictures of a data set, read from its shards; every one is checked by its sum."""

    dataset: Path
    rows: RowFiles
    names: npt.NDArray[np.bytes_]  # sorted
    sums: npt.NDArray[np.uint32]

    def pixels(self, file: Path) -> Pixels:
        """The picture in this file of the data set as uint8, (3, size, size)."""
        name = file.relative_to(self.dataset).as_posix()
        row = int(np.searchsorted(self.names, name.encode()))
        if row == len(self.names) or self.names[row] != name.encode():
            raise AddressVLMError(f"{name} is not in {self.rows.folder}; {_way_out(self.rows.folder)}")
        pixels = self.rows.read(row)
        if zlib.crc32(pixels.data) != self.sums[row]:
            raise AddressVLMError(
                f"{name} is damaged in {self.rows.path(row // self.rows.per_file)}; "
                f"{_way_out(self.rows.folder)}"
            )
        return pixels


def decoded(file: Path, preprocessing: Preprocessing) -> Pixels:
    """A picture of a data set as the tower reads it; what is wrong with it is an error that names it."""
    try:
        with Image.open(file, formats=("JPEG", "PNG")) as image:
            return preprocessing.pixels(image)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise AddressVLMError(f"{file} cannot be read ({error}); build the data set again") from error


def shards_folder(dataset: Path, stage: str, preprocessing: Preprocessing) -> Path:
    """Where the shards of a stage lie, for towers that read such pictures."""
    around = f"-{bytes(preprocessing.padding).hex()}" if preprocessing.fit == "pad" else ""
    return dataset / SHARDS / f"{stage}-{preprocessing.size_px}px-{preprocessing.fit}{around}"


def cut_shards(
    dataset: Path, stage: str, preprocessing: Preprocessing, *, workers: int | None = None
) -> dict[str, Any]:
    """Cut the pictures of a stage, or finish what an earlier call began; returns the summary.

    Shards that are there are read and checked, and made again where they are torn or damaged. Raises
    `AddressVLMError` where the disk lacks the room.
    """
    names = read_images(dataset, stage)
    folder = shards_folder(dataset, stage, preprocessing)
    rows = _rows(folder, len(names), preprocessing)
    with open_step(folder, "shards", _config(dataset, stage, preprocessing)) as step:
        known = _known_sums(folder, names) if step.summary is not None else None
        _require_disk(rows)
        say(f"{folder}: {len(names)} pictures of {preprocessing.size_px} px, {_bytes(rows) / 1e9:.2f} GB")
        jobs = [
            _Job(
                number,
                [names[row] for row in rows.rows(number)],
                None if known is None else [int(known[row]) for row in rows.rows(number)],
            )
            for number in range(rows.files)
        ]
        cut = partial(_cut, rows, dataset, preprocessing)
        sums = [
            one for shard in track(in_processes(cut, jobs, workers), "shards", len(jobs)) for one in shard
        ]
        if known is not None and np.array_equal(known, sums):
            return require_complete(folder)
        with write_atomically(folder / INDEX) as temporary:
            pq.write_table(pa.table({"image": names, "crc32": pa.array(sums, pa.uint32())}), temporary)
        return step.finish(
            {
                "pictures": len(names),
                "files": rows.files,
                "bytes": _bytes(rows),
                "pillow": PIL.__version__,
                "sha256": {INDEX: sha256(folder / INDEX)},
            }
        )


def open_shards(dataset: Path, stage: str, preprocessing: Preprocessing) -> Shards | None:
    """The shards of a stage for this tower, or None without any; torn ones are an error.

    Shards that are unfinished or of another data set are passed over with a warning.
    """
    folder = shards_folder(dataset, stage, preprocessing)
    if not folder.is_dir():
        return None
    if not (folder / SUMMARY).is_file():
        _tell(
            f"warning: {folder} is unfinished, so pictures are decoded; `addressvlm dataset shards` goes on"
        )
        return None
    if read_json(folder / CONFIG) != {"step": "shards", **_config(dataset, stage, preprocessing)}:
        _tell(
            f"warning: {folder} is of another data set, so pictures are decoded; remove it, and cut it again"
        )
        return None
    index = folder / INDEX
    if not index.is_file() or sha256(index) != require_complete(folder)["sha256"][INDEX]:
        raise AddressVLMError(f"{index} is damaged; {_way_out(folder)}")
    table = pq.read_table(index, partitioning=None)
    rows = _rows(folder, len(table), preprocessing)
    torn = next((number for number in range(rows.files) if not rows.is_whole(number)), None)
    if torn is not None:
        raise AddressVLMError(f"{rows.path(torn)} is torn or missing; {_way_out(folder)}")
    names = np.array([name.encode() for name in table["image"].to_pylist()])
    _tell(f"pictures come from {folder}")
    return Shards(dataset.absolute(), rows, names, table["crc32"].to_numpy())


@dataclass(frozen=True)
class _Job:
    """A shard: the pictures in it, and their sums where it should be there."""

    number: int
    names: Sequence[str]
    sums: Sequence[int] | None


def _cut(rows: RowFiles, dataset: Path, preprocessing: Preprocessing, job: _Job) -> list[int]:
    """Make a shard unless it is there and good; returns the sums of its pictures."""
    if rows.is_whole(job.number):
        found = [zlib.crc32(rows.read(row).data) for row in rows.rows(job.number)]
        if job.sums is None or found == job.sums:
            return found
    rows.write(job.number, (decoded(dataset / name, preprocessing) for name in job.names))
    return [zlib.crc32(rows.read(row).data) for row in rows.rows(job.number)]


def _rows(folder: Path, count: int, preprocessing: Preprocessing) -> RowFiles:
    return RowFiles(folder, count, (3, preprocessing.size_px, preprocessing.size_px), "uint8")


def _config(dataset: Path, stage: str, preprocessing: Preprocessing) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "dataset": fingerprint(dataset),
        "stage": stage,
        "size_px": preprocessing.size_px,
        "fit": preprocessing.fit,
        "padding": list(preprocessing.padding) if preprocessing.fit == "pad" else None,
    }


def _known_sums(folder: Path, names: Sequence[str]) -> npt.NDArray[np.uint32] | None:
    """The sums in the index of finished shards, or None if it is damaged, too."""
    index = folder / INDEX
    if not index.is_file() or sha256(index) != require_complete(folder)["sha256"][INDEX]:
        return None
    table = pq.read_table(index, partitioning=None)
    sums: npt.NDArray[np.uint32] = table["crc32"].to_numpy()
    return sums if table["image"].to_pylist() == list(names) else None


def _bytes(rows: RowFiles) -> int:
    return rows.count * rows.row_bytes


def _require_disk(rows: RowFiles) -> None:
    missing = sum(len(rows.rows(n)) for n in range(rows.files) if not rows.path(n).exists())
    needed, free = missing * rows.row_bytes, shutil.disk_usage(rows.folder).free
    if needed > free:
        raise AddressVLMError(
            f"{rows.folder} needs {needed / 1e9:.2f} GB, but {free / 1e9:.2f} GB are free on its disk"
        )


def _tell(message: str) -> None:
    """Say something once, though several processes train together."""
    from addressvlm.training import processes  # brings accelerate, which those that cut do not need

    if processes.is_first():
        say(message)


def _way_out(folder: Path) -> str:
    return f"`addressvlm dataset shards` makes it again; without {folder} pictures are decoded"

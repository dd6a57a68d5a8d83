"""Formats that hold pictures within their files: Parquet for Hugging Face, tar shards for WebDataset."""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from addressvlm.dataset.exports.folderfiles import file_beside
from addressvlm.dataset.exports.items import PARTS, Export, Item
from addressvlm.dataset.exports.naming import HUB_SPLITS, hub_config
from addressvlm.folders import write_atomically

# A file is closed when its pictures pass this.
SHARD_BYTES = 400_000_000
# Few, because a viewer reads a group at once.
_ROWS_A_GROUP = 100

_TEXT = pa.string()
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", _TEXT)])
_ABOUT = ("photo", "location", "district", "street")
_TURN = {"kind": _TEXT, "level": _TEXT, "question": _TEXT, "options": pa.list_(_TEXT), "answer": _TEXT}

Full = tuple[Item, tuple[bytes, ...]]


def write_parquet(export: Export) -> None:
    """`CONFIG/SPLIT-NNNNN.parquet` with the pictures inside, columns typed for Hugging Face's `datasets`."""
    for part, split in export.parts(HUB_SPLITS):
        schema = _schema(single=export.pictures_each(part) == 1)
        folder = export.out / hub_config(part)
        folder.mkdir(exist_ok=True)
        for number, items in enumerate(_in_shards(export.items(part))):
            with (
                write_atomically(folder / f"{split}-{number:05d}.parquet") as temporary,
                pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
            ):
                rows = (_row(item, pictures) for item, pictures in items)
                while batch := list(islice(rows, _ROWS_A_GROUP)):
                    writer.write_table(pa.Table.from_pylist(batch, schema))


def write_webdataset(export: Export) -> None:
    """`PART-NNNNNN.tar`, a sample being `PHOTO.jpg` (for pairs `PHOTO.map.jpg` too) and `PHOTO.json`."""
    for part in PARTS:
        for number, items in enumerate(_in_shards(export.items(part))):
            path = export.out / f"{part}-{number:06d}.tar"
            with write_atomically(path) as temporary, tarfile.open(temporary, "w") as tar:
                for item, pictures in items:
                    for image, content in zip(item.images, pictures, strict=True):
                        is_map = file_beside(image).startswith("map-")
                        _add(tar, f"{item.photo}.{'map.jpg' if is_map else 'jpg'}", content)
                    about = {name: value for name, value in asdict(item).items() if name != "images"}
                    _add(tar, f"{item.photo}.json", json.dumps(about, ensure_ascii=False).encode())


def _in_shards(items: Iterable[Full]) -> Iterator[Iterator[Full]]:
    """The items in runs whose pictures just pass `SHARD_BYTES`; each must be used up before the next."""
    rest = iter(items)
    for first in rest:
        yield _until_full(chain([first], rest))


def _until_full(items: Iterable[Full]) -> Iterator[Full]:
    room = SHARD_BYTES
    for item, pictures in items:
        yield item, pictures
        room -= sum(map(len, pictures))
        if room <= 0:
            return


def _schema(*, single: bool) -> pa.Schema:
    picture = {"image": _PICTURE} if single else {"images": pa.list_(_PICTURE)}
    turns = pa.list_(pa.struct(list(_TURN.items())))
    fields = picture | dict.fromkeys(_ABOUT, _TEXT) | {"turns": turns}
    text = {"dtype": "string", "_type": "Value"}
    features: dict[str, Any] = dict.fromkeys(_ABOUT, text)
    features["turns"] = [{name: [text] if name == "options" else text for name in _TURN}]
    features |= {"image": {"_type": "Image"}} if single else {"images": [{"_type": "Image"}]}
    # `datasets` reads the types from here; without, a picture would be a struct of bytes.
    told = {"info": {"features": {name: features[name] for name in fields}}}
    return pa.schema(fields, metadata={"huggingface": json.dumps(told)})


def _row(item: Item, pictures: tuple[bytes, ...]) -> dict[str, Any]:
    images = [
        {"bytes": content, "path": file_beside(image)}
        for image, content in zip(item.images, pictures, strict=True)
    ]
    return {**asdict(item), "image": images[0], "images": images}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file that tells nothing of this machine: no time, no owner."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    tar.addfile(member, io.BytesIO(content))

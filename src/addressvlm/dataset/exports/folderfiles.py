"""Formats that keep pictures as files beside JSON: LLaVA, ShareGPT (LLaMA-Factory), image folders."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from addressvlm.dataset.exports.items import Export, Item
from addressvlm.dataset.exports.naming import HUB_SPLITS, hub_config, slug
from addressvlm.folders import write_atomically, write_json

IMAGE = "<image>"
_TRAINING = ("alignment", "train")


def write_llava(export: Export) -> None:
    """LLaVA's JSON: conversations for training, questions a line (with their truths) for val and test."""
    for part in _TRAINING:
        write_array(export.out / f"{part}.json", _llava(export, part))
    for part in ("val", "test"):
        write_lines(export.out / f"{part}.jsonl", _llava_questions(export, part))


def write_sharegpt(export: Export) -> None:
    """ShareGPT's conversations with the `dataset_info.json` that LLaMA-Factory wants."""
    columns = {"messages": "conversations", "images": "images"}
    described = {}
    for part in (*_TRAINING, "val", "test"):
        write_array(export.out / f"{part}.json", _sharegpt(export, part))
        described[f"{slug(export.about['city'])}_{part}"] = {
            "file_name": f"{part}.json",
            "formatting": "sharegpt",
            "columns": columns,
        }
    write_json(export.out / "dataset_info.json", described)


def write_imagefolder(export: Export) -> None:
    """A folder of pictures a split with `metadata.jsonl`, as `load_dataset` of Hugging Face reads it."""
    for part, split in export.parts(HUB_SPLITS):
        folder = export.out / hub_config(part) / split
        folder.mkdir(parents=True, exist_ok=True)
        write_lines(folder / "metadata.jsonl", _metadata(export, part, folder))


def write_array(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as one JSON array, a row a line, never all in memory, atomically."""
    with write_atomically(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("[")
        for number, row in enumerate(rows):
            file.write(",\n" if number else "\n")
            file.write(_json(row))
        file.write("\n]\n")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines, atomically."""
    with write_atomically(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(f"{_json(row)}\n" for row in rows)


def save_pictures(folder: Path, files: Iterable[str], contents: Iterable[bytes]) -> None:
    """Write pictures under `folder`, atomically; one that is there already is not written again."""
    for file, content in zip(files, contents, strict=True):
        path = folder / file
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(path, durable=False) as temporary:
                temporary.write_bytes(content)


def file_beside(image: str) -> str:
    """The name of a picture in a folder of one kind: `maps/L1.jpg` and `photos/L1.jpg` stay apart."""
    path = PurePosixPath(image)
    return f"map-{path.stem}.jpg" if path.parent.name == "maps" else f"{path.stem}.jpg"


def _llava(export: Export, part: str) -> Iterator[dict[str, Any]]:
    for item, pictures in export.items(part, without=IMAGE):
        files = _save(export, item, pictures)
        image: str | list[str] = files[0] if len(files) == 1 else files
        yield {"id": item.photo, "image": image, "conversations": _conversation(item)}


def _llava_questions(export: Export, part: str) -> Iterator[dict[str, Any]]:
    for item, pictures in export.items(part, without=IMAGE):
        files = _save(export, item, pictures)
        for number, turn in enumerate(item.turns):
            yield {
                "question_id": f"{item.photo}-{number}",
                "image": files[0],
                "text": turn.question,
                "category": f"{turn.kind} {turn.level}",
                "options": list(turn.options),
                "answer": turn.answer,
            }


def _sharegpt(export: Export, part: str) -> Iterator[dict[str, Any]]:
    for item, pictures in export.items(part, without=IMAGE):
        yield {"conversations": _conversation(item), "images": _save(export, item, pictures)}


def _metadata(export: Export, part: str, folder: Path) -> Iterator[dict[str, Any]]:
    single = export.pictures_each(part) == 1
    for item, pictures in export.items(part):
        files = [file_beside(image) for image in item.images]
        save_pictures(folder, files, pictures)
        where = {"file_name": files[0]} if single else {"file_names": files}
        about = {name: getattr(item, name) for name in ("photo", "location", "district", "street")}
        yield {**where, **about, "turns": [asdict(turn) for turn in item.turns]}


def _conversation(item: Item) -> list[dict[str, str]]:
    """Questions and answers in turn; the pictures stand before the first question."""
    turns: list[dict[str, str]] = []
    for turn in item.turns:
        before = "" if turns else f"{IMAGE}\n" * len(item.images)
        turns += [{"from": "human", "value": before + turn.question}, {"from": "gpt", "value": turn.answer}]
    return turns


def _save(export: Export, item: Item, pictures: tuple[bytes, ...]) -> list[str]:
    save_pictures(export.out, item.images, pictures)
    return list(item.images)


def _json(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)

"""Data sets for benches: pictures from anywhere, seven rounds of questions that mean nothing."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from addressvlm.dataset.tables import write_table
from addressvlm.folders import open_step
from addressvlm.imagery.opening import save_jpeg

_BLOBS = 24  # of the side of a picture
_GRAIN = 10.0  # grey levels; together with the blobs, a JPEG as large as one of a street


def synthetic_dataset(folder: Path, *, photos: int, size_px: int = 336) -> Path:
    """A data set of square pictures that cost as much to decode as photos, all of them different."""
    return make_dataset(folder, {"photos": photos, "size_px": size_px}, partial(_pictures, photos, size_px))


def make_dataset(folder: Path, config: Mapping[str, Any], pictures: Callable[[Path], Sequence[str]]) -> Path:
    """A data set of what `pictures` writes into the folder it is given; it returns the paths under it.

    Each has an alignment sample and a conversation of seven rounds.
    """
    with open_step(folder, "dataset", config) as step:
        if step.summary is not None:
            return folder
        (folder / "images").mkdir(exist_ok=True)
        rows: list[dict[str, Any]] = [
            {"photo": f"p{number:04}", "location": f"l{number}", "images": [file]}
            for number, file in enumerate(pictures(folder))
        ]
        address = {"street": "", "district": "Old Town", "map_names": [""]}
        caption = "The photo was taken here, because the house on the left stands at the corner. " * 4
        write_table(
            folder, "alignment", [row | address | {"question": "Where?", "answer": caption} for row in rows]
        )
        write_table(
            folder, "train", [row | {"street": "", "district": "", "turns": _turns()} for row in rows]
        )
        pq.write_table(pa.table({"name": ["Old Street"]}), folder / "gazetteer.parquet")
        about = {"city": "Colours", "levels": ["district", "street"], "attribution": ""}
        step.finish({"photos": len(rows), **about})
    return folder


def _pictures(photos: int, size_px: int, folder: Path) -> list[str]:
    names = []
    for number in range(photos):
        dice = np.random.default_rng(number)
        blobs = Image.fromarray(dice.integers(0, 256, (_BLOBS, _BLOBS, 3), np.uint8))
        smooth = np.asarray(blobs.resize((size_px, size_px), Image.Resampling.BICUBIC), np.float32)
        noisy = np.clip(smooth + dice.normal(0, _GRAIN, smooth.shape), 0, 255).astype(np.uint8)
        names.append(f"images/p{number:04}.jpg")
        save_jpeg(Image.fromarray(noisy), folder / names[-1])
    return names


def _turns() -> list[dict[str, Any]]:
    def turn(number: int) -> dict[str, Any]:
        question = (
            f"Which of the streets of the Old Town is shown in this photo, asked for the {number}. time?"
        )
        asked = {"kind": "generation", "level": "street", "question": question, "options": []}
        return {**asked, "answer": f"Street {number}"}

    return [turn(number) for number in range(1, 8)]

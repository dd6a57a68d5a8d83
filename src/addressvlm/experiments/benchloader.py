"""How fast training gets its pictures: decoded with Pillow the plain way, decoded by us, out of shards.

All of it is the work of one process on one core, with files in the memory that the system keeps of them.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from addressvlm.dataset.tables import read_conversations, read_images
from addressvlm.experiments.synthetic import synthetic_dataset
from addressvlm.model.backbone import Backbone
from addressvlm.model.preprocessing import Preprocessing
from addressvlm.model.presets import PRESETS
from addressvlm.model.tokenizer import mini_tokenizer
from addressvlm.training.batches import Conversations, collate
from addressvlm.training.shards import Shards, cut_shards, decoded, open_shards

STAGE = "localization"
MODELS = ("mini", "llava-phi3-mini")  # pictures of 144 and of 336 px


def reading_rates(dataset: Path, preprocessing: Preprocessing, *, rounds: int) -> dict[str, Any]:
    """Pictures a second as a tower reads them, three ways in turn, and whether all give the same pixels."""
    cut_shards(dataset, STAGE, preprocessing, workers=1)
    files = [dataset.absolute() / name for name in read_images(dataset, STAGE)]
    ways: dict[str, Callable[[Path], npt.NDArray[np.uint8]]] = {
        "plain": partial(_plain, preprocessing),
        "decoded": partial(decoded, preprocessing=preprocessing),
        "shards": _opened(dataset, preprocessing).pixels,
    }
    rates = _rates({name: partial(_all, way, files) for name, way in ways.items()}, len(files), rounds)
    return {
        "pictures": len(files),
        "pictures_a_second": rates,
        "faster": rates["shards"] / rates["plain"],
        "same_pixels": all(
            np.array_equal(_plain(preprocessing, file), way(file)) for file in files for way in ways.values()
        ),
    }


def loader_rates(*, pictures: int = 64, batch: int = 16, rounds: int = 5) -> dict[str, dict[str, Any]]:
    """Pictures a second that one process makes into batches, text and all, for each of `MODELS`."""
    return {name: _loader_rates(name, pictures, batch, rounds) for name in MODELS}


def _loader_rates(name: str, pictures: int, batch: int, rounds: int) -> dict[str, Any]:
    tokenizer, chosen = mini_tokenizer(), PRESETS[name]
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(chosen.config(tokenizer))
    backbone = Backbone(model, tokenizer, chosen.preprocessing, name)
    size_px = chosen.preprocessing.size_px
    with tempfile.TemporaryDirectory() as scratch:
        data = synthetic_dataset(Path(scratch) / "data", photos=pictures, size_px=size_px)
        cut_shards(data, STAGE, chosen.preprocessing, workers=1)
        conversations = partial(
            Conversations, read_conversations(data, STAGE), backbone, seed=0, max_length=1472, memory_bytes=0
        )
        lanes = {
            "decoded": conversations(),
            "shards": conversations(shards=_opened(data, chosen.preprocessing)),
        }
        rates = _rates(
            {lane: partial(_batches, samples, batch) for lane, samples in lanes.items()}, pictures, rounds
        )
        jpeg_bytes = statistics.mean(file.stat().st_size for file in data.rglob("*.jpg"))
    return {"size_px": size_px, "jpeg_bytes": jpeg_bytes, "pictures_a_second": rates}


def processes_needed(consumed: float, rates: Mapping[str, float]) -> dict[str, float]:
    """How many loader processes a training that takes so many pictures a second keeps busy, by lane."""
    return {lane: consumed / rate for lane, rate in rates.items()}


def _opened(dataset: Path, preprocessing: Preprocessing) -> Shards:
    found = open_shards(dataset, STAGE, preprocessing)
    assert found is not None, "they have just been cut"
    return found


def _batches(samples: Conversations, batch: int) -> None:
    for first in range(0, len(samples), batch):
        collate([samples[0, index] for index in range(first, min(first + batch, len(samples)))], pad_id=0)


def _all(way: Callable[[Path], object], files: Sequence[Path]) -> None:
    for file in files:
        way(file)


def _rates(lanes: Mapping[str, Callable[[], None]], pictures: int, rounds: int) -> dict[str, float]:
    """Medians of the rounds; the lanes take turns, and a round before is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in lanes}
    for number in range(rounds + 1):
        for name, lane in lanes.items():
            begun = time.perf_counter()
            lane()
            if number:
                seconds[name].append(time.perf_counter() - begun)
    return {name: pictures / statistics.median(taken) for name, taken in seconds.items()}


def _plain(preprocessing: Preprocessing, file: Path) -> npt.NDArray[np.uint8]:
    """What a data set of one's own would do: open, pad to a square, resize, to an array."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    side = max(image.size)
    square = Image.new("RGB", (side, side), preprocessing.padding)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    small = square.resize((preprocessing.size_px, preprocessing.size_px), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))

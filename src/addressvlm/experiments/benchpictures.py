"""The pictures of a data set beside the plain way of Pillow, made and read: rates, and the same geometry."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from addressvlm.cities.city import load_city
from addressvlm.dataset.alignment import labelled_map
from addressvlm.dataset.options import DatasetOptions
from addressvlm.environment import environment
from addressvlm.errors import AddressVLMError
from addressvlm.experiments.benchloader import reading_rates
from addressvlm.experiments.results import publish
from addressvlm.experiments.synthetic import make_dataset
from addressvlm.folders import write_atomically
from addressvlm.imagery.grafting import fitted, graft, graft_box
from addressvlm.imagery.opening import open_image, save_jpeg, upright_size
from addressvlm.model.preprocessing import Preprocessing
from addressvlm.work import track

_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 92, "subsampling": "4:4:4"}  # as `save_jpeg`
_DELTA = 0.5
_NO_PHOTO = (255, 0, 255)  # a colour that hardly any photo has


def bench_pictures(city: Path, *, photos: int = 100, image_px: int = 336, rounds: int = 7) -> dict[str, Any]:
    """Make the street view and the grafted picture of some photos of a city, both ways in turn; read them.

    The plain way opens map and photo for each picture; ours decodes a photo once, no finer than needed, and
    keeps the map. Ours are then read as a vision tower wants them, the plain way, as training decodes them,
    and out of shards. Rates are of one core, medians of the rounds. Raises `AddressVLMError` for a city
    without photos.
    """
    found = load_city(city)
    files = [found.photo_path(file) for file in found.photos["file"].dropna()[:photos]]
    if not files:
        raise AddressVLMError(f"{city} has no photos to make pictures of")
    options = DatasetOptions(image_px=image_px)
    location = str(found.photos["location"].iloc[0])
    satellite = labelled_map(found, location, [upright_size(file) for file in files], options).image
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / name for name in ("plain", "ours")}
        for folder in folders.values():
            folder.mkdir()
        map_file = Path(scratch) / "map.jpg"
        save_jpeg(satellite, map_file)
        with Image.open(map_file) as image:
            stored = image.convert("RGB")
        lanes: dict[str, Callable[[], None]] = {
            "plain": lambda: _plain(files, map_file, image_px, folders["plain"]),
            "ours": lambda: _ours(files, stored, image_px, folders["ours"]),
        }
        seconds: dict[str, list[float]] = {name: [] for name in lanes}
        for _ in track(range(rounds), "rounds"):
            for name, lane in lanes.items():
                begun = time.perf_counter()
                lane()
                seconds[name].append(time.perf_counter() - begun)
        training = reading_rates(
            make_dataset(Path(scratch) / "data", {}, partial(_linked, folders["ours"])),
            Preprocessing(image_px),
            rounds=rounds,
        )
        differences = [_differences(folders, number) for number in range(len(files))]
    rates = {name: len(files) / statistics.median(taken) for name, taken in seconds.items()}
    return {
        "city": found.name,
        "photos": len(files),
        "photo_sizes": sorted({"x".join(map(str, upright_size(file))) for file in files}),
        "image_px": image_px,
        "photos_a_second": rates,
        "faster": rates["ours"] / rates["plain"],
        "same_geometry": all(_same_geometry(file, satellite.width) for file in files),
        "mean_difference": float(np.mean([mean for mean, _ in differences])),  # grey levels of 255
        "photos_of_other_size": sum(not same for _, same in differences),
        "training": training,
        **environment(),
    }


def bench_pictures_table(result: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    rates, training = result["photos_a_second"], result["training"]
    reads = training["pictures_a_second"]
    return "\n".join(
        [
            f"{result['photos']} photos of {result['city']}, pictures of {result['image_px']} px, one core.",
            "",
            "| | photos a second (street view and grafted picture) |",
            "|---|---|",
            f"| each picture opened with Pillow | {rates['plain']:.0f} |",
            f"| decoded once, no finer than needed | {rates['ours']:.0f} |",
            "",
            f"{result['faster']:.2f} times as fast; "
            f"geometry {'the same' if result['same_geometry'] else 'DIFFERS'}, "
            f"pixels differ by {result['mean_difference']:.2f} of 255 on average.",
            "",
            f"The {training['pictures']} pictures as a vision tower of {result['image_px']} px reads them, "
            "files in memory:",
            "",
            "| | pictures a second |",
            "|---|---|",
            f"| opened, padded, resized, to an array, with Pillow | {reads['plain']:.0f} |",
            f"| as training decodes them | {reads['decoded']:.0f} |",
            f"| out of shards | {reads['shards']:.0f} |",
            "",
            f"Out of shards {training['faster']:.1f} times as fast as the first; "
            f"pixels {'the same' if training['same_pixels'] else 'DIFFER'}.",
            "",
        ]
    )


def publish_bench_pictures(result: Mapping[str, Any], folder: Path, command: str) -> None:
    """Write bench-pictures.json and bench-pictures.md into a folder."""
    publish(dict(result), folder / "bench-pictures.json", command)
    with write_atomically(folder / "bench-pictures.md") as temporary:
        temporary.write_text(bench_pictures_table(result), "utf-8")


def _plain(files: Sequence[Path], map_file: Path, image_px: int, out: Path) -> None:
    for number, file in enumerate(files):
        with Image.open(file) as image:
            photo = image.convert("RGB")
        size = fitted(photo.size, min(image_px, max(photo.size)))
        photo.resize(size, Image.Resampling.BICUBIC).save(out / f"{number}.jpg", **_JPEG)
        with Image.open(map_file) as image, Image.open(file) as view:
            grafted = _pasted(image.convert("RGB"), view.convert("RGB"))
        grafted.save(out / f"{number}-grafted.jpg", **_JPEG)


def _pasted(satellite: Image.Image, photo: Image.Image) -> Image.Image:
    left, top, right, bottom = graft_box(satellite.width, photo.size, _DELTA)
    pasted = satellite.copy()
    pasted.paste(photo.resize((right - left, bottom - top), Image.Resampling.BICUBIC), (left, top))
    return pasted


def _ours(files: Sequence[Path], satellite: Image.Image, image_px: int, out: Path) -> None:
    for number, file in enumerate(files):
        size = upright_size(file)
        photo = open_image(file, needed_px=image_px)
        small = photo.resize(fitted(size, min(image_px, max(size))), Image.Resampling.BICUBIC)
        save_jpeg(small, out / f"{number}.jpg")
        save_jpeg(graft(satellite, photo, _DELTA, photo_size=size), out / f"{number}-grafted.jpg")


def _linked(made: Path, dataset: Path) -> list[str]:
    """The pictures that a lane made, in the folder of a data set."""
    names = [f"images/{file.name}" for file in sorted(made.glob("*.jpg"))]
    for name in names:
        os.link(made / Path(name).name, dataset / name)
    return names


def _differences(folders: Mapping[str, Path], number: int) -> tuple[float, bool]:
    """Mean difference of the two pictures of a photo between the lanes, and whether the sizes agree."""
    means, same = [], True
    for name in (f"{number}.jpg", f"{number}-grafted.jpg"):
        one, other = (np.asarray(Image.open(folder / name), np.int16) for folder in folders.values())
        same &= one.shape == other.shape
        means.append(float(np.abs(one - other).mean()) if one.shape == other.shape else 255.0)
    return float(np.mean(means)), same


def _same_geometry(file: Path, side_px: int) -> bool:
    """Whether exactly the same pixels of a map are covered, whichever way the photo was decoded."""
    bare = Image.new("RGB", (side_px, side_px), _NO_PHOTO)
    small = graft(bare, open_image(file, needed_px=side_px), _DELTA, photo_size=upright_size(file))
    whole = _pasted(bare, open_image(file))
    one, other = (np.all(np.asarray(image) == _NO_PHOTO, axis=2) for image in (small, whole))
    return bool(np.array_equal(one, other))

"""The pictures of a data set, one location after the other, in several processes.

A finished location leaves a part: what became of its photos, and its alignment samples. A rerun makes only
the locations that have none.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from PIL import Image

from addressvlm.cities.city import City, load_city
from addressvlm.dataset.alignment import NoImagery, View, alignment_samples
from addressvlm.dataset.describing import Describe
from addressvlm.dataset.files import grafted_file, map_file, photo_file, save_picture, stitched_file
from addressvlm.dataset.options import DatasetOptions
from addressvlm.errors import AddressVLMError
from addressvlm.folders import read_json, sha256, write_json
from addressvlm.imagery.grafting import fitted
from addressvlm.imagery.opening import open_image, upright_size
from addressvlm.work import Workers, in_processes, track

PARTS = ".parts"


@dataclass(frozen=True)
class Task:
    """What is the same for all locations. `fingerprint` is the city's: a city built anew is read anew."""

    city: Path
    fingerprint: str
    out: Path
    options: DatasetOptions
    describe: Describe


@dataclass(frozen=True)
class Place:
    """A location and those of its photos that the data set takes; only training ones are aligned.

    `elsewhere` is another training location, for the control that shows its map instead.
    """

    location: str
    photos: tuple[str, ...]
    training: bool
    elsewhere: str = ""


@dataclass(frozen=True)
class Part:
    """What became of a place: rows of the alignment table, and reasons by photo for what could not be opened.

    `without_map` says why a training location has no samples, or is empty; `pictures` are the digests of the
    files made, by path.
    """

    samples: Sequence[dict[str, Any]]
    skipped: dict[str, str]
    without_map: str
    pictures: dict[str, str]


def make_pictures(task: Task, places: Sequence[Place], workers: Workers) -> Iterator[Part]:
    """Make what is still missing; the parts come in the order of the places."""
    (task.out / PARTS).mkdir(exist_ok=True)
    done = in_processes(partial(_make_place, task), places, workers)
    yield from track(done, "pictures by location", total=len(places))


def _make_place(task: Task, place: Place) -> Part:
    path = task.out / PARTS / f"{place.location}.json"
    if path.exists():
        before = read_json(path)
        made = before.get("pictures")
        # Parts are flushed to disk and pictures are not: after a power cut a picture may be gone or empty.
        if made and _digests(task.out, made) == made:
            return Part(**before)
    city = _city(task.city, task.fingerprint)
    views, skipped = _open_views(city, place, task.options.image_px)
    for view in views:
        picture = _at_most(task.options.image_px, view)
        save_picture(picture, task.out, photo_file(view.row["photo"]), city.attribution)
    samples: list[dict[str, Any]] = []
    without_map = ""
    if place.training and views:
        try:
            made = alignment_samples(
                city, views, task.out, task.options, task.describe, elsewhere=place.elsewhere
            )
            samples = [asdict(sample) for sample in made]
        except NoImagery as error:
            without_map = _without_paths(error, city)
    part = Part(samples, skipped, without_map, _digests(task.out, _files(place)))
    write_json(path, asdict(part))
    return part


def _files(place: Place) -> list[str]:
    """All files that a place may have."""
    each = (photo_file, grafted_file, stitched_file)
    return [map_file(place.location), *(file(photo) for photo in place.photos for file in each)]


def _digests(out: Path, files: Iterable[str]) -> dict[str, str]:
    """The digests of those files that are there."""
    return {file: sha256(out / file) for file in files if (out / file).is_file()}


@lru_cache(maxsize=1)
def _city(folder: Path, fingerprint: str) -> City:
    return load_city(folder)


def _open_views(city: City, place: Place, needed_px: int) -> tuple[list[View], dict[str, str]]:
    here = city.photos[city.photos["location"] == place.location].sort_values("photo")
    views, skipped = [], {}
    for _, row in here[here["photo"].isin(place.photos)].iterrows():
        try:
            path = city.photo_path(row["file"])
            views.append(View(row, open_image(path, needed_px=needed_px), upright_size(path)))
        except AddressVLMError as error:
            skipped[row["photo"]] = _without_paths(error, city)
    return views, skipped


def _at_most(longer_px: int, view: View) -> Image.Image:
    """The view, made smaller if its longer side has more pixels than that; never larger."""
    size = fitted(view.size, min(longer_px, max(view.size)))
    return view.image if view.image.size == size else view.image.resize(size, Image.Resampling.BICUBIC)


def _without_paths(error: AddressVLMError, city: City) -> str:
    # Summaries hold no path of this machine.
    return str(error).replace(f"{city.folder}/", "")

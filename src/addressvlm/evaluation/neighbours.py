"""What one would do without a language model: take the address of the most similar training photo.

A photo is described by its colours (histogram of 8 x 8 x 8 RGB bins, square roots) and by its layout (16 x 16
thumbnail, mean colour removed), each of length one; similarity is the cosine. Both were chosen once, as the
plainest descriptions there are, and never tuned.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from addressvlm.dataset.answers import LETTERS, joint_answer
from addressvlm.dataset.questions import asks_for
from addressvlm.imagery.opening import open_image
from addressvlm.work import in_processes

BINS = 8
THUMBNAIL_PX = 16
_SIMILARITIES_AT_ONCE = 32_000_000

Features = npt.NDArray[np.float32]


def photo_features(image: Image.Image) -> Features:
    """Colours and layout of one photo: (BINS³ + 3 · THUMBNAIL_PX²,), of length √2."""
    pixels = np.asarray(image.convert("RGB"), np.intp).reshape(-1, 3) * BINS // 256
    colours = np.sqrt(np.bincount(pixels @ (BINS * BINS, BINS, 1), minlength=BINS**3))
    small = image.convert("RGB").resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
    layout = np.asarray(small, np.float64).reshape(-1, 3)
    return np.concatenate([_unit(colours), _unit((layout - layout.mean(axis=0)).ravel())]).astype(np.float32)


def features_of(paths: Sequence[Path], workers: int | None = None) -> Features:
    """(photos, features), computed in several processes when there are many."""
    workers = workers if len(paths) > 1000 else 1
    return np.stack(list(in_processes(_features_of_file, paths, workers)))


def nearest(queries: Features, known: Features) -> npt.NDArray[np.intp]:
    """For each query the index of the most similar known row (the first of equals)."""
    rows = max(1, _SIMILARITIES_AT_ONCE // len(known))
    parts = [
        np.argmax(queries[begin : begin + rows] @ known.T, axis=1) for begin in range(0, len(queries), rows)
    ]
    return np.concatenate(parts)


def neighbour_addresses(
    train: pd.DataFrame, questions: pd.DataFrame, dataset: Path, workers: int | None = None
) -> dict[str, tuple[str, str]]:
    """(district, street) of the most similar training photo, by asked photo.

    `train` has a row a photo, `questions` a row a question, both with `photo` and `images` (paths under
    `dataset`); `train` also with `district` and `street`. Only the first picture of a photo is looked at.
    """
    photos = questions.drop_duplicates("photo")
    known, asked = (
        features_of([dataset / images[0] for images in table["images"]], workers) for table in (train, photos)
    )
    districts, streets = train["district"].tolist(), train["street"].tolist()
    found = nearest(asked, known)
    return {
        photo: (districts[index], streets[index]) for photo, index in zip(photos["photo"], found, strict=True)
    }


def answer_by_address(
    questions: pd.DataFrame,
    addresses: dict[str, tuple[str, str]],
    names: dict[str, list[str]],
    *,
    seed: int = 0,
) -> list[str]:
    """The answers of someone who takes each photo to be at its entry in `addresses` (district, street).

    `names` are all names by level, so that a judgment about Oak Street Bridge is not taken for one about Oak
    Street. Where no option is the believed name, a letter is drawn.
    """
    generator = np.random.default_rng(seed)

    def answer(photo: str, kind: str, level: str, question: str, options: Sequence[str]) -> str:
        district, street = addresses[photo]
        if kind == "joint":
            return joint_answer(district, street)
        name = district if level == "district" else street
        if kind == "judgment":
            return "Yes" if asks_for(question, name, names[level]) else "No"
        if kind == "multiple_choice":
            fitting = [index for index, option in enumerate(options) if option == name]
            return LETTERS[fitting[0] if fitting else int(generator.integers(len(options)))]
        return name

    columns = (questions[column].tolist() for column in ("photo", "kind", "level", "question", "options"))
    return [answer(*row) for row in zip(*columns, strict=True)]


def _features_of_file(path: Path) -> Features:
    return photo_features(open_image(path))


def _unit(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of length one; a picture of one colour has no layout and stays zero."""
    length = np.linalg.norm(values)
    return values / length if length > 0 else values

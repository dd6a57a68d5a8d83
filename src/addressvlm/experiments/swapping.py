"""Does an aligned model look at the photo, or only at the map that the photo lies on?

Alignment (Sec. 3.2) shows a photo on a map on which its street is written, in the middle. Whoever reads the
name nearest to the middle answers most of these questions without the photo, and learns nothing about it. So
the same questions are asked with photos of other places on the maps: what is answered then?
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from addressvlm.dataset.files import map_file, photo_file
from addressvlm.dataset.labelcheck import Names
from addressvlm.dataset.tables import read_config, read_table
from addressvlm.errors import AddressVLMError
from addressvlm.imagery.grafting import graft
from addressvlm.imagery.opening import open_image
from addressvlm.inference.localizer import Localizer
from addressvlm.inference.prompts import Request
from addressvlm.work import track

_PHOTOS = 100
_TOKENS = 40  # the address comes first


def swap_photos(run: Path, dataset: Path, *, photos: int = _PHOTOS, seed: int = 0) -> dict[str, float]:
    """Ask an aligned model about its training pictures, and about the same maps with photos of other streets.

    Every photo is drawn once at most, and the other one is of a street that is not written on the map.
    Returns how many photos were `asked` about, and percent of the answers that name first: with its own photo
    the right street (`own`); with the other photo the street of the map (`map`) or that of the photo
    (`photo`). Raises `AddressVLMError` where no two photos have streets that are not on each other's maps.
    """
    table = read_table(dataset, "alignment").to_pandas()
    rng = np.random.default_rng(seed)
    pairs = list(_pairs(table, photos, rng))
    if not pairs:
        raise AddressVLMError(f"no map of {dataset} leaves out the street of any other photo")
    delta = float(read_config(dataset)["delta"])
    asked = [
        Request((_grafted(dataset, own["location"], photo, delta),), own["question"])
        for own, other in pairs
        for photo in (own["photo"], other["photo"])
    ]
    localizer = Localizer.load(run)
    answers = list(track(localizer.answer(asked, max_new_tokens=_TOKENS), "photos or maps", total=len(asked)))
    names = Names.read(dataset / "gazetteer.parquet")
    said = [_first_street(names, answer) for answer in answers]
    own = [row["street"] in streets for (row, _), streets in zip(pairs, said[::2], strict=True)]
    by_map = [row["street"] in streets for (row, _), streets in zip(pairs, said[1::2], strict=True)]
    by_photo = [row["street"] in streets for (_, row), streets in zip(pairs, said[1::2], strict=True)]
    return {
        "asked": len(pairs),
        **{
            key: 100 * float(np.mean(right))
            for key, right in (("own", own), ("map", by_map), ("photo", by_photo))
        },
    }


def _pairs(
    table: pd.DataFrame, photos: int, rng: np.random.Generator
) -> Iterator[tuple[pd.Series, pd.Series]]:
    for place in rng.permutation(len(table))[:photos]:
        own = table.iloc[place]
        others = table[~table["street"].isin([own["street"], *own["map_names"]])]
        if len(others):
            yield own, others.iloc[int(rng.integers(len(others)))]


def _grafted(dataset: Path, location: str, photo: str, delta: float) -> Image.Image:
    satellite, street_view = (open_image(dataset / file) for file in (map_file(location), photo_file(photo)))
    return graft(satellite, street_view, delta)


def _first_street(names: Names, answer: str) -> set[str]:
    """The street that an answer names first, or the streets that are spelt so."""
    for mention in names.found(answer):
        streets = {name for level, name in mention.names if level == "street"}
        if streets:
            return streets
    return set()

"""Pitts250k as its authors give it: images by plain names, their places in MATLAB files beside them.

000/000829_pitch1_yaw1.jpg               one of the 24 views of panorama 829 of the database
queries_real/000/000546_pitch2_yaw12.jpg a query; the number 546 is another place in the database
groundtruth/imagelist.txt                the database images, 24 lines a place
groundtruth/pittsburgh_database_10586_utm.mat   `Cdb`, UTM of the places, 2 x 10586
groundtruth/querylist.txt, groundtruth/pittsburgh_query_1000_utm.mat (`Cq`)   the same of the queries
"""

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyproj

from addressvlm.cities.photos import Offer
from addressvlm.errors import AddressVLMError
from addressvlm.geo.places import Floats

_NAME = re.compile(r"(\d{6})_pitch(\d)_yaw(\d{1,2})\.jpg")
_UTM = "EPSG:32617"
_QUERIES = "queries_real"


@dataclass(frozen=True)
class _Part:
    """Where the places of the database, or of the queries, are written."""

    names: str
    places: str
    matrix: str


_DATABASE = _Part("imagelist.txt", "pittsburgh_database_10586_utm.mat", "Cdb")
_QUERY = _Part("querylist.txt", "pittsburgh_query_1000_utm.mat", "Cq")


def has_pitts_name(name: str) -> bool:
    """Whether a file is named as the images of Pitts250k are."""
    return _NAME.fullmatch(name.rpartition("/")[2]) is not None


def pitts_key(name: str) -> str:
    """What a path of Pitts250k says whatever it begins with: `queries_real/` or nothing, folder, file."""
    folder, _, file = name.rpartition("/")
    query = f"{_QUERIES}/" if _QUERIES in folder.split("/") else ""
    return f"{query}{int(file[:6]) // 1000:03d}/{file}"


def pitts_offers(folder: Path, found: Sequence[Offer]) -> list[Offer]:
    """The photos of a folder with their places, the views of a panorama one behind the other.

    All views of one panorama are one location. Where a view looks is only known relative to the others, so no
    heading is given. Raises `AddressVLMError` where the lists or the coordinates are missing or damaged.
    """
    keys = [pitts_key(offer.source) for offer in found]
    places: dict[str, tuple[float, float]] = {}
    for part, prefix in ((_DATABASE, ""), (_QUERY, f"{_QUERIES}/")):
        if any(key.startswith(_QUERIES) == bool(prefix) for key in keys):
            places |= {prefix + name: place for name, place in _places(folder, part).items()}
    offers = []
    for key, offer in sorted(zip(keys, found, strict=True), key=lambda pair: _in_turn(pair[0])):
        location = key.rsplit("_pitch", 1)[0]
        if key in places:
            lat, lon = places[key]
            offers.append(replace(offer, lat=lat, lon=lon, location=location))
        else:
            offers.append(replace(offer, location=location, reason="is in no list of Pitts250k"))
    return offers


def _in_turn(key: str) -> tuple[bool, int, int, int]:
    found = _NAME.fullmatch(key.rpartition("/")[2])
    assert found, "only names of Pitts250k come here"
    number, pitch, yaw = (int(part) for part in found.groups())
    return key.startswith(_QUERIES), number, pitch, yaw


def _places(folder: Path, part: _Part) -> dict[str, tuple[float, float]]:
    """Latitude and longitude of every image of a part, by its path."""
    names_file, places_file = (_beside(folder, name) for name in (part.names, part.places))
    names = names_file.read_text("utf-8", "replace").split()
    utm = _matrix(places_file, part.matrix)
    views = len(names) // max(1, utm.shape[1])
    if views * utm.shape[1] != len(names) or views == 0:
        raise AddressVLMError(f"{names_file} names {len(names)} images of {utm.shape[1]} places: one is cut")
    to_degrees = pyproj.Transformer.from_crs(_UTM, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(utm[0], utm[1])
    return {
        pitts_key(name.rpartition("/")[2]): (float(lat[number // views]), float(lon[number // views]))
        for number, name in enumerate(names)
        if has_pitts_name(name)
    }


def _beside(folder: Path, name: str) -> Path:
    """A file of the ground truth, in the folder of the photos or beside it."""
    for place in (folder / "groundtruth", folder.parent / "groundtruth", folder):
        if (place / name).is_file():
            return place / name
    raise AddressVLMError(
        f"the photos in {folder} are named as those of Pitts250k, but groundtruth/{name} is not there, which "
        "holds their places; it comes with the data set (docs/data-sets.md)"
    )


def _matrix(path: Path, name: str) -> Floats:
    """A matrix (2, n) of a MATLAB file."""
    try:
        from mat4py import loadmat
    except ImportError:
        raise AddressVLMError(
            f'{path.name} is a MATLAB file: install what reads it with pip install "addressvlm[pitts]"'
        ) from None
    try:
        with path.open("rb") as file:
            matrix = np.array(loadmat(file)[name], np.float64)
    except (OSError, ValueError, TypeError, LookupError, struct.error, zlib.error) as error:
        raise AddressVLMError(f"{path} holds no matrix {name}, it is cut or damaged: {error}") from error
    except Exception as error:  # the reader's own class is a plain Exception
        raise AddressVLMError(f"{path} cannot be read as a MATLAB file: {error}") from error
    if matrix.ndim != 2 or matrix.shape[0] != 2:
        raise AddressVLMError(f"{path}: {name} is {matrix.shape}, not 2 rows of UTM")
    return matrix

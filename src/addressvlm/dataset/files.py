"""Where a data set keeps its pictures: paths under its folder, as the tables name them."""

from pathlib import Path

from PIL import Image

from addressvlm.imagery.opening import save_jpeg


def photo_file(photo: str) -> str:
    """A street view."""
    return f"images/photos/{photo}.jpg"


def map_file(location: str) -> str:
    """The satellite picture of a location, with street names where they are wanted."""
    return f"images/maps/{location}.jpg"


def grafted_file(photo: str) -> str:
    """A street view grafted on its map."""
    return f"images/grafted/{photo}.jpg"


def stitched_file(photo: str) -> str:
    """A map and a street view side by side."""
    return f"images/stitched/{photo}.jpg"


def save_picture(image: Image.Image, dataset: Path, file: str, rights: str) -> None:
    """Write a picture where the tables will name it, atomically; `rights` says whom to name for it."""
    path = dataset / file
    path.parent.mkdir(parents=True, exist_ok=True)
    save_jpeg(image, path, rights)

"""From a picture of any shape to the square of pixels that a vision tower reads."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from addressvlm.errors import UsageError
from addressvlm.folders import read_json, write_json

if TYPE_CHECKING:
    import torch

PREPROCESSING = "preprocessing.json"

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
SIGLIP_MEAN = SIGLIP_STD = (0.5, 0.5, 0.5)

_USUAL = {"image_mean": CLIP_MEAN, "image_std": CLIP_STD}  # where a processor says nothing

# The padded square of a panorama would take gigabytes; longer pictures are shrunk first.
_LONGEST_PX = 4096

Fit = Literal["pad", "crop", "squash"]


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the input of the vision tower; saved with the model.

    `fit` makes it square: `pad` with the mean colour around it (LLaVA and the paper's tool), `crop` to the
    middle (CLIP), or `squash`. The paper does not say which; a grafted picture is square already. `mean` and
    `std` are per channel, of values in 0..1.
    """

    size_px: int
    fit: Fit = "pad"
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise UsageError(f"there is no fit {self.fit!r}; choose one of {', '.join(get_args(Fit))}")

    def pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """The picture as uint8, (3, size_px, size_px): bicubic, rounded as Pillow does."""
        image = image.convert("RGB")
        if max(image.size) > _LONGEST_PX:
            image.thumbnail((_LONGEST_PX, _LONGEST_PX))  # of the copy
        square = _FITTED[self.fit](self, image)
        return np.ascontiguousarray(np.asarray(square, np.uint8).transpose(2, 0, 1))

    def normalise(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """uint8 (n, 3, h, w) on any device → float32 of that shape, as the tower expects it."""
        import torch  # processes that only cut pictures start without it

        mean, std = (torch.tensor(v, device=pixels.device).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return (pixels.float() / 255 - mean) / std

    @property
    def padding(self) -> tuple[int, int, int]:
        """The colour around pictures that are not square: the mean of each channel, of 255."""
        red, green, blue = (int(channel * 255) for channel in self.mean)
        return red, green, blue

    def _pad(self, image: Image.Image) -> Image.Image:
        side = max(image.size)
        square = Image.new("RGB", (side, side), self.padding)
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        return self._squash(square)

    def _crop(self, image: Image.Image) -> Image.Image:
        short, long = sorted(image.size)
        # CLIP's processor truncates the longer side, it does not round.
        resized = int(self.size_px * long / short)
        size = (self.size_px, resized) if image.width <= image.height else (resized, self.size_px)
        left, top = (size[0] - self.size_px) // 2, (size[1] - self.size_px) // 2
        return _resize(image, size).crop((left, top, left + self.size_px, top + self.size_px))

    def _squash(self, image: Image.Image) -> Image.Image:
        return _resize(image, (self.size_px, self.size_px))

    def save(self, folder: Path) -> None:
        """Write the settings into a model folder."""
        write_json(folder / PREPROCESSING, asdict(self))

    @staticmethod
    def load(folder: Path) -> "Preprocessing":
        """Read the settings of a model folder of ours."""
        stored: dict[str, Any] = read_json(folder / PREPROCESSING)
        return Preprocessing(stored["size_px"], stored["fit"], tuple(stored["mean"]), tuple(stored["std"]))

    @staticmethod
    def of_model(folder: Path, size_px: int) -> "Preprocessing":
        """The settings of a model folder, ours or Hugging Face's, for a model that reads `size_px` pixels.

        Hugging Face's files tell the size, and mean and deviation; pictures are padded, as LLaVA is trained,
        also where they say `do_center_crop` (a stage's `image_fit` decides otherwise).
        """
        if (folder / PREPROCESSING).is_file():
            return Preprocessing.load(folder)
        stored = _of_processor(folder)
        mean, std = (tuple(stored[key]) if key in stored else usual for key, usual in _USUAL.items())
        return Preprocessing(_size_px(stored) or size_px, "pad", mean, std)


def _of_processor(folder: Path) -> dict[str, Any]:
    """What the files of a Hugging Face processor say of pictures; {} without one."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            stored: dict[str, Any] = read_json(folder / name)
            stored = stored.get("image_processor", stored)
            if "image_processor_type" in stored or "image_mean" in stored:
                return stored
    return {}


def _size_px(stored: Mapping[str, Any]) -> int | None:
    """The side of the square that comes out of a processor, if it says one."""
    for key in ("crop_size", "size"):
        size = stored.get(key)
        if key == "crop_size" and not stored.get("do_center_crop", False):
            continue
        if isinstance(size, int):
            return size
        if isinstance(size, dict):
            found = size.get("height") or size.get("shortest_edge")
            return int(found) if found else None
    return None


_FITTED = {"pad": Preprocessing._pad, "crop": Preprocessing._crop, "squash": Preprocessing._squash}


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)

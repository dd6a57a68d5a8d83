"""What parts and cities are called in the formats of others."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping

# Our part → the split that Hugging Face's libraries know; alignment samples are all for training.
HUB_SPLITS: Mapping[str, str] = {
    "alignment": "train",
    "train": "train",
    "val": "validation",
    "test": "test",
}


def hub_config(part: str) -> str:
    """The configuration that a part belongs to: the two stages have different columns."""
    return "alignment" if part == "alignment" else "localization"


def slug(name: str) -> str:
    """A name of small ASCII letters, digits and `_`: "San Francisco" becomes "san_francisco".

    A name with none of them in it gets a few digits of its digest, so that it stays one of its own.
    """
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "_", ascii_only).strip("_")
    return words or f"city_{hashlib.sha256(name.encode()).hexdigest()[:8]}"

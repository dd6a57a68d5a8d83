"""Pictures that were offered twice: left in, they would stand in training and in test."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Of 256 bits. Photos scaled to a third and compressed again differ in 5 (median) to 22 of them, different
# photos of one drive in 32 or more (measured on 157 photos of two cities).
NEAR_BITS = 12
# Of 16 parts at least one is untouched where no more than 15 bits differ, so near ones share a part.
_PARTS = 16
_PART_BITS = 16


@dataclass(frozen=True)
class Picture:
    """A picture by its name, the place it shows, the digest of its bytes and its `likeness` ("": unknown)."""

    name: str
    location: str
    sha256: str
    likeness: str


def repeated(pictures: Sequence[Picture]) -> dict[int, str]:
    """Which of the pictures (by number) repeat an earlier one, and why they are left out.

    That is a picture of the same bytes, and one that looks the same but is said to show another location.
    Of the pictures that stay, no two of different locations look the same.
    """
    bytes_of: dict[str, Picture] = {}
    parts: defaultdict[tuple[int, int], list[tuple[int, Picture]]] = defaultdict(list)
    found: dict[int, str] = {}
    for number, picture in enumerate(pictures):
        if picture.sha256 in bytes_of:
            found[number] = f"is the same picture as: {bytes_of[picture.sha256].name}"
            continue
        bits = int(picture.likeness, 16) if picture.likeness else None
        twin = None if bits is None else _twin(bits, picture.location, parts)
        if twin is not None:
            found[number] = f"looks the same, at another place, as: {twin.name}"
            continue
        bytes_of[picture.sha256] = picture
        if bits is not None:
            for part in _parts(bits):
                parts[part].append((bits, picture))
    return found


def _twin(
    bits: int, location: str, parts: defaultdict[tuple[int, int], list[tuple[int, Picture]]]
) -> Picture | None:
    """A picture of another location that looks the same, if there is one."""
    for part in _parts(bits):
        for other, picture in parts.get(part, ()):
            if picture.location != location and (bits ^ other).bit_count() <= NEAR_BITS:
                return picture
    return None


def _parts(bits: int) -> Iterator[tuple[int, int]]:
    for part in range(_PARTS):
        yield part, (bits >> (part * _PART_BITS)) & ((1 << _PART_BITS) - 1)

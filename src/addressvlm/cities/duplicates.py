"""Pictures that were offered twice: left in, they would stand in training and in test."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Of 256 bits. Photos scaled to a third and compressed again differ in 5 (median) to 22 of them, different
# photos of one drive in 32 or more (measured on 157 photos of two cities).
NEAR_BITS = 12

_PARTS = NEAR_BITS + 1  # where so many bits differ, at least one of the parts is the same
# The bits of a part come from all rows and columns of a picture: rows of sky are much the same everywhere.
_PART_OF_BIT = (np.add.outer(np.arange(16), np.arange(16)) % 16).argsort(axis=None, kind="stable")


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
    twins = _twins(pictures)
    found: dict[int, str] = {}
    for number, picture in enumerate(pictures):
        if picture.sha256 in bytes_of:
            found[number] = f"is the same picture as: {bytes_of[picture.sha256].name}"
            continue
        twin = next((twin for twin in sorted(twins.get(number, ())) if twin not in found), None)
        if twin is None:
            bytes_of[picture.sha256] = picture
        else:
            found[number] = f"looks the same, at another place, as: {pictures[twin].name}"
    return found


def _twins(pictures: Sequence[Picture]) -> dict[int, set[int]]:
    """For each picture the earlier ones of other locations that look the same."""
    known = [number for number, picture in enumerate(pictures) if picture.likeness]
    if not known:
        return {}
    raw = b"".join(bytes.fromhex(pictures[number].likeness) for number in known)
    packed = np.frombuffer(raw, np.uint64).reshape(len(known), -1)
    _, places = np.unique([pictures[number].location for number in known], return_inverse=True)
    twins: defaultdict[int, set[int]] = defaultdict(set)
    for one, other in _sharing_a_part(packed):
        near = np.bitwise_count(packed[one] ^ packed[other]).sum(axis=1) <= NEAR_BITS
        near &= places[one] != places[other]
        for a, b in zip(one[near].tolist(), other[near].tolist(), strict=True):
            twins[known[max(a, b)]].add(known[min(a, b)])
    return twins


def _sharing_a_part(
    packed: npt.NDArray[np.uint64],
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Pairs of rows with an equal part, many at a time; all pairs that differ in few bits are among them."""
    bits = np.unpackbits(packed.view(np.uint8), axis=1)
    for columns in np.array_split(_PART_OF_BIT, _PARTS):
        part = np.packbits(bits[:, columns], axis=1)
        value = np.zeros(len(part), np.int64)
        for byte in part.T:
            value = (value << 8) | byte
        order = np.argsort(value, kind="stable")
        value = value[order]
        for step in range(1, len(order)):
            equal = np.flatnonzero(value[step:] == value[:-step])
            if not len(equal):
                break
            yield order[equal], order[equal + step]

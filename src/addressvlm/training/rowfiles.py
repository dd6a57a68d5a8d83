"""Arrays of one shape in a few large files, read one at a time: more of them than memory holds.

The files are plain `.npy`, which anybody can open. Each is written beside its name and renamed, so it is
whole or absent. Nothing of them is kept in a process: all processes share what the system keeps of files.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from addressvlm.errors import AddressVLMError
from addressvlm.folders import write_atomically

Row = npt.NDArray[Any]

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER_BYTES = 128


@dataclass(frozen=True)
class RowFiles:
    """`count` arrays of a shape and a numpy `dtype`, as many in each file as `file_bytes` hold, at least one.

    The folder must exist when they are written.
    """

    folder: Path
    count: int
    shape: tuple[int, ...]
    dtype: str
    file_bytes: int = 256 << 20

    @property
    def row_bytes(self) -> int:
        """Size of one array."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def per_file(self) -> int:
        """Rows of every file but the last."""
        return max(1, self.file_bytes // self.row_bytes)

    @property
    def files(self) -> int:
        """How many files there are when all rows are written."""
        return -(-self.count // self.per_file)

    def path(self, number: int) -> Path:
        """The file of this number."""
        return self.folder / f"{number:05}.npy"

    def rows(self, number: int) -> range:
        """The numbers of the rows in a file."""
        return range(number * self.per_file, min(self.count, (number + 1) * self.per_file))

    def write(self, number: int, rows: Iterable[Row]) -> None:
        """Write a file whole; the rows may come from a generator, one is held at a time."""
        written = 0
        with write_atomically(self.path(number)) as temporary, temporary.open("wb") as file:
            file.write(self._header(number))
            for row in rows:
                assert row.shape == self.shape, "every row has the shape of all"
                file.write(np.ascontiguousarray(row, self.dtype).data)
                written += 1
            assert written == len(self.rows(number)), "a file has all of its rows"

    def is_whole(self, number: int) -> bool:
        """Whether the file is there with all its bytes, and says that it holds what it should."""
        header = self._header(number)
        try:
            with self.path(number).open("rb") as file:
                found = file.read(_HEADER_BYTES)
                size = file.seek(0, 2)
        except OSError:
            return False
        return found == header and size == _HEADER_BYTES + len(self.rows(number)) * self.row_bytes

    def read(self, row: int) -> Row:
        """A row as an array of its own."""
        number, place = divmod(row, self.per_file)
        out = np.empty(self.shape, self.dtype)
        try:
            with self.path(number).open("rb", buffering=0) as file:
                file.seek(_HEADER_BYTES + place * self.row_bytes)
                read = file.readinto(out.data.cast("B"))
        except OSError as error:
            raise AddressVLMError(f"{self.path(number)} cannot be read: {error.strerror or error}") from error
        if read != self.row_bytes:
            raise AddressVLMError(f"{self.path(number)} is torn: it ends within row {place}")
        return out

    def _header(self, number: int) -> bytes:
        """What numpy writes in front of an array, always of one length."""
        shape = (len(self.rows(number)), *self.shape)
        text = f"{{'descr': {np.dtype(self.dtype).str!r}, 'fortran_order': False, 'shape': {shape}, }}"
        room = _HEADER_BYTES - len(_MAGIC) - 2
        assert len(text) < room, "the header of an array of few dimensions is short"
        return _MAGIC + room.to_bytes(2, "little") + text.ljust(room - 1).encode("ascii") + b"\n"

"""Whether two pictures look the same: a fingerprint that outlives scaling and compression."""

import numpy as np
from PIL import Image

_COLUMNS, _ROWS = 17, 16
BITS = (_COLUMNS - 1) * _ROWS
# Of a picture with less structure (sky, night, fog) the fingerprint would be that of its noise.
_STEP = 3.0
_STEPS = 0.25


def likeness(image: Image.Image) -> str:
    """256 bits as hex: of a coarse grey copy, whether each square is lighter than the one to its right.

    "" for a picture with too little structure to be told from others by it.
    """
    grey = image.convert("L").resize((_COLUMNS, _ROWS), Image.Resampling.BOX)
    steps = np.diff(np.asarray(grey, np.float32), axis=1)  # (16, 16)
    if np.mean(abs(steps) >= _STEP) < _STEPS:
        return ""
    return np.packbits(steps < 0).tobytes().hex()

"""Randomness by name: every photo and every purpose has a generator of its own.

So what is drawn for one photo does not depend on which other photos there are.
"""

import hashlib
import json

import numpy as np


def digest(*key: str | int) -> bytes:
    """32 bytes that look random and are the same on every machine and in every process."""
    return hashlib.sha256(json.dumps(key).encode()).digest()


def generator(*key: str | int) -> np.random.Generator:
    """A generator seeded by the key, for example (seed, purpose, photo)."""
    return np.random.default_rng(int.from_bytes(digest(*key)[:16], "big"))

"""The token tree: a token sees its ancestors and nothing else, and its position is its depth.

A conversation as the paper trains it is a chain. A photo with questions that must not leak into each other is
a star: a shared beginning, and a branch for each question. The names of a city are a trie under one question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TokenTree:
    """Tokens with the index of each one's parent, which stands before it; -1 for the root."""

    ids: Sequence[int]
    parents: Sequence[int]

    def __post_init__(self) -> None:
        assert len(self.ids) == len(self.parents), "every token has a parent"
        assert all(-1 <= parent < place for place, parent in enumerate(self.parents)), "parents come first"

    @staticmethod
    def of_paths(paths: Sequence[Sequence[int]]) -> "tuple[TokenTree, list[int]]":
        """The tree whose ways down from the root are these paths, and the place of each one's last token.

        What paths have in common from their beginning on is in it once.
        """
        ids: list[int] = []
        parents: list[int] = []
        children: dict[tuple[int, int], int] = {}  # (parent, token) → place
        ends = []
        for path in paths:
            place = -1
            for token in path:
                parent = place
                place = children.setdefault((parent, token), len(ids))
                if place == len(ids):
                    ids.append(token)
                    parents.append(parent)
            ends.append(place)
        return TokenTree(ids, parents), ends

    @property
    def is_chain(self) -> bool:
        """Whether every token follows the one before it: then no mask is needed."""
        return all(parent == place - 1 for place, parent in enumerate(self.parents))

    @cached_property
    def positions(self) -> npt.NDArray[np.int64]:
        """Depth of every token, (tokens,)."""
        depths = np.zeros(len(self.ids), np.int64)
        for place, parent in enumerate(self.parents):
            depths[place] = depths[parent] + 1 if parent >= 0 else 0
        return depths

    @cached_property
    def mask(self) -> npt.NDArray[np.bool_]:
        """What each token (row) sees: its ancestors and itself, (tokens, tokens)."""
        seen = np.eye(len(self.ids), dtype=bool)
        for place, parent in enumerate(self.parents):
            if parent >= 0:
                seen[place] |= seen[parent]
        return seen

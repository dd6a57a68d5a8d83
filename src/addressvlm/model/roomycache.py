"""A cache of keys and values with room to grow: new ones are written behind the old, which stay in place.

Transformers' own puts old and new together in a new place at every step, which for short steps takes longer
than the step.
"""

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

# What is left free behind the tokens that are there: enough for an answer, little beside a picture.
_ROOM = 64


def roomy_cache() -> Cache:
    """An empty cache for any model whose layers attend to all tokens."""
    return Cache(layer_class_to_replicate=_RoomyLayer)


class _RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """`keys` and `values`, (rows, heads, tokens, width), are the used part of two larger tensors."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self._rooms = [states[:, :, :0] for states in (key_states, value_states)]
        self.keys, self.values = self._rooms
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **options: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        old = self.get_seq_length()
        end = old + key_states.shape[2]
        for number, (states, used) in enumerate(((key_states, self.keys), (value_states, self.values))):
            if end > self._rooms[number].shape[2]:
                rows, heads, width = states.shape[0], states.shape[1], states.shape[3]
                self._rooms[number] = states.new_empty(rows, heads, end + _ROOM, width)
                self._rooms[number][:, :, :old] = used
            self._rooms[number][:, :, old:end] = states
        self.keys, self.values = (room[:, :, :end] for room in self._rooms)
        return self.keys, self.values

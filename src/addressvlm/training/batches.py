"""Conversations of a data set as batches of tensors, in an order that the seed alone decides."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, Sampler

from addressvlm.dataset.tables import Conversation
from addressvlm.errors import AddressVLMError
from addressvlm.model.backbone import Backbone
from addressvlm.model.conversation import IGNORED, Encoded, Rounds, Turn, encode_conversation
from addressvlm.model.tokentree import TokenTree
from addressvlm.training.shards import Shards, decoded

# An item is asked for by (epoch, index), so that what is drawn for it depends on nothing else.
Key = tuple[int, int]


@dataclass(frozen=True)
class Sample:
    """One conversation, ready for the model; `pixels` is uint8 (pictures, 3, size, size).

    Where a tower is frozen, `features` (pictures, picture tokens, width) may stand in place of them.
    """

    photo: str
    encoded: Encoded
    pixels: npt.NDArray[np.uint8] | None
    features: torch.Tensor | None = None


class Conversations(Dataset[Sample]):
    """Conversations with their pictures: out of `shards`, or decoded once and kept while there is room.

    In every epoch the turns of a conversation come in another order: a model that always hears the street
    before the joint question learns to copy it. Of `rounds_drawn` turns, others are drawn in every epoch.
    """

    def __init__(
        self,
        conversations: Sequence[Conversation],
        backbone: Backbone,
        *,
        seed: int,
        max_length: int,
        rounds: Rounds = "chain",
        rounds_drawn: int | None = None,
        shards: Shards | None = None,
        memory_bytes: int = 2 << 30,
    ):
        if not conversations:
            raise AddressVLMError("the data set has no conversations to train on; build it from more photos")
        self._conversations = conversations
        self._backbone = backbone
        self._seed = seed
        self._rounds = rounds
        self._drawn = rounds_drawn
        self._shards = shards
        self._features: Callable[[Path], torch.Tensor] | None = None
        self._kept: dict[Path, npt.NDArray[np.uint8]] = {}
        self._room = memory_bytes // (3 * backbone.preprocessing.size_px**2)
        for conversation in conversations:
            self._require_usable(conversation, max_length)

    def __len__(self) -> int:
        return len(self._conversations)

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        conversation = self._conversations[index]
        dice = np.random.default_rng((self._seed, epoch, index))
        order = dice.permutation(len(conversation.turns))[: self._drawn]
        turns = [Turn(*conversation.turns[i]) for i in order]
        encoded = self._encode(conversation, turns)
        if self._features is not None:
            features = torch.stack([self._features(file) for file in conversation.images])
            return Sample(conversation.photo, encoded, None, features)
        return Sample(
            conversation.photo, encoded, np.stack([self.pixels(file) for file in conversation.images])
        )

    @cached_property
    def longest(self) -> int:
        """The number of the conversation with the most pictures and, of these, the longest text."""

        def length(index: int) -> tuple[int, int]:
            conversation = self._conversations[index]
            return len(conversation.images), sum(len(text) for turn in conversation.turns for text in turn)

        return max(range(len(self)), key=length)

    def _encode(self, conversation: Conversation, turns: Sequence[Turn]) -> Encoded:
        return encode_conversation(
            self._backbone.tokenizer,
            turns,
            image_tokens=self._backbone.image_tokens,
            images=len(conversation.images),
            rounds=self._rounds,
        )

    @cached_property
    def files(self) -> list[Path]:
        """All pictures, each once, sorted."""
        return sorted({file for conversation in self._conversations for file in conversation.images})

    @property
    def pictures(self) -> int:
        """How many pictures are shown in an epoch; one that several conversations share counts for each."""
        return sum(len(conversation.images) for conversation in self._conversations)

    def use_features(self, features: Callable[[Path], torch.Tensor]) -> None:
        """From now on samples have what a frozen tower made of the picture in a file, and no pixels."""
        self._features = features
        self._kept.clear()

    def pixels(self, file: Path) -> npt.NDArray[np.uint8]:
        """The picture in a file as the tower reads it, (3, size, size)."""
        if self._shards is not None:
            return self._shards.pixels(file)
        if file in self._kept:
            return self._kept[file]
        pixels = decoded(file, self._backbone.preprocessing)
        if len(self._kept) < self._room:
            self._kept[file] = pixels
        return pixels

    def _require_usable(self, conversation: Conversation, max_length: int) -> None:
        for file in conversation.images:
            if self._shards is None and not file.is_file():
                raise AddressVLMError(f"{file} does not exist; build the data set again")
        # A text has at most as many tokens as bytes, and one more; only what may be too long is encoded here.
        if sum(len(text.encode()) + 4 for turn in conversation.turns for text in turn) <= max_length:
            return
        encoded = self._encode(conversation, [Turn(*turn) for turn in conversation.turns])
        length = len(encoded.ids) - (self._backbone.image_tokens - 1) * len(conversation.images)
        if length > max_length:
            raise AddressVLMError(
                f"the conversation about {conversation.photo} has {length} text tokens; "
                f"raise max_length (now {max_length}) or build the data set with fewer rounds"
            )


class Shuffled(Sampler[Key]):
    """Every index once an epoch, in an order drawn from seed and epoch."""

    def __init__(self, length: int, seed: int):
        self._length = length
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called before an epoch begins."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Key]:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._length)
        return iter([(self._epoch, int(index)) for index in order])


def collate(samples: Sequence[Sample], *, pad_id: int) -> dict[str, Any]:
    """One batch: `input_ids` and `labels` padded on the right, `pixels` of all pictures, `photos`.

    Samples with features give `features` in place of pixels. If not all are chains: `mask` and `position_ids`
    of their trees, too.
    """
    width = max(len(sample.encoded.ids) for sample in samples)
    trees = [sample.encoded.tree for sample in samples]
    structure = {} if all(tree.is_chain for tree in trees) else _structure(trees, width)
    return {
        **structure,
        "input_ids": torch.tensor([_padded(sample.encoded.ids, width, pad_id) for sample in samples]),
        "labels": torch.tensor([_padded(sample.encoded.labels, width, IGNORED) for sample in samples]),
        **_pictures(samples),
        "photos": [sample.photo for sample in samples],
    }


def _pictures(samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
    features = [sample.features for sample in samples if sample.features is not None]
    if features:
        return {"features": torch.cat(features)}
    pixels = [sample.pixels for sample in samples if sample.pixels is not None]
    return {"pixels": torch.from_numpy(np.concatenate(pixels))}


def _structure(trees: Sequence[TokenTree], width: int) -> dict[str, torch.Tensor]:
    """What the tokens of every tree see and how deep they lie; padding sees itself."""
    mask = torch.eye(width, dtype=torch.bool).repeat(len(trees), 1, 1, 1)
    positions = torch.zeros(len(trees), width, dtype=torch.long)
    for row, tree in enumerate(trees):
        tokens = len(tree.ids)
        mask[row, 0, :tokens, :tokens] = torch.from_numpy(tree.mask)
        positions[row, :tokens] = torch.from_numpy(tree.positions)
    return {"mask": mask, "position_ids": positions}


def _padded(values: Sequence[int], width: int, filler: int) -> list[int]:
    return [*values, *[filler] * (width - len(values))]

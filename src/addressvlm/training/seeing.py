"""Pre-training of the vision tower alone, before it has a language: what it reads, recognises and compares.

Four things are learned at once, each from labels that the renderer knows for certain. Letters: which one
lies where in a patch, and which word a patch belongs to; because every patch has its own label, reading
begins within minutes, while a single answer for a whole picture teaches nothing for hours. Roads and
quarters: views of one road, or quarter, and its places seen from above lie together, those of others in the
same city apart (contrastive, as CLIP; supervised as Khosla et al. 2020). Attributes: what walls, trees and
cars there are. Places: where on the map a grafted photo was taken. The heads are thrown away afterwards.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

from addressvlm.dataset.attributes import attributes
from addressvlm.dataset.scenes import LETTERS, Name, SceneFacts, Scenes
from addressvlm.errors import UsageError
from addressvlm.model.backbone import Backbone
from addressvlm.model.conversation import encode_text
from addressvlm.training.attention import use_plain_attention
from addressvlm.training.batches import Key

UNKNOWN = -100
ROADS = 16  # roads of a city in one sample, two scenes each
LETTER_ROWS, LETTER_COLUMNS = 2, 3  # points of a patch at which its letters are asked
WORD_TOKENS = 8  # tokens of a word that each of its patches knows
_TEMPERATURE = 0.1
_SLANTING_PX = 0.2  # a box as high and as wide as this share of the picture holds a slanting word
_WORDS_AT_ONCE = 192  # patches of a batch that are asked for their word
_DEPTH = 64  # width in which words are told
_PAGES = 0.5  # share of the pictures that are pages to read from, not maps with a photo


# A picture with its letters, words, place and spot.
_Seen = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64], int, int]


@dataclass(frozen=True)
class Glimpse:
    """Scenes of one city: two of each of some roads. n scenes, p patches a picture.

    `letters` (n, p, rows·columns), `words` (n, p, WORD_TOKENS) and `places` (n) are UNKNOWN where nothing is
    asked; `spots` (n) is the patch of the place on a map without photo, or UNKNOWN; `attributes`
    (n, attributes) is 0 or 1.
    """

    views: npt.NDArray[np.uint8]  # (n, 3, size, size)
    maps: npt.NDArray[np.uint8]  # (n, 3, size, size)
    roads: npt.NDArray[np.int64]
    quarters: npt.NDArray[np.int64]
    attributes: npt.NDArray[np.float32]
    letters: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    spots: npt.NDArray[np.int64]


class Glimpses(Dataset[Glimpse]):
    """Glimpses of all cities; an epoch looks about once at every scene. Keys are (epoch, index)."""

    def __init__(self, scenes: Scenes, backbone: Backbone, *, seed: int):
        self._scenes = scenes
        self._backbone = backbone
        self._patch_px = int(backbone.model.config.vision_config.patch_size)
        drawn_px, seen_px = scenes.letters(0).shape[0], backbone.preprocessing.size_px
        if drawn_px != seen_px:
            raise UsageError(
                f"the scenes have {drawn_px} px, but {backbone.name} sees {seen_px}; make others"
            )
        self._seed = seed
        # Parsed once: place and attributes of every scene.
        self._known = [(f.place, attributes(f.view)) for f in map(scenes.facts, range(len(scenes)))]
        self._cities = [
            {road: found for road, found in roads.items() if len({self._place(one) for one in found}) > 1}
            for roads in scenes.by_city
        ]
        self._cities = [roads for roads in self._cities if len(roads) >= 2]
        if not self._cities:
            raise UsageError("no road of the scenes has two places to compare; make more locations a city")
        self.vocabulary = self._vocabulary()
        self._column = {name: column for column, name in enumerate(self.vocabulary)}

    def __len__(self) -> int:
        return max(len(self._cities), len(self._scenes) // (2 * ROADS))

    def __getitem__(self, key: Key) -> Glimpse:
        dice = np.random.default_rng((self._seed, *key))
        roads = self._cities[key[1] % len(self._cities)]
        chosen = dice.choice(len(roads), min(ROADS, len(roads)), replace=False)
        indices = [scene for road in chosen for scene in self._two_places(list(roads.values())[road], dice)]
        return self._glimpse(indices, dice)

    def _two_places(self, road: Sequence[int], dice: np.random.Generator) -> list[int]:
        first = int(dice.choice(road))
        others = [scene for scene in road if self._place(scene) != self._place(first)]
        return [first, int(dice.choice(others))]

    def _glimpse(self, indices: Sequence[int], dice: np.random.Generator) -> Glimpse:
        facts = [self._scenes.facts(index) for index in indices]
        seen = [
            self._page(i, f) if dice.random() < _PAGES else self._map(i, f)
            for i, f in zip(indices, facts, strict=True)
        ]
        known = np.zeros((len(indices), len(self.vocabulary)), np.float32)
        for row, index in zip(known, indices, strict=True):
            row[[self._column[name] for name in self._known[index][1] if name in self._column]] = 1
        return Glimpse(
            views=np.stack([self._pixels(self._scenes.picture(index, "view")) for index in indices]),
            maps=np.stack([one[0] for one in seen]),
            roads=_numbered([fact.road for fact in facts]),
            quarters=_numbered([fact.quarter for fact in facts]),
            attributes=known,
            letters=np.stack([one[1] for one in seen]),
            words=np.stack([one[2] for one in seen]),
            places=np.array([one[3] for one in seen], np.int64),
            spots=np.array([one[4] for one in seen], np.int64),
        )

    def _page(self, index: int, facts: SceneFacts) -> _Seen:
        picture = self._pixels(self._scenes.picture(index, "page"))
        letters = self._scenes.letters(index).astype(np.int64)
        return picture, self._letters(letters), self._words(facts.page), UNKNOWN, self._spot(facts)

    def _map(self, index: int, facts: SceneFacts) -> _Seen:
        picture = self._scenes.picture(index, "grafted")
        letters = np.full((self._side**2, LETTER_ROWS * LETTER_COLUMNS), UNKNOWN, np.int64)
        # In the middle there is nothing to find.
        centred = facts.at == (picture.width / 2, picture.height / 2)
        place = UNKNOWN if centred else self._spot(facts)
        return self._pixels(picture), letters, self._words(facts.names), place, UNKNOWN

    def _spot(self, facts: SceneFacts) -> int:
        """The patch of the map on which the photo was taken."""
        column, row = (min(self._side - 1, int(value / self._patch_px)) for value in facts.at)
        return row * self._side + column

    def _letters(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Letters at the points of every patch: (patches, points)."""
        step = self._patch_px / np.array([LETTER_ROWS, LETTER_COLUMNS])
        rows = ((np.arange(self._side * LETTER_ROWS) + 0.5) * step[0]).astype(int)
        columns = ((np.arange(self._side * LETTER_COLUMNS) + 0.5) * step[1]).astype(int)
        points = cells[np.ix_(rows, columns)]
        patches = points.reshape(self._side, LETTER_ROWS, self._side, LETTER_COLUMNS).transpose(0, 2, 1, 3)
        return patches.reshape(self._side**2, -1)

    def _words(self, names: Sequence[Name]) -> npt.NDArray[np.int64]:
        """Tokens of the word on a patch, filled up with the padding token: (patches, WORD_TOKENS)."""
        words = np.full((self._side, self._side, WORD_TOKENS), UNKNOWN, np.int64)
        for name in names:
            tokens = np.full(WORD_TOKENS, self._backbone.tokenizer.pad_token_id)
            ids = encode_text(self._backbone.tokenizer, name.name)[:WORD_TOKENS]
            tokens[: len(ids)] = ids
            left, top, right, bottom = name.box
            if min(right - left, bottom - top) > _SLANTING_PX * self._backbone.preprocessing.size_px:
                continue  # a slanting word leaves most of its box empty
            columns, rows = (self._covered(*span) for span in ((left, right), (top, bottom)))
            words[rows, columns] = tokens
        return words.reshape(self._side**2, WORD_TOKENS)

    def _covered(self, first: float, last: float) -> slice:
        """The patches whose middle third a span meets."""
        third = self._patch_px / 3
        low = int(np.ceil((first - 2 * third) / self._patch_px))
        high = int(np.floor((last - third) / self._patch_px)) + 1
        if high <= low:
            low = int((first + last) / 2 / self._patch_px)
            high = low + 1
        return slice(max(0, low), min(self._side, high))

    def _pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        return self._backbone.preprocessing.pixels(image)

    @property
    def _side(self) -> int:
        """Patches along a side of a picture."""
        return self._backbone.preprocessing.size_px // self._patch_px

    def _place(self, scene: int) -> str:
        return self._known[scene][0]

    def _vocabulary(self) -> list[str]:
        """Attributes that are neither rare nor everywhere, in alphabetical order."""
        counts = Counter(name for index in range(len(self._scenes)) for name in self._known[index][1])
        low, high = 0.002 * len(self._scenes), 0.998 * len(self._scenes)
        return sorted(name for name, count in counts.items() if low <= count <= high)


def _numbered(names: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def collate(glimpses: Sequence[Glimpse]) -> dict[str, Any]:
    """One batch: the fields of the glimpses one behind the other; no two cities share a road or a quarter."""
    batch = {
        name: torch.from_numpy(np.concatenate([getattr(glimpse, name) for glimpse in glimpses]))
        for name in ("views", "maps", "attributes", "letters", "words", "places", "spots")
    }
    for name in ("roads", "quarters"):
        groups = [getattr(glimpse, name) + 1000 * city for city, glimpse in enumerate(glimpses)]
        batch[name] = torch.from_numpy(np.concatenate(groups))
    return batch


class Seeing(nn.Module):
    """The vision tower of a backbone with a head for each thing it learns; a batch's loss.

    `parts` are the losses of the last batch by name.
    """

    def __init__(self, backbone: Backbone, attributes: int, *, bf16: bool, seed: int):
        super().__init__()
        self.tower = backbone.model.base_model.vision_tower
        if not torch.cuda.is_available():
            use_plain_attention(backbone.model)
        self.preprocessing = backbone.preprocessing
        self.bf16 = bf16
        width = int(backbone.model.config.vision_config.hidden_size)
        self._classes = backbone.image_tokens  # a class token in front is not among them
        points = LETTER_ROWS * LETTER_COLUMNS
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.letters = nn.Linear(width, points * (LETTERS + 1))
            self.words = nn.Linear(width, WORD_TOKENS * _DEPTH)
            self.tokens = nn.Linear(_DEPTH, len(backbone.tokenizer), bias=False)
            self.place = nn.Linear(width, 1)
            self.attributes = nn.Linear(width, attributes)
            self.road, self.quarter = nn.Linear(width, 128), nn.Linear(width, 128)
            self.road_above = nn.Linear(width, 128)
        weights = torch.ones(LETTERS + 1)
        weights[0] = 0.1  # most points have no letter
        self.letter_weights: torch.Tensor
        self.register_buffer("letter_weights", weights, persistent=False)
        self.parts: dict[str, float] = {}

    def forward(
        self,
        views: torch.Tensor,
        maps: torch.Tensor,
        roads: torch.Tensor,
        quarters: torch.Tensor,
        attributes: torch.Tensor,
        letters: torch.Tensor,
        words: torch.Tensor,
        places: torch.Tensor,
        spots: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """`loss` of a batch of `collate`, one sum of all parts."""
        features = self._features(torch.cat([views, maps]))
        seen, read = features[: len(views)], features[len(views) :]
        pooled = seen.mean(dim=1)
        above, around = self._above(read, spots)
        by_road = self.road(pooled)
        patches = (words[..., 0] != UNKNOWN).nonzero()
        # All of them would take as long as the tower: the vocabulary is wide.
        patches = patches[torch.randperm(len(patches), device="cpu")[:_WORDS_AT_ONCE].to(patches.device)]
        asked = patches.unbind(dim=1)
        told = self.words(read[asked]).unflatten(-1, (WORD_TOKENS, _DEPTH))
        losses = {
            "letters": 3
            * _cross_entropy(
                self.letters(read).unflatten(-1, (-1, LETTERS + 1)), letters, self.letter_weights
            ),
            "words": _cross_entropy(self.tokens(functional.gelu(told)), words[asked]),
            "places": 0.5 * _cross_entropy(self.place(read).squeeze(-1), places),
            "roads": contrast(by_road, roads),
            "above": 0.3 * contrast_with(self.road_above(around), roads[above], by_road, roads),
            "quarters": 0.5 * contrast(self.quarter(pooled), quarters),
            "attributes": 5
            * functional.binary_cross_entropy_with_logits(self.attributes(pooled), attributes),
        }
        self.parts = {name: round(float(loss.detach()), 4) for name, loss in losses.items()}
        return {"loss": torch.stack(list(losses.values())).sum()}

    def _above(self, read: torch.Tensor, spots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Which maps have a spot, (k,), and the mean features of the patches around it, (k, width)."""
        known = (spots != UNKNOWN).nonzero().squeeze(-1)
        side = math.isqrt(read.shape[1])
        grid = read[known].transpose(1, 2).reshape(len(known), -1, side, side)  # (k, width, side, side)
        means = functional.avg_pool2d(grid, 3, stride=1, padding=1, count_include_pad=False).flatten(2)
        return known, means[torch.arange(len(known), device=read.device), :, spots[known]]

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        """(pictures, patches, width), float32, as the projector reads them."""
        with torch.autocast(pixels.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            hidden = self.tower(pixel_values=self.preprocessing.normalise(pixels)).last_hidden_state
        features: torch.Tensor = hidden[:, -self._classes :].float()
        return features


def contrast(vectors: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Supervised contrastive loss of (n, width) vectors: those of one group (n) against all others."""
    units = functional.normalize(vectors, dim=-1)
    itself = torch.eye(len(units), dtype=torch.bool, device=units.device)
    likeness = (units @ units.T / _TEMPERATURE).masked_fill(itself, -torch.inf)
    alike = (groups[:, None] == groups[None]) & ~itself
    chances = functional.log_softmax(likeness, dim=-1).masked_fill(~alike, 0.0)
    friends = alike.sum(dim=-1)
    has = friends > 0
    return -(chances.sum(dim=-1)[has] / friends[has]).mean()


def contrast_with(
    vectors: torch.Tensor, groups: torch.Tensor, others: torch.Tensor, other_groups: torch.Tensor
) -> torch.Tensor:
    """The same of vectors of one kind, (n, width), among those of another, (m, width)."""
    likeness = functional.normalize(vectors, dim=-1) @ functional.normalize(others, dim=-1).T / _TEMPERATURE
    alike = groups[:, None] == other_groups[None]
    chances = functional.log_softmax(likeness, dim=-1).masked_fill(~alike, 0.0)
    return -(chances.sum(dim=-1) / alike.sum(dim=-1)).sum() / max(1, len(vectors))


def _cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean over the known targets; 0 where none is known."""
    known = targets != UNKNOWN
    if not known.any():
        return logits.sum() * 0
    return functional.cross_entropy(logits[known], targets[known], weight=weight)

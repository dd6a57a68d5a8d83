"""Pre-training of the vision tower alone, before it has a language: what it reads, recognises and compares.

Four things are learned at once, each from labels that the renderer knows for certain. Letters: which one
lies where in a patch, and which word a patch belongs to; because every patch has its own label, reading
begins within minutes, while a single answer for a whole picture teaches nothing for hours. Roads and
quarters: views of one road, or quarter, and its places seen from above lie together, those of others in the
same city apart (contrastive, as CLIP; supervised as Khosla et al. 2020). Attributes: what walls, trees and
cars there are. Places: where on the map a grafted photo was taken. The heads are thrown away afterwards.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from addressvlm.dataset.scenes import LETTERS
from addressvlm.model.backbone import Backbone
from addressvlm.training.attention import use_plain_attention
from addressvlm.training.glimpses import LETTER_COLUMNS, LETTER_ROWS, UNKNOWN, WORD_TOKENS

_TEMPERATURE = 0.1
_WORDS_AT_ONCE = 192  # patches of a batch that are asked for their word
_DEPTH = 64  # width in which words are told


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
        self._patches = backbone.image_tokens  # a class token in front is not among them
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
        features: torch.Tensor = hidden[:, -self._patches :].float()
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

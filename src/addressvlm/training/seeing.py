"""Pre-training of the vision tower, second part: what it reads, recognises and compares, all at once.

Labels are what the renderer knows for certain. Letters, as before, so that they are not forgotten.
Surfaces: of which wall, roof, tree or paving each point of a view is, and each point of a map, told by one
head: what looks different from above and from the street gets one name. Labels by patch teach faster than
any for a whole picture. Roads and quarters: views of one road, or quarter, and its places seen from above
lie together, those of others in the same city apart (contrastive, as CLIP; supervised as Khosla et al.
2020). Attributes: what walls, trees and cars there are. Places: where on the map a grafted photo was taken.
Owners: which of the names on the map is that of the photo's street, told by any of its patches (the nearest
one sees best how near it is) and by the one in which it begins (there the language model looks for it).
Cells and middles: where on the map the middle of a name lies, roughly and exactly, told by the latter, which
does not see where its name ends. Positions: where in the picture each patch lies, which the language model
needs and a tower that only reads forgets. The heads are thrown away.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from addressvlm.dataset.lessons import CELLS
from addressvlm.dataset.scenes import SURFACES
from addressvlm.model.backbone import Backbone
from addressvlm.training.glimpses import SURFACE_POINTS
from addressvlm.training.reading import UNKNOWN, PageLosses, TowerFeatures

_TEMPERATURE = 0.1


class Seeing(nn.Module):
    """The vision tower of a backbone with a head for each thing it learns; a batch's loss.

    `parts` are the losses of the last batch by name.
    """

    def __init__(self, backbone: Backbone, attributes: int, *, bf16: bool, seed: int):
        super().__init__()
        self.features = TowerFeatures(backbone, bf16=bf16)
        width = self.features.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.page = PageLosses(width, len(backbone.tokenizer), nothing=backbone.tokenizer.pad_token_id)
            self.place = nn.Linear(width, 1)
            self.surfaces = nn.Linear(width, SURFACE_POINTS**2 * SURFACES)
            self.attributes = nn.Linear(width, attributes)
            self.road, self.quarter = nn.Linear(width, 128), nn.Linear(width, 128)
            self.road_above = nn.Linear(width, 128)
            self.owner, self.owned, self.position = (nn.Linear(width, numbers) for numbers in (1, 1, 2))
            self.cell, self.middle = nn.Linear(width, len(CELLS)), nn.Linear(width, 2)
        self.parts: dict[str, float] = {}

    def forward(
        self,
        views: torch.Tensor,
        maps: torch.Tensor,
        roads: torch.Tensor,
        map_roads: torch.Tensor,
        quarters: torch.Tensor,
        attributes: torch.Tensor,
        surfaces: torch.Tensor,
        ground: torch.Tensor,
        letters: torch.Tensor,
        tokens: torch.Tensor,
        places: torch.Tensor,
        spots: torch.Tensor,
        owners: torch.Tensor,
        cells: torch.Tensor,
        middles: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """`loss` of a batch of `collate`, one sum of all parts."""
        features = self.features(torch.cat([views, maps]))
        seen, read = features[: len(views)], features[len(views) :]
        pooled = seen.mean(dim=1)
        above, around = self._above(read, spots)
        by_road = self.road(pooled)
        losses = {
            **self.page(read, letters, tokens),
            "surfaces": 2 * self._shown(seen, surfaces),
            "ground": self._shown(read, ground),
            "places": 0.5 * _cross_entropy(self.place(read).squeeze(-1), places),
            "owners": pick(self.owner(read).squeeze(-1), owners),
            "owned": pick(self.owned(read).squeeze(-1), owners.masked_fill(cells == UNKNOWN, UNKNOWN)),
            "cells": 0.5 * _cross_entropy(self.cell(read), cells),
            "middles": self._middles(read, middles, cells != UNKNOWN),
            "positions": self._positions(read),
            "roads": contrast(by_road, roads),
            "above": 0.5 * contrast_with(self.road_above(around), map_roads[above], by_road, roads),
            "quarters": 0.5 * contrast(self.quarter(pooled), quarters),
            "attributes": 5
            * functional.binary_cross_entropy_with_logits(self.attributes(pooled), attributes),
        }
        self.parts = {name: round(float(loss.detach()), 4) for name, loss in losses.items()}
        return {"loss": torch.stack(list(losses.values())).sum()}

    def _shown(self, features: torch.Tensor, surfaces: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the surfaces (n, patches, points) where they are known."""
        told = self.surfaces(features).unflatten(-1, (-1, SURFACES)).flatten(0, 2)
        return functional.cross_entropy(told, surfaces.flatten(), ignore_index=UNKNOWN)

    def _positions(self, read: torch.Tensor) -> torch.Tensor:
        """Squared error of where the patches say they lie, in sides of the picture, times five."""
        side = math.isqrt(read.shape[1])
        along = (torch.arange(side, device=read.device) + 0.5) / side
        truth = torch.cartesian_prod(along, along)  # (patches, 2)
        return 5 * functional.mse_loss(self.position(read), truth.expand(len(read), -1, -1))

    def _middles(self, read: torch.Tensor, middles: torch.Tensor, begins: torch.Tensor) -> torch.Tensor:
        """How far from the middles of names they are told to lie, in sides of the picture, times five."""
        if not begins.any():
            return read.sum() * 0
        return 5 * functional.l1_loss(self.middle(read[begins]), middles[begins])

    def _above(self, read: torch.Tensor, spots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Which maps have a spot, (k,), and the mean features of the patches around it, (k, width)."""
        known = (spots != UNKNOWN).nonzero().squeeze(-1)
        side = math.isqrt(read.shape[1])
        grid = read[known].transpose(1, 2).reshape(len(known), -1, side, side)  # (k, width, side, side)
        means = functional.avg_pool2d(grid, 3, stride=1, padding=1, count_include_pad=False).flatten(2)
        return known, means[torch.arange(len(known), device=read.device), :, spots[known]]


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


def pick(logits: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of which name is the photo's, (n, patches): any of its patches among those with names.

    0 where nothing is asked, or no map shows both.
    """
    asked = (owners == 1).any(dim=1) & (owners == 0).any(dim=1)
    logits, owners = logits[asked], owners[asked]
    written = logits.masked_fill(owners == UNKNOWN, -torch.inf).logsumexp(dim=1)
    own = logits.masked_fill(owners != 1, -torch.inf).logsumexp(dim=1)
    return (written - own).sum() / max(1, len(logits))


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over the known targets; 0 where none is known."""
    known = targets != UNKNOWN
    if not known.any():
        return logits.sum() * 0
    return functional.cross_entropy(logits[known], targets[known])

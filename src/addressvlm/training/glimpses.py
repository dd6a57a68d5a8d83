"""What the vision tower is shown in pre-training, and what it shall tell about it: glimpses of cities."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import Dataset

from addressvlm.dataset.attributes import attributes
from addressvlm.dataset.lessons import cell_of
from addressvlm.dataset.scenes import SURFACES, SceneFacts, Scenes
from addressvlm.errors import UsageError
from addressvlm.model.backbone import Backbone
from addressvlm.training.batches import Key
from addressvlm.training.reading import (
    LETTER_COLUMNS,
    LETTER_ROWS,
    UNKNOWN,
    Page,
    Pages,
    Roll,
    at_points,
    patch_of,
)

ROADS = 16  # roads of a city in one sample, two scenes each; the first of them with its map
SURFACE_POINTS = 2  # points along a side of a patch at which its surfaces are asked
_PAGES = 0.25  # share of the pictures that are pages to read from, not maps with a photo

_ANYWHERE = 1 / 3  # how often the owners of names are asked where the photo is not in the middle
_MAPPED = slice(None, None, 2)  # of the two scenes of each road, the first
_JOINED = (
    *("views", "maps", "attributes", "surfaces", "ground"),
    *("letters", "tokens", "places", "spots", "owners", "cells", "middles"),
)
_REACH_PX = (4, 7)  # a patch shows a name if its middle lies no farther from the name's box, across and down


@dataclass(frozen=True)
class _Seen:
    """A page, or a map as a page whose letters are not known, and what a glimpse tells of it."""

    page: Page
    ground: npt.NDArray[np.int64]
    place: int
    spot: int
    owners: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]
    middles: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Glimpse:
    """Scenes of one city: two of each of some roads. n scenes, m = n/2 maps, p patches a picture.

    The first scene of each road has a map: a map costs as much as a view and teaches more than one thing, but
    roads are told apart by views, and the more of them are compared the better.
    `letters` (m, p, rows·columns), `tokens` (m, p, SLOTS), `places` (m), `owners` and `cells` (m, p) are
    UNKNOWN where nothing is asked; `map_roads` (m) are the roads of the maps; `spots` (m) is the patch of
    the place on a map without photo, or UNKNOWN; `owners` is 1 on the name of the photo's street and 0 on
    other names; where a name begins, `cells` tells in which ninth of the map its middle lies and `middles`
    (m, p, 2) where exactly, down and across in sides of the map, 0 elsewhere; `surfaces`
    (n, p, SURFACE_POINTS²) are those of the views and `ground` (m, p, SURFACE_POINTS²) those of the maps,
    UNKNOWN where a photo hides them; `attributes` (n, attributes) is 0 or 1.
    """

    views: npt.NDArray[np.uint8]  # (n, 3, size, size)
    maps: npt.NDArray[np.uint8]  # (m, 3, size, size)
    roads: npt.NDArray[np.int64]
    map_roads: npt.NDArray[np.int64]
    quarters: npt.NDArray[np.int64]
    attributes: npt.NDArray[np.float32]
    surfaces: npt.NDArray[np.int64]
    ground: npt.NDArray[np.int64]
    letters: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    spots: npt.NDArray[np.int64]
    owners: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]
    middles: npt.NDArray[np.float32]


class Glimpses(Dataset[Glimpse]):
    """Glimpses of all cities; an epoch looks about once at every scene. Keys are (epoch, index)."""

    def __init__(self, scenes: Scenes, backbone: Backbone, *, seed: int):
        self._scenes = scenes
        self._backbone = backbone
        self._pages = Pages(scenes, backbone, seed=seed)
        self._patch_px = int(backbone.model.config.vision_config.patch_size)
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
        return self.look(key)[1]

    def look(self, key: Key) -> tuple[list[int], Glimpse]:
        """A glimpse, and the scenes whose maps it shows."""
        dice = np.random.default_rng((self._seed, *key))
        roads = self._cities[key[1] % len(self._cities)]
        chosen = dice.choice(len(roads), min(ROADS, len(roads)), replace=False)
        indices = [scene for road in chosen for scene in self._two_places(list(roads.values())[road], dice)]
        return indices[_MAPPED], self._glimpse(indices, dice)

    def _two_places(self, road: Sequence[int], dice: np.random.Generator) -> list[int]:
        first = int(dice.choice(road))
        others = [scene for scene in road if self._place(scene) != self._place(first)]
        return [first, int(dice.choice(others))]

    def _glimpse(self, indices: Sequence[int], dice: np.random.Generator) -> Glimpse:
        facts = [self._scenes.facts(index) for index in indices]
        mapped = list(zip(indices, facts, strict=True))[_MAPPED]
        roads = _numbered([fact.road for fact in facts])
        is_page = dice.permutation(len(mapped)) < _PAGES * len(mapped)
        seen = [
            self._page(index, fact, dice) if paged else self._map(index, fact, dice)
            for (index, fact), paged in zip(mapped, is_page, strict=True)
        ]
        known = np.zeros((len(indices), len(self.vocabulary)), np.float32)
        for row, index in zip(known, indices, strict=True):
            row[[self._column[name] for name in self._known[index][1] if name in self._column]] = 1
        return Glimpse(
            views=np.stack([self._pixels(self._scenes.picture(index, "view")) for index in indices]),
            maps=np.stack([one.page.pixels for one in seen]),
            roads=roads,
            map_roads=roads[_MAPPED],
            quarters=_numbered([fact.quarter for fact in facts]),
            attributes=known,
            surfaces=np.stack([self._at_points(self._scenes.surfaces(index)) for index in indices]),
            ground=np.stack([one.ground for one in seen]),
            letters=np.stack([one.page.letters for one in seen]),
            tokens=np.stack([one.page.tokens for one in seen]),
            places=np.array([one.place for one in seen], np.int64),
            spots=np.array([one.spot for one in seen], np.int64),
            owners=np.stack([one.owners for one in seen]),
            cells=np.stack([one.cells for one in seen]),
            middles=np.stack([one.middles for one in seen]),
        )

    def _page(self, index: int, facts: SceneFacts, dice: np.random.Generator) -> _Seen:
        page, roll = self._pages.visit(index, dice)
        ground = self._at_points(np.roll(self._scenes.ground(index), roll, axis=(0, 1)))
        spot, nothing = self._spot(facts, roll), self._unknown()
        return _Seen(page, ground, UNKNOWN, spot, nothing, nothing, self._nowhere())

    def _map(self, index: int, facts: SceneFacts, dice: np.random.Generator) -> _Seen:
        picture = self._scenes.picture(index, "grafted")
        letters = self._unknown(LETTER_ROWS * LETTER_COLUMNS)
        tokens = self._pages.tokens(facts.names)
        tokens[tokens[:, 1] == self._backbone.tokenizer.pad_token_id] = UNKNOWN
        # In the middle there is nothing to find.
        centred = facts.is_centred(picture.width)
        place = UNKNOWN if centred else self._spot(facts)
        asked = centred or dice.random() < _ANYWHERE
        owners = self._owners(facts) if asked else self._unknown()
        page = Page(self._pixels(picture), letters, tokens)
        ground = self._at_points(self._scenes.ground(index, grafted=True))
        ground[ground == SURFACES] = UNKNOWN
        return _Seen(page, ground, place, UNKNOWN, owners, *self._middles(facts, picture.width))

    def _at_points(self, surfaces: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        return at_points(surfaces, self._patch_px, SURFACE_POINTS, SURFACE_POINTS)

    def _owners(self, facts: SceneFacts) -> npt.NDArray[np.int64]:
        """1 on the patches of the name of the photo's street, 0 on those of other names."""
        middles = (np.arange(self._side) + 0.5) * self._patch_px
        owners = self._unknown().reshape(self._side, self._side)
        for name in facts.names:
            left, top, right, bottom = name.box
            across = (middles > left - _REACH_PX[0]) & (middles < right + _REACH_PX[0])
            down = (middles > top - _REACH_PX[1]) & (middles < bottom + _REACH_PX[1])
            owners[np.ix_(down, across)] = name.name == facts.street
        return owners.ravel()

    def _middles(
        self, facts: SceneFacts, side_px: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """In which ninth of the map the middle of a name lies, and where, on the patch where it begins."""
        cells, middles = self._unknown(), self._nowhere()
        for name in facts.names:
            begin = patch_of(name.middles[0], self._patch_px, self._side)
            cells[begin] = cell_of(name.middle, side_px)
            across, down = name.middle
            middles[begin] = down / side_px, across / side_px
        return cells, middles

    def _nowhere(self) -> npt.NDArray[np.float32]:
        return np.zeros((self._side**2, 2), np.float32)

    def _unknown(self, *sizes: int) -> npt.NDArray[np.int64]:
        return np.full((self._side**2, *sizes), UNKNOWN, np.int64)

    def _spot(self, facts: SceneFacts, roll: Roll = (0, 0)) -> int:
        """The patch of the map, rolled, on which the photo was taken."""
        return patch_of(facts.at, self._patch_px, self._side, roll)

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
        for name in _JOINED
    }
    for name in ("roads", "map_roads", "quarters"):
        groups = [getattr(glimpse, name) + 1000 * city for city, glimpse in enumerate(glimpses)]
        batch[name] = torch.from_numpy(np.concatenate(groups))
    return batch

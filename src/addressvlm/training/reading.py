"""Pre-training of the vision tower, first part: pages of words, until it knows every letter by sight.

Each point of each patch has its own label, the letter that lies there, so a page teaches something wherever
its words stand; a single answer for a whole picture teaches nothing for hours. Each patch tells the letters
of its neighbours in the line, too: to look there is what putting letters together takes, and by itself a
tower finds that out slowly. And it tells the tokens that begin in it and the one before them: what the
language model will copy, and what it will find it by. Reading comes first and alone: together with everything
else that a tower learns it takes ten times as long. The heads are thrown away.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from addressvlm.dataset.scenes import LETTERS, Name, Scenes
from addressvlm.errors import UsageError
from addressvlm.model.backbone import Backbone
from addressvlm.training.attention import use_plain_attention
from addressvlm.training.batches import Key
from addressvlm.training.quicklayers import use_quick_layers

LETTER_ROWS, LETTER_COLUMNS = 2, 2  # points of a patch at which its letters are asked
TOKENS = 3  # tokens that can begin in one patch
SLOTS = 1 + TOKENS  # the token before the first of them, and they
UNKNOWN = -100

Roll = tuple[int, int]  # how far a picture was rolled around its edges, down and across, in pixels

_NEIGHBOURS = 2  # patches on either side whose letters a patch tells
_NO_LETTER_WEIGHT = 0.1  # most points have none
# Patches of a batch that are asked for their tokens, with a beginning and without: the vocabulary is wide.
_BEGINNING_AT_ONCE, _OTHERS_AT_ONCE = 192, 64
_GUESTS = 3  # other pages whose words are put on a page
_TRIES = 6  # places that a guest's word tries
_DEPTH = 96  # width in which tokens are told


@dataclass(frozen=True)
class Page:
    """A page as the tower sees it, (3, size, size), and what lies on each of its patches.

    `letters` (patches, points) is 0 for none; `tokens` (patches, SLOTS) are those of `tokens_of`, or UNKNOWN
    where a patch has no letters.
    """

    pixels: npt.NDArray[np.uint8]
    letters: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]


class Pages(Dataset[Page]):
    """The page of every scene, once an epoch, each time with other guests and rolled otherwise.

    Keys are (epoch, index). A page rolled around its edges has other letters on its patches: one page is as
    good as many. Guests are other pages whose words stand on it, too, where there is room: what is paid for
    is patches, so they should be full.
    Raises UsageError where the scenes have another size than the backbone's pictures.
    """

    def __init__(self, scenes: Scenes, backbone: Backbone, *, seed: int):
        self._seed = seed
        self._scenes = scenes
        self._backbone = backbone
        self._patch_px = int(backbone.model.config.vision_config.patch_size)
        drawn_px, seen_px = scenes.letters(0).shape[0], backbone.preprocessing.size_px
        if drawn_px != seen_px:
            raise UsageError(
                f"the scenes have {drawn_px} px, but {backbone.name} sees {seen_px}; make others"
            )

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, key: Key) -> Page:
        return self.visit(key[1], np.random.default_rng((self._seed, *key)))[0]

    def visit(self, scene: int, dice: np.random.Generator) -> tuple[Page, Roll]:
        """The page of a scene with the words of its guests, rolled by any number of patches, and how far."""
        sheet = self.sheet(scene, dice)
        side = self._backbone.preprocessing.size_px // self._patch_px
        down, across = (self._patch_px * dice.integers(0, side, 2)).tolist()
        return self._as_seen(sheet, (down, across)), (down, across)

    def sheet(self, scene: int, dice: np.random.Generator) -> "Sheet":
        """The page of a scene with the words of its guests."""
        sheet = self._sheet(scene)
        for guest in dice.integers(0, len(self), _GUESTS).tolist():
            sheet.take_in(self._sheet(guest), self._patch_px, dice)
        return sheet

    def _sheet(self, scene: int) -> "Sheet":
        pixels = self._backbone.preprocessing.pixels(self._scenes.picture(scene, "page"))
        return Sheet(pixels, self._scenes.letters(scene), list(self._scenes.facts(scene).page))

    def _as_seen(self, sheet: "Sheet", roll: Roll) -> Page:
        pixels = np.roll(sheet.pixels, roll, axis=(1, 2))
        letters = letters_of(np.roll(sheet.letters, roll, axis=(0, 1)), self._patch_px)
        tokens = self.tokens(sheet.words, roll)
        tokens[~letters.any(axis=1)] = UNKNOWN
        return Page(pixels, letters, tokens)

    def tokens(self, words: Sequence[Name], roll: Roll = (0, 0)) -> npt.NDArray[np.int64]:
        """The tokens on the patches of a picture with these words: see `tokens_of`."""
        side = self._backbone.preprocessing.size_px // self._patch_px
        return tokens_of(words, self._backbone.tokenizer, self._patch_px, side, roll)


@dataclass
class Sheet:
    """A page with its words: `pixels` (3, size, size), `letters` (size, size)."""

    pixels: npt.NDArray[np.uint8]
    letters: npt.NDArray[np.uint8]
    words: list[Name]

    def take_in(self, guest: "Sheet", patch_px: int, dice: np.random.Generator) -> None:
        """Put the words of another page on this one, anywhere that is free, as far as there is room.

        They are moved by whole patches: names stand in cells, and those lie alike on all patches.
        """
        self.pixels, self.letters = self.pixels.copy(), self.letters.copy()
        for word in guest.words:
            left, top, right, bottom = word.box
            width, height = right - left, bottom - top
            room = len(self.letters) - width - left % patch_px, len(self.letters) - height - top % patch_px
            for _ in range(_TRIES if min(room) >= 0 else 0):
                moves = dice.integers(0, (room[0] // patch_px + 1, room[1] // patch_px + 1)).tolist()
                x, y = left % patch_px + patch_px * moves[0], top % patch_px + patch_px * moves[1]
                box = (x, y, x + width, y + height)
                if any(other.lies_under(box) for other in self.words):
                    continue
                here, there = np.s_[..., y : box[3], x : box[2]], np.s_[..., top:bottom, left:right]
                self.pixels[here], self.letters[here] = guest.pixels[there], guest.letters[there]
                moved = tuple((across - left + x, down - top + y) for across, down in word.middles)
                self.words.append(replace(word, box=box, middles=moved))
                break


def letters_of(cells: npt.NDArray[np.uint8], patch_px: int) -> npt.NDArray[np.int64]:
    """Letters at the points of every patch, (patches, points), of a map of letters (height, width)."""
    return at_points(cells, patch_px, LETTER_ROWS, LETTER_COLUMNS)


def at_points(labels: npt.NDArray[np.uint8], patch_px: int, rows: int, columns: int) -> npt.NDArray[np.int64]:
    """The labels (height, width) at rows x columns points of every patch: (patches, points)."""
    side = len(labels) // patch_px
    down, across = (
        ((np.arange(side * points) + 0.5) * patch_px / points).astype(int) for points in (rows, columns)
    )
    points = labels[np.ix_(down, across)].astype(np.int64).reshape(side, rows, side, columns)
    patches: npt.NDArray[np.int64] = points.transpose(0, 2, 1, 3).reshape(side**2, -1)
    return patches


def patch_of(point: tuple[float, float], patch_px: int, side: int, roll: Roll = (0, 0)) -> int:
    """The patch in which a point (across, down) lies once the picture, `side` patches wide, is rolled."""
    size = side * patch_px
    column, row = (int((value + by) % size) // patch_px for value, by in zip(point, roll[::-1], strict=True))
    return row * side + column


def tokens_of(
    words: Sequence[Name],
    tokenizer: PreTrainedTokenizerBase,
    patch_px: int,
    side: int,
    roll: Roll = (0, 0),
) -> npt.NDArray[np.int64]:
    """The tokens that begin in each patch, (side², SLOTS), filled up with the padding token.

    In front the token before the first of them, if it is not the first of its word; behind it, in the order
    of the words, those that begin there, as far as there is room. The picture was rolled by `roll`.
    """
    nothing = tokenizer.pad_token_id
    tokens = np.full((side * side, SLOTS), nothing)
    begun = np.zeros(side * side, int)
    for word in words:
        encoded = tokenizer(word.name, add_special_tokens=False, return_offsets_mapping=True)
        before = nothing
        for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            first = start + (word.name[start:end].startswith(" ") and end > start + 1)
            patch = patch_of(word.middles[first], patch_px, side, roll)
            if not begun[patch]:
                tokens[patch, 0] = before
            if begun[patch] < TOKENS:
                begun[patch] += 1
                tokens[patch, begun[patch]] = token
            before = token
    return tokens


def collate(pages: Sequence[Page]) -> dict[str, torch.Tensor]:
    """A batch: the fields of the pages, stacked."""
    return {
        name: torch.from_numpy(np.stack([getattr(page, name) for page in pages]))
        for name in ("pixels", "letters", "tokens")
    }


class TowerFeatures(nn.Module):
    """The vision tower of a backbone as a function from uint8 pictures to features of its patches."""

    def __init__(self, backbone: Backbone, *, bf16: bool):
        super().__init__()
        self.tower = backbone.model.base_model.vision_tower
        if not torch.cuda.is_available():
            use_plain_attention(backbone.model)
        use_quick_layers(self.tower)
        self.width = int(backbone.model.config.vision_config.hidden_size)
        self._preprocessing = backbone.preprocessing
        self._bf16 = bf16
        self._patches = backbone.image_tokens  # a class token in front is not among them

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(pictures, patches, width), float32, as the projector reads them."""
        with torch.autocast(pixels.device.type, dtype=torch.bfloat16, enabled=self._bf16):
            hidden = self.tower(pixel_values=self._preprocessing.normalise(pixels)).last_hidden_state
        features: torch.Tensor = hidden[:, -self._patches :].float()
        return features


class PageLosses(nn.Module):
    """What the patches of pages tell: letters, the tokens that begin in them and the one before."""

    def __init__(self, width: int, vocabulary: int, *, nothing: int):
        """`nothing` is the token that stands for none in `tokens_of`."""
        super().__init__()
        self._nothing = nothing
        points = (2 * _NEIGHBOURS + 1) * LETTER_ROWS * LETTER_COLUMNS
        self.letters = nn.Linear(width, points * (LETTERS + 1))
        self.tokens = nn.Linear(width, SLOTS * _DEPTH)
        self.vocabulary = nn.Linear(_DEPTH, vocabulary, bias=False)
        weights = torch.ones(LETTERS + 1)
        weights[0] = _NO_LETTER_WEIGHT
        self._weights: torch.Tensor
        self.register_buffer("_weights", weights, persistent=False)

    def forward(
        self, features: torch.Tensor, letters: torch.Tensor, tokens: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Cross-entropies of (n, patches, width) features: `letters` over all points, `tokens` over some.

        Where letters or tokens are UNKNOWN, nothing is asked.
        """
        told = self.letters(features).unflatten(-1, (-1, LETTERS + 1)).flatten(0, 2)
        asked, begins = tokens[..., 0] != UNKNOWN, tokens[..., 1] != self._nothing
        where = torch.cat(
            [_some(asked & begins, _BEGINNING_AT_ONCE), _some(asked & ~begins, _OTHERS_AT_ONCE)]
        ).unbind(dim=1)
        begun = functional.gelu(self.tokens(features[where]).unflatten(-1, (SLOTS, _DEPTH)))
        return {
            "letters": functional.cross_entropy(
                told, with_neighbours(letters).flatten(), weight=self._weights
            ),
            "tokens": functional.cross_entropy(
                self.vocabulary(begun).flatten(0, 1), tokens[where].flatten(), reduction="sum"
            )
            / max(1, tokens[where].numel()),
        }


def with_neighbours(letters: torch.Tensor) -> torch.Tensor:
    """Letters of patches (n, patches, points) with those beside them, from left to right.

    (n, patches, (2 · _NEIGHBOURS + 1) · points); UNKNOWN over the edge of the picture.
    """
    side = math.isqrt(letters.shape[1])
    lines = letters.reshape(len(letters), side, side, -1)
    wider = functional.pad(lines, (0, 0, _NEIGHBOURS, _NEIGHBOURS), value=UNKNOWN)
    beside = [wider[:, :, start : start + side] for start in range(2 * _NEIGHBOURS + 1)]
    return torch.cat(beside, dim=-1).flatten(1, 2)


def _some(chosen: torch.Tensor, count: int) -> torch.Tensor:
    """The places where it is true, (n, dimensions), or as many of them."""
    places = chosen.nonzero()
    return places[torch.randperm(len(places), device="cpu")[:count].to(places.device)]


class Reading(nn.Module):
    """The loss of a batch of pages; `parts` are the losses of the last batch by name."""

    def __init__(self, backbone: Backbone, *, bf16: bool, seed: int):
        super().__init__()
        self.features = TowerFeatures(backbone, bf16=bf16)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.page = PageLosses(
                self.features.width, len(backbone.tokenizer), nothing=backbone.tokenizer.pad_token_id
            )
        self.parts: dict[str, float] = {}

    def forward(
        self, pixels: torch.Tensor, letters: torch.Tensor, tokens: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """`loss` of a batch of `collate`, the sum of both."""
        losses = self.page(self.features(pixels), letters, tokens)
        self.parts = {name: round(float(loss.detach()), 4) for name, loss in losses.items()}
        return {"loss": torch.stack(list(losses.values())).sum()}

"""Tokens that pre-training never asks for, made fit for tuning.

Whatever is never the answer is pushed away again and again, and every such token the same way: in the end
their embeddings are alike, and adapters, which leave embeddings as they are, cannot tell them apart. Tuned
on a city, such a base knows which district it sees and scatters its probability over all tokens of that
kind. So their embeddings are drawn anew, as far from each other as the learned ones are.
"""

from typing import Any

import numpy as np
import torch

from addressvlm.dataset.lessons import lessons
from addressvlm.dataset.scenes import Picture, Scenes
from addressvlm.dataset.seeds import generator
from addressvlm.model.backbone import Backbone
from addressvlm.model.conversation import IGNORED, Turn, encode_conversation

_PICTURES: tuple[Picture, ...] = ("view", "grafted", "page")


def draw_unlearned(backbone: Backbone, scenes: Scenes, *, seed: int) -> int:
    """Draw the embeddings of what no lesson about the scenes asks for; returns of how many tokens.

    Those that are written keep their common part, by which the base knows that they are not meant.
    """
    read, written = _learned(backbone, scenes, seed)
    model: Any = backbone.model
    draw = torch.Generator().manual_seed(seed)
    for embedding, learned in (
        (model.get_output_embeddings(), written),
        (model.get_input_embeddings(), read),
    ):
        weight = embedding.weight.data
        known = torch.zeros(len(weight), dtype=torch.bool)
        known[sorted(learned)] = True
        spread = (weight[known] - weight[known].mean(dim=0)).norm(dim=1).mean()
        directions = torch.randn(int((~known).sum()), weight.shape[1], generator=draw)
        directions *= spread / directions.norm(dim=1, keepdim=True)
        middle = weight[~known].mean(dim=0) if learned is written else weight[known].mean(dim=0)
        weight[~known] = middle + directions
    return len(backbone.tokenizer) - len(written)


def _learned(backbone: Backbone, scenes: Scenes, seed: int) -> tuple[set[int], set[int]]:
    """The tokens that are read in lessons about the scenes, and those that are written as answers."""
    dice = generator("lessons", seed)
    side_px = backbone.preprocessing.size_px
    turns: set[Turn] = set()
    for scene in range(len(scenes)):
        facts, stranger = scenes.facts(scene), scenes.facts(int(dice.integers(len(scenes))))
        others = [name.name for name in stranger.names]
        for picture in _PICTURES:
            asked = lessons(facts, picture, others, side_px, dice)
            turns |= {Turn(lesson.question, lesson.answer) for lesson in asked}
    read: set[int] = set()
    written: set[int] = set()
    for turn in turns:
        encoded = encode_conversation(
            backbone.tokenizer, [turn], image_tokens=backbone.image_tokens, rounds="star"
        )
        read.update(encoded.ids)
        labels = np.array(encoded.labels)
        written.update(labels[labels != IGNORED].tolist())
    return read, written

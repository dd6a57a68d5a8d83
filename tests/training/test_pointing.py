import numpy as np

from addressvlm.dataset.scenes import Name
from addressvlm.model.backbone import build_backbone
from addressvlm.model.conversation import Turn, encode_conversation
from addressvlm.training.pointing import points_of
from addressvlm.training.reading import UNKNOWN

SIDE = 12


def named(name: str, left: int, top: int) -> Name:
    middles = tuple((left + 6 * place + 3, top + 6) for place in range(len(name)))
    return Name(name, (left, top, left + 6 * len(name), top + 12), 0.0, middles)


def test_every_part_of_a_name_is_looked_for_where_it_stands() -> None:
    backbone = build_backbone("mini", seed=0)
    tokenizer = backbone.tokenizer
    words = [named("Forest Avenue", 0, 24), named("Forest Avenue East", 12, 48), named("Oak", 36, 96)]
    turns = [
        Turn("Which?", "Forest Avenue East, Oak."),
        Turn("And where?", "On the left"),
        Turn("Which is it?", "Forest Avenue"),
    ]
    for rounds in ("chain", "star"):
        encoded = encode_conversation(tokenizer, turns, image_tokens=SIDE**2, rounds=rounds)
        points = points_of(encoded, [turn.answer or "" for turn in turns], words, tokenizer, 12, SIDE)
        picture = encoded.ids.index(backbone.model.config.image_token_id)
        told: dict[int, str] = {}
        for place in np.flatnonzero(points != UNKNOWN):
            patch = int(points[place]) - picture
            told[patch] = told.get(patch, "") + tokenizer.decode(encoded.labels[place + 1]).strip()
        by_row: dict[int, str] = {}
        for patch in sorted(told):
            by_row[patch // SIDE] = by_row.get(patch // SIDE, "") + told[patch]
        assert by_row == {2: "ForestAvenue", 4: "ForestAvenueEast", 8: "Oak"}
        assert min(told) == 2 * SIDE

"""Many questions about a picture in one pass: the picture is read once, and every question is a branch."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from addressvlm.inference.prompts import Sight, normalised
from addressvlm.model.backbone import Backbone
from addressvlm.model.tokentree import TokenTree
from addressvlm.model.treepass import TreePass, Twig


@dataclass
class _Branch:
    """An answer that is being written, in a row of the pass, behind a place of it."""

    row: int
    place: int
    answer: list[int] = field(default_factory=list)


def read_questions(backbone: Backbone, sights: Sequence[Sight]) -> tuple[TreePass, torch.Tensor]:
    """Read each sight in a row of its own, its questions as branches behind its pictures.

    Gives the pass, whose tips are the ends of the questions, and what the model makes of each, (questions,
    width).
    """
    reading = TreePass(backbone.model, len(sights))
    images = normalised(np.concatenate([sight.pixels for sight in sights]), backbone)
    if all(len(sight.prompts) == 1 for sight in sights):
        return reading, reading.read([[_chain(sight.prompts[0])] for sight in sights], images)
    reading.read([[_chain(sight.prompts[0][: sight.stem])] for sight in sights], images)
    questions = [
        [_chain(prompt[sight.stem :], behind=sight.stem - 1) for prompt in sight.prompts] for sight in sights
    ]
    return reading, reading.read(questions)


def answer_sights(backbone: Backbone, sights: Sequence[Sight], *, max_new_tokens: int) -> list[list[int]]:
    """The greedy answers to all questions of all sights, one after the other, as tokens without their end.

    They are those of separate calls of `generate`.
    """
    reading, hidden = read_questions(backbone, sights)
    branches = [_Branch(row, place) for row, places in enumerate(reading.tips) for place in places]
    growing = branches
    for length in range(1, max_new_tokens + 1):
        tokens = reading.logits(hidden).argmax(-1).tolist()
        for branch, token in zip(growing, tokens, strict=True):
            branch.answer.append(token)
        growing = [branch for branch in growing if branch.answer[-1] not in backbone.end_ids]
        if not growing or length == max_new_tokens:
            break
        twigs: list[list[Twig]] = [[] for _ in sights]
        for branch in growing:
            twigs[branch.row].append(_chain(branch.answer[-1:], behind=branch.place))
        hidden = reading.read(twigs)
        places = [place for row in reading.tips for place in row]
        for branch, place in zip(growing, places, strict=True):
            branch.place = place
    return [_without_end(branch.answer, backbone) for branch in branches]


def _without_end(answer: list[int], backbone: Backbone) -> list[int]:
    return answer[:-1] if answer[-1] in backbone.end_ids else answer


def _chain(tokens: Sequence[int], *, behind: int | None = None) -> Twig:
    return Twig(TokenTree(tokens, range(-1, len(tokens) - 1)), behind)


def tokens_at_once(backbone: Backbone) -> int:
    """How many tokens of sights to read in one pass: as many as fit on a GPU, on a CPU few enough to be fast.

    It depends on the machine and the model alone, so that an interrupted job goes on with the same batches.
    """
    device = backbone.model.device
    if device.type != "cuda":
        return 8192
    text = backbone.model.config.text_config
    width = text.hidden_size // text.num_attention_heads
    numbers = 2 * text.num_hidden_layers * text.num_key_value_heads * width  # keys and values that are kept
    numbers += 4 * text.intermediate_size + 8 * text.hidden_size  # of the layer at work
    of_weights = sum(weight.nbytes for weight in backbone.model.parameters())
    free = torch.cuda.get_device_properties(device).total_memory - of_weights
    return max(1, int(0.6 * free / (numbers * backbone.model.dtype.itemsize)))

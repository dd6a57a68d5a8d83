"""Many questions about a picture in one pass: the picture is read once, and every question is a branch."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from addressvlm.inference.drafts import Drafts
from addressvlm.inference.prompts import Sight, normalised
from addressvlm.model.backbone import Backbone
from addressvlm.model.tokentree import TokenTree
from addressvlm.model.treepass import TreePass, Twig


@dataclass
class _Branch:
    """An answer that is being written, in a row of the pass.

    Its last token is still to be read, behind `place`.
    """

    row: int
    place: int
    answer: list[int]

    def go_on(self, read: Sequence[int], place: int, expected: Sequence[int], ends: Collection[int]) -> None:
        """Add what is expected behind tokens that were `read` from `place` on, up to the first wrong one."""
        for number, token in enumerate(expected):
            self.place = place + number
            self.answer.append(token)
            if token in ends or [token] != list(read[number + 1 : number + 2]):
                return


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


def answer_sights(
    backbone: Backbone, sights: Sequence[Sight], *, max_new_tokens: int, drafts: Drafts | None = None
) -> list[list[int]]:
    """The greedy answers to all questions of all sights, one after the other, as tokens without their end.

    They are those of separate calls of `generate`; `drafts` make them come sooner.
    """
    drafts = drafts or Drafts()
    reading, hidden = read_questions(backbone, sights)
    first = reading.logits(hidden).argmax(-1).tolist()
    places = [(row, place) for row, places in enumerate(reading.tips) for place in places]
    branches = [_Branch(row, place, [token]) for (row, place), token in zip(places, first, strict=True)]
    while growing := [branch for branch in branches if _grows(branch, backbone, max_new_tokens)]:
        room = [max_new_tokens - len(branch.answer) - 1 for branch in growing]
        read = [
            [branch.answer[-1], *drafts.after(branch.answer)[:most]]
            for branch, most in zip(growing, room, strict=True)
        ]
        twigs: list[list[Twig]] = [[] for _ in sights]
        for branch, tokens in zip(growing, read, strict=True):
            twigs[branch.row].append(_chain(tokens, behind=branch.place))
        hidden = reading.read(twigs, every=True)
        expected = iter(reading.logits(hidden).argmax(-1).tolist())
        tips = [place for row in reading.tips for place in row]
        for branch, tokens, tip in zip(growing, read, tips, strict=True):
            begin = tip - len(tokens) + 1
            branch.go_on(tokens, begin, list(islice(expected, len(tokens))), backbone.end_ids)
    return [_without_end(branch.answer, backbone) for branch in branches]


def _grows(branch: _Branch, backbone: Backbone, max_new_tokens: int) -> bool:
    return branch.answer[-1] not in backbone.end_ids and len(branch.answer) < max_new_tokens


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

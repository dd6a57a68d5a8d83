"""The loss of a language model that learns to answer, and to copy what the tower reads.

A name is copied token by token: find the patch in which the one behind the last token begins, and write it.
From answers alone a small model comes upon this late or never, and it does at once when heads of its first
layer are shown how: one looks from a token to the patches before which it stands and writes the token that
begins there, another from the first token that begins in a patch to the second. Both are asked for what
their products say by themselves, through the embedding of the tokens, without the rest of the model.
Two names with a token in common, and the name that a question means, are told apart by what stands before:
a head of the second layer, which has that at hand, is shown where to look.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.models.phi3.modeling_phi3 import apply_rotary_pos_emb

from addressvlm.model.embedding import projected
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.reading import UNKNOWN

_COPYING_HEADS = 2  # head h of the first layer looks for slot h of a patch and writes slot h + 1
_BEHIND = (8, 160)  # tokens between the picture and the one that looks


class Speaking(nn.Module):
    """The loss of lectures; `parts` are those of the last batch by name.

    `nothing` is the token that stands for none in `reading.tokens_of`.
    """

    def __init__(self, answers: AnswerLoss, *, nothing: int):
        super().__init__()
        self.answers = answers
        self._nothing = nothing
        self.parts: dict[str, float] = {}

    def forward(
        self,
        pixels: torch.Tensor,
        tokens: torch.Tensor,
        points: torch.Tensor,
        input_ids: torch.Tensor,
        **lectures: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """`loss`, the sum of all parts. `tokens` (pictures, patches, SLOTS) are those on the patches.

        `points` (pictures, tokens) says at which token each shall look. Both are UNKNOWN where nothing is
        known.
        """
        seen = self.answers.features_of(pixels)
        second = self.answers.base.base_model.language_model.layers[1]
        with _reading(second) as read:
            answers = self.answers(input_ids=input_ids, **lectures, features=seen)["loss"]
        losses = {
            "answers": answers,
            "copying": self._copying(seen, tokens, input_ids),
            "pointing": _pointing(second, read, points, lectures.get("mask")),
        }
        self.parts = {name: round(float(loss.detach()), 4) for name, loss in losses.items()}
        return {"loss": torch.stack(list(losses.values())).sum()}

    def _copying(self, seen: torch.Tensor, tokens: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        """Cross-entropies of what the heads look for and write, in patches in which a token begins."""
        base: Any = self.answers.base
        begins = (tokens[..., 1] != UNKNOWN) & (tokens[..., 1] != self._nothing)
        asked = tokens[begins]  # (n, SLOTS)
        places = (input_ids == base.config.image_token_id).nonzero()[:, 1].view(begins.shape)[begins]
        total = seen.new_zeros(())
        if not len(asked):
            return total
        from_place = places.max() + torch.randint(*_BEHIND, (1,)).to(places.device)
        model = base.base_model.language_model
        layer, known = model.layers[0], base.get_input_embeddings().weight
        patches = projected(base, seen[begins]).float()
        queries, _, _ = _looking(layer, known, model.rotary_emb(known, from_place[None]))
        _, keys, values = _looking(layer, patches, model.rotary_emb(patches, places[None]))
        width = queries.shape[-1]
        for head in range(min(_COPYING_HEADS, queries.shape[1])):
            looked = keys[:, head] @ queries[:, head].T / math.sqrt(width)  # (n, vocabulary)
            out = layer.self_attn.o_proj.weight[:, head * width : (head + 1) * width]
            written = values[:, head] @ out.T @ base.get_output_embeddings().weight.T
            total = total + functional.cross_entropy(looked, asked[:, head])
            total = total + functional.cross_entropy(written, asked[:, head + 1])
        return total


@contextmanager
def _reading(layer: nn.Module) -> Iterator[list[torch.Tensor]]:
    """What a layer reads: inputs (batch, tokens, width), then cosines and sines of their places."""
    read: list[torch.Tensor] = []

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        read[:] = args[0] if args else kwargs["hidden_states"], *kwargs["position_embeddings"]

    hook = layer.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield read
    finally:
        hook.remove()


def _pointing(
    layer: Any, read: list[torch.Tensor], points: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Cross-entropy of where the first head of a layer looks that has `read` this."""
    hidden, *turns = read
    rows, places = (points != UNKNOWN).nonzero(as_tuple=True)
    if not len(rows):
        return torch.zeros((), device=points.device)
    pictures, tokens, _ = hidden.shape
    cos, sin = (turn.float().expand(pictures, -1, -1).reshape(1, pictures * tokens, -1) for turn in turns)
    queries, keys, _ = _looking(layer, hidden.float().flatten(0, 1), (cos, sin))
    query, key = (part[:, 0].reshape(pictures, tokens, -1) for part in (queries, keys))
    looked = (query @ key.transpose(1, 2))[rows, places] / math.sqrt(query.shape[-1])
    if mask is None:
        unseen = torch.arange(tokens, device=places.device) > places[:, None]
    else:
        unseen = ~mask[rows, 0, places]
    return functional.cross_entropy(looked.masked_fill(unseen, -torch.inf), points[rows, places])


def _looking(
    layer: Any, inputs: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values (n, heads, head width) of the inputs of a layer (n, width).

    `turns` are cosines and sines of their places (1, n or 1, head width).
    """
    attention, normed = layer.self_attn, layer.input_layernorm(inputs)
    if hasattr(attention, "qkv_proj"):  # Phi-3's
        parts = attention.qkv_proj(normed).chunk(3, dim=-1)
    else:
        parts = tuple(part(normed) for part in (attention.q_proj, attention.k_proj, attention.v_proj))
    query, key, value = (part.unflatten(-1, (-1, attention.head_dim)) for part in parts)
    cos, sin = (turn.squeeze(0) for turn in turns)
    return (*apply_rotary_pos_emb(query, key, cos, sin), value)

"""Attention that knows where twigs lie, for reading token trees on a CPU.

A CPU's kernels spend their time on masked keys like on others, and a twig sees few of the keys of its row:
what was read before, and itself. So all tokens attend to what was read before, every twig to itself, and the
two are put together as one softmax over both would be.

Behind the last layer no token sees another, so there only those attend whose outcome is wanted.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.llama.modeling_llama import repeat_kv

from addressvlm.model.lastlayer import is_last, places_of

_NAME = "twigs"


@dataclass(frozen=True)
class Layout:
    """Where the twigs of a reading lie among its new tokens, (rows, new), and what they see.

    `tokens` (twigs, longest) numbers the tokens of each twig line by line, filled up with 0, and `inside`
    (twigs, longest) is False there. `own` (twigs, 1, longest, longest) is True where a token of a twig sees
    another, and `before` (rows, 1, new, old) where a token sees one that was read before, at least one; None
    where all see all.
    """

    tokens: torch.Tensor
    inside: torch.Tensor
    own: torch.Tensor
    before: torch.Tensor | None

    def gathered(self, values: torch.Tensor) -> torch.Tensor:
        """(rows, heads, new, …) as (twigs, heads, longest, …)."""
        return values.transpose(1, 2).flatten(0, 1)[self.tokens].transpose(1, 2)

    def spread(self, values: torch.Tensor, rows: int, new: int) -> torch.Tensor:
        """(twigs, heads, longest, …) as (rows, heads, new, …), 0 where no twig lies."""
        spread = values.new_zeros(rows * new, values.shape[1], *values.shape[3:])
        spread[self.tokens[self.inside]] = values.transpose(1, 2)[self.inside]
        return spread.view(rows, new, *spread.shape[1:]).transpose(1, 2)


def use_tree_attention(model: PreTrainedModel) -> None:
    """Let the language model attend twig by twig where it gets a `layout`, and as ever elsewhere.

    With `wanted`, (rows, tokens), the last layer attends for the tokens that are True and gives 0 for others.
    """
    AttentionInterface.register(_NAME, _attention_by_twigs)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation({"text_config": _NAME})


def _attention_by_twigs(
    module: nn.Module,
    query: torch.Tensor,  # (rows, heads, tokens, width)
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    layout: Layout | None = None,
    wanted: torch.Tensor | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """What Transformers' attention functions return: (rows, tokens, heads, width), and no weights."""
    if wanted is not None and is_last(module):
        return _attention_of(wanted, module, query, key, value, attention_mask, **options), None
    if layout is None:
        plain: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return plain
    rows, heads, new, _ = query.shape
    old = key.shape[2] - new
    key, value = (repeat_kv(part, heads // part.shape[1]) for part in (key, value))
    asking, asked, told = (layout.gathered(part) for part in (query, key[:, :, old:], value[:, :, old:]))
    before, of_before = _attended(
        query, key[:, :, :old], value[:, :, :old], layout.before, options["scaling"]
    )
    own, of_own = (
        layout.spread(part, rows, new)
        for part in _attended(asking, asked, told, layout.own, options["scaling"])
    )
    share = torch.sigmoid(of_own - of_before)[..., None].to(own.dtype)
    return torch.lerp(before, own, share).transpose(1, 2).contiguous(), None


def _attention_of(
    wanted: torch.Tensor,
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> torch.Tensor:
    """(rows, tokens, heads, width), 0 where a token is not wanted."""
    rows, heads, new, width = query.shape
    places = places_of(wanted)
    row = torch.arange(rows, device=places.device)[:, None]
    mask = None if attention_mask is None else attention_mask[row, 0, places][:, None]
    found, _ = sdpa_attention_forward(
        module, query.transpose(1, 2)[row, places].transpose(1, 2), key, value, mask, **options
    )
    whole = query.new_zeros(rows, new, heads, width)
    whole[row, places] = found * wanted[row, places][..., None, None]
    return whole


def _attended(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor | None, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """What queries (n, heads, queries, width) get from keys, and the log of the sum of their weights.

    PyTorch's public function keeps the second to itself. Every query must see a key.
    """
    mask = None
    if seen is not None:
        mask = query.new_zeros(seen.shape).masked_fill_(~seen, -torch.inf)
    found, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, attn_mask=mask, scale=scaling
    )
    return found, total

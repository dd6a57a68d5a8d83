"""Attention twig by twig, for reading token trees on a CPU.

A CPU's kernels spend their time on masked keys like on others, and a branch sees few of the keys of its row:
its stem and itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "twigs"


@dataclass(frozen=True)
class Block:
    """New tokens of a row that attend together, and to which keys.

    `keys` (keys,) are the places that any of them sees, `mask` (tokens, keys) is True where one does.
    """

    row: int
    tokens: slice
    keys: torch.Tensor
    mask: torch.Tensor


def use_tree_attention(model: PreTrainedModel) -> None:
    """Let the language model attend by blocks where it is called with `blocks=`, and as ever elsewhere."""
    AttentionInterface.register(_NAME, _attention_by_blocks)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation({"text_config": _NAME})


def _attention_by_blocks(
    module: nn.Module,
    query: torch.Tensor,  # (rows, heads, tokens, width)
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    blocks: Sequence[Block] | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """What Transformers' attention functions return: (rows, tokens, heads, width), and no weights."""
    if blocks is None:
        plain: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return plain
    attended = torch.zeros_like(query)
    for block in blocks:
        row = slice(block.row, block.row + 1)
        attended[row, :, block.tokens] = functional.scaled_dot_product_attention(
            query[row, :, block.tokens],
            key[row].index_select(2, block.keys),
            value[row].index_select(2, block.keys),
            attn_mask=block.mask,
            scale=options["scaling"],
            enable_gqa=key.shape[1] != query.shape[1],
        )
    return attended.transpose(1, 2).contiguous(), None

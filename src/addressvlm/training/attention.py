"""Attention as two matrix products and a softmax, for training on CPUs.

The fused kernels of CPUs are slow backwards, and Transformers' plain one works in float32: at the sizes of
the mini model this one takes half the time of either. On GPUs the fused kernels stay.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel


def use_plain_attention(model: PreTrainedModel) -> None:
    """Let a model attend with `plain_attention`: without a mask, or with one of four dimensions."""
    AttentionInterface.register("plain", plain_attention)
    model.set_attn_implementation("plain")


def plain_attention(
    module: nn.Module,
    query: torch.Tensor,  # (batch, heads, tokens, width)
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What Transformers' attention functions return: (batch, tokens, heads, width), and the weights.

    `attention_mask`, (batch, 1, tokens, tokens), is True where a query sees a key; None: causal where the
    module is, padding lies on the right.
    """
    assert query.shape[2] == key.shape[2], "training keeps no cache"
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = torch.matmul(query * scaling, key.transpose(2, 3))
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, -torch.inf)
    elif module.is_causal:
        tokens = scores.shape[-1]
        hidden = torch.full((tokens, tokens), -torch.inf, dtype=scores.dtype, device=scores.device)
        scores = scores + hidden.triu_(1)
    weights = functional.dropout(functional.softmax(scores, dim=-1), dropout, module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights

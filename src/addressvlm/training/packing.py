"""The chains of a batch one behind the other in one row, so that nothing is computed for padding.

Attention then keeps within the rows of before: PyTorch's `varlen_attn`, which runs on GPUs only and in half
precision. Whether it runs here, and gives what it should, is tried before it is used.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional

from addressvlm.model.conversation import IGNORED
from addressvlm.work import say


@dataclass(frozen=True)
class Packing:
    """Which tokens of a batch are kept, and where each chain ends among them."""

    kept: torch.Tensor  # (batch, tokens)
    ends: torch.Tensor  # (batch + 1,), beginning with 0

    def packed(self, tensor: torch.Tensor) -> torch.Tensor:
        """What is kept of (batch, tokens, …), (1, kept, …)."""
        return tensor[self.kept][None]

    def structure(self) -> dict[str, Any]:
        """What the language model must be told, by the names that Transformers has for it."""
        places = torch.arange(self.kept.shape[1], device=self.kept.device)
        return {
            "position_ids": self.packed(places.expand_as(self.kept)),
            "cu_seq_lens_q": self.ends,
            "max_length_q": int(self.ends.diff().max()),
        }


def packing(input_ids: torch.Tensor, labels: torch.Tensor, image_token_id: int) -> Packing:
    """Of every chain (batch, tokens), leave out what follows its last label: nothing that counts sees it."""
    needed = (labels != IGNORED) | (input_ids == image_token_id)  # a picture's features need all their places
    places = torch.arange(1, labels.shape[1] + 1, device=labels.device)
    lengths = (needed * places).amax(1)
    return Packing(places <= lengths[:, None], functional.pad(lengths.cumsum(0), (1, 0)).int())


def attended_in_rows(
    query: torch.Tensor,  # (tokens, heads, width), of all rows
    key: torch.Tensor,
    value: torch.Tensor,
    ends: torch.Tensor,  # (rows + 1,)
    longest: int,
    scale: float,
) -> torch.Tensor:
    """Causal attention within each row, (tokens, heads, width)."""
    if not query.is_cuda:
        return _row_by_row(query, key, value, ends, scale)
    from torch.nn.attention.varlen import varlen_attn

    out: Any = varlen_attn(query, key, value, ends, ends, longest, longest, scale=scale, window_size=(-1, 0))
    return out  # type: ignore[no-any-return]


def _row_by_row(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, ends: torch.Tensor, scale: float
) -> torch.Tensor:
    rows = []
    for begin, end in pairwise(ends.tolist()):
        q, k, v = (tensor[begin:end].transpose(0, 1) for tensor in (query, key, value))
        if begin < end:
            rows.append(functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale))
    return torch.cat(rows, dim=1).transpose(0, 1)


@cache
def kernel_is_right(head_width: int) -> bool:
    """Whether PyTorch's kernel for rows of different lengths runs here, and agrees with the plain one."""
    if not torch.cuda.is_available():
        return False
    try:
        wrong = _difference(head_width)
    except Exception as error:  # of an older PyTorch, a GPU without it, a width that it does not take
        say(f"batches are padded: attention in rows does not run here ({error})")
        return False
    if wrong > 0.05:
        say(f"batches are padded: attention in rows is off by {wrong:.2g} here")
    return wrong <= 0.05


def _difference(head_width: int) -> float:
    """Of the kernel's gradients and the plain ones, relative to the largest, on two short rows."""
    ends = torch.tensor([0, 40, 100], dtype=torch.int32, device="cuda")
    drawn = torch.randn(3, 100, 2, head_width, generator=torch.Generator().manual_seed(0))
    found = []
    for plain in (True, False):
        qkv = drawn.to("cuda", torch.bfloat16).requires_grad_()
        query, key, value = qkv.unbind(0)
        scale = head_width**-0.5
        if plain:
            out = _row_by_row(query, key, value, ends, scale)
        else:
            out = attended_in_rows(query, key, value, ends, 60, scale)
        (gradient,) = torch.autograd.grad(out.float().square().sum(), qkv)
        found.append(gradient.float())
    expected, ours = found
    return float((ours - expected).abs().max() / expected.abs().max())

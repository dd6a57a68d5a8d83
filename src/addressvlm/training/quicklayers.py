"""The inner parts of CLIP, SigLIP and Phi-3 layers with as few passes over memory as PyTorch allows.

The small operations between matrix products take as long as the products: every one reads and writes its
tensors, once forwards and several times backwards, and keeps some of them in between. Here norms, activations
and rotations have a backward of their own; on a CPU the whole of an attention has, on a GPU it is PyTorch's
kernel. What comes out is the same. Other families keep their layers.

Behind the last layer no token sees another, so in it only those need an outcome that are learned from: a
twentieth of a conversation with a picture, or less.
"""

from itertools import pairwise
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from addressvlm.model.fusedlora import fused
from addressvlm.model.lastlayer import is_last, places_of
from addressvlm.training.packing import attended_in_rows

_PHI3_ATTENTION, _PHI3_MLP, _PHI3_NORM = "Phi3Attention", "Phi3MLP", "Phi3RMSNorm"
_PHI3_LAYER = "Phi3DecoderLayer"
_VISION_ATTENTION, _VISION_MLP = ("CLIPAttention", "SiglipAttention"), ("CLIPMLP", "SiglipMLP")

# Tokens that ask at a time in float32: half of all scores of a causal attention are none, and need not be
# computed. In bfloat16 that gains nothing.
_BLOCK = 160


def use_quick_layers(model: nn.Module) -> int:
    """Replace the forward of all modules that are known here; returns how many."""
    replaced = 0
    for module in model.modules():
        forward = _forward_of(module)
        if forward is not None:
            module.forward = MethodType(forward, module)
            replaced += 1
    return replaced


def head_width_in_rows(language_model: Any) -> int | None:
    """The width of the heads of a language model whose quick layers can keep within rows; else None."""
    attentions: list[Any] = [getattr(layer, "self_attn", None) for layer in language_model.layers]
    if all(getattr(one, "forward", None) == MethodType(_phi3_attention, one) for one in attentions):
        return int(attentions[0].head_dim)
    return None


def ends_with_wanted(language_model: Any) -> bool:
    """Whether the last layer takes `wanted`, (batch, tokens), and gives (1, wanted tokens, width) then."""
    last = language_model.layers[-1]
    return bool(getattr(last, "forward", None) == MethodType(_last_phi3_layer, last))


def _forward_of(module: Any) -> Any:
    kind = type(module).__name__
    if kind == _PHI3_NORM:
        return _norm
    if kind == _PHI3_MLP and getattr(module.config, "hidden_act", "") == "silu":
        return _gated_mlp
    if kind == _PHI3_ATTENTION and _is_plain_phi3(module.config):
        return _phi3_attention
    if kind == _PHI3_LAYER and _is_plain_phi3(module.self_attn.config) and is_last(module.self_attn):
        return _last_phi3_layer
    if kind in _VISION_ATTENTION:
        return _vision_attention
    if kind in _VISION_MLP and module.config.hidden_act == "quick_gelu":
        return _vision_mlp
    return None


def _is_plain_phi3(config: Any) -> bool:
    rope = getattr(config, "rope_parameters", None) or {}
    return bool(
        config.num_key_value_heads == config.num_attention_heads
        and config.attention_dropout == 0
        and rope.get("partial_rotary_factor", getattr(config, "partial_rotary_factor", 1.0)) == 1.0
    )


def _norm(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    if hidden_states.is_cuda:  # it has a kernel for all of this
        weight = self.weight.to(hidden_states.dtype)
        return functional.rms_norm(hidden_states, weight.shape, weight, self.variance_epsilon)
    out: torch.Tensor = _rms_norm(hidden_states, self.weight, self.variance_epsilon)
    return out


def _gated_mlp(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = self.down_proj(_gated_silu(self.gate_up_proj(hidden_states)))
    return out


def _vision_mlp(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = self.fc2(_quick_gelu(self.fc1(hidden_states)))
    return out


def _phi3_attention(
    self: Any,
    hidden_states: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    attention_mask: torch.Tensor | None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int = 0,
    asking: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Of tokens where `asking` (batch, tokens) is True, if it is given, side by side: (1, asking, width)."""
    qkv = self.qkv_proj(hidden_states)
    cos, sin = position_embeddings
    if cu_seq_lens_q is None and asking is not None:
        out = _attended_by(asking, qkv, self.head_dim, self.scaling, attention_mask, cos, sin)
    elif cu_seq_lens_q is None:
        out = _attended(qkv, self.head_dim, self.scaling, attention_mask, cos, sin, True)
    else:  # one row of several, see `training/packing.py`
        (of_row,) = _laid_out(qkv, self.head_dim, cos, sin).unbind(1)  # (3, heads, tokens, head_width)
        query, key, value = of_row.transpose(1, 2).unbind(0)
        out = attended_in_rows(query, key, value, cu_seq_lens_q, max_length_q, self.scaling)
        out = out.reshape(*qkv.shape[:2], -1)
        if asking is not None:
            out = out[asking][None]
    return self.o_proj(out), None


def _last_phi3_layer(
    self: Any, hidden_states: torch.Tensor, *args: Any, wanted: torch.Tensor | None = None, **rest: Any
) -> torch.Tensor:
    if wanted is None:
        whole: torch.Tensor = type(self).forward(self, hidden_states, *args, **rest)
        return whole
    attended, _ = self.self_attn(self.input_layernorm(hidden_states), *args, asking=wanted, **rest)
    hidden = hidden_states[wanted][None] + self.resid_attn_dropout(attended)
    out: torch.Tensor = hidden + self.resid_mlp_dropout(self.mlp(self.post_attention_layernorm(hidden)))
    return out


def _attended_by(
    asking: torch.Tensor,
    qkv: torch.Tensor,
    head_width: int,
    scale: float,
    mask: torch.Tensor | None,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> torch.Tensor:
    """What the tokens attend to where `asking` (batch, tokens) is True, (1, asking, width)."""
    places = places_of(asking)
    row = torch.arange(len(qkv), device=qkv.device)[:, None]
    query, key, value = _laid_out(qkv, head_width, cos, sin).unbind(0)  # (batch, heads, tokens, head_width)
    if mask is None:
        seen = torch.arange(qkv.shape[1], device=qkv.device) <= places[..., None]
    else:
        seen = mask[row, 0, places]  # (batch, most, tokens)
    query = query.transpose(1, 2)[row, places].transpose(1, 2)
    out = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None], scale=scale)
    return out.transpose(1, 2)[asking[row, places]].flatten(1)[None]


def _vision_attention(
    self: Any, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
) -> tuple[torch.Tensor, None]:
    together = fused([self.q_proj, self.k_proj, self.v_proj])
    if together is not None:
        qkv = together(hidden_states)
    else:
        parts = [layer(hidden_states) for layer in (self.q_proj, self.k_proj, self.v_proj)]
        qkv = torch.cat(parts, dim=-1)
    out = _attended(qkv, self.head_dim, self.scale, None, None, None, False)
    return self.out_proj(out), None


def _attended(
    qkv: torch.Tensor,
    head_width: int,
    scale: float,
    mask: torch.Tensor | None,
    cos: torch.Tensor | None,
    sin: torch.Tensor | None,
    causal: bool,
) -> torch.Tensor:
    """What `_Attention` gives, by whichever way is quickest on this device."""
    way = attended_by_kernel if qkv.is_cuda else _attend
    out: torch.Tensor = way(qkv, head_width, scale, mask, cos, sin, causal)
    return out


def attended_by_kernel(
    qkv: torch.Tensor,
    head_width: int,
    scale: float,
    mask: torch.Tensor | None,
    cos: torch.Tensor | None,
    sin: torch.Tensor | None,
    causal: bool,
) -> torch.Tensor:
    """The same by PyTorch's fused attention, which keeps no weights; with a mask it chooses a slower one."""
    query, key, value = _laid_out(qkv, head_width, cos, sin).unbind(0)
    out = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal and mask is None, scale=scale
    )
    return out.transpose(1, 2).reshape(*qkv.shape[:2], -1)


class _Attention(torch.autograd.Function):
    """Queries, keys and values side by side, (batch, tokens, 3 · width), to what they attend to."""

    @staticmethod
    def forward(
        ctx: Any,
        qkv: torch.Tensor,
        head_width: int,
        scale: float,
        mask: torch.Tensor | None,  # (batch, 1, tokens, tokens), True where a query sees a key, never ahead
        cos: torch.Tensor | None,  # (batch or 1, tokens, head_width)
        sin: torch.Tensor | None,
        causal: bool,
    ) -> torch.Tensor:
        batch, tokens = qkv.shape[:2]
        kept, cos, sin = _rotated(qkv, head_width, cos, sin)
        heads = kept.shape[2]
        query, key, value = kept.view(3, batch * heads, tokens, head_width)
        hidden = _hidden(mask, tokens, causal, kept)
        out = qkv.new_empty(batch, tokens, heads, head_width)
        ahead = not causal or kept.dtype != torch.float32  # whether scores of later tokens are computed
        weights = []
        for asking, seen in _blocks(tokens, ahead):
            unseen = None if hidden is None else hidden[..., asking, seen]
            weights.append(_weights(query[:, asking], key[:, seen], scale, unseen, heads))
            part = torch.bmm(weights[-1], value[:, seen])
            out[:, asking] = part.view(batch, heads, -1, head_width).transpose(1, 2)
        ctx.save_for_backward(kept, cos, sin, *weights)
        ctx.rest = scale, ahead
        return out.view(batch, tokens, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        kept, cos, sin, *all_weights = ctx.saved_tensors
        scale, ahead = ctx.rest
        _, batch, heads, tokens, head_width = kept.shape
        query, key, value = kept.view(3, batch * heads, tokens, head_width)
        gradient = gradient.view(batch, tokens, heads, head_width).transpose(1, 2)
        gradient = gradient.reshape(batch * heads, tokens, head_width)
        of_kept = torch.empty_like(kept) if ahead else torch.zeros_like(kept)
        of_query, of_key, of_value = of_kept.view(3, batch * heads, tokens, head_width)
        beta = 0 if ahead else 1  # keys gather what all later blocks ask of them
        for (asking, seen), weights in zip(_blocks(tokens, ahead), all_weights, strict=True):
            part = gradient[:, asking]
            of_value[:, seen].baddbmm_(weights.transpose(1, 2), part, beta=beta)
            of_weights = torch.bmm(part, value[:, seen].transpose(1, 2))
            of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            of_query[:, asking].baddbmm_(of_scores, key[:, seen], beta=0, alpha=scale)
            of_key[:, seen].baddbmm_(of_scores.transpose(1, 2), query[:, asking], beta=beta, alpha=scale)
        return (_rotated_back(of_kept, cos, sin), None, None, None, None, None, None)


class _LaidOut(torch.autograd.Function):
    """Queries, keys and values side by side to (3, batch, heads, tokens, head_width), positions put in."""

    @staticmethod
    def forward(
        ctx: Any, qkv: torch.Tensor, head_width: int, cos: torch.Tensor | None, sin: torch.Tensor | None
    ) -> torch.Tensor:
        kept, cos, sin = _rotated(qkv, head_width, cos, sin)
        ctx.save_for_backward(cos, sin)
        return kept

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return _rotated_back(gradient, *ctx.saved_tensors), None, None, None


def _rotated(
    qkv: torch.Tensor, head_width: int, cos: torch.Tensor | None, sin: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Queries, keys and values (3, batch, heads, tokens, head_width), and the halves of the tables."""
    laid_out = qkv.view(*qkv.shape[:2], 3, -1, head_width).permute(2, 0, 3, 1, 4)
    if cos is None or sin is None:
        return laid_out.contiguous(), None, None
    cos, sin = _half(cos, qkv.dtype), _half(sin, qkv.dtype)
    kept = qkv.new_empty(laid_out.shape)
    _rotate(laid_out[:2], cos, sin, kept[:2])
    kept[2] = laid_out[2]
    return kept, cos, sin


def _rotated_back(gradient: torch.Tensor, cos: torch.Tensor | None, sin: torch.Tensor | None) -> torch.Tensor:
    """The gradient of queries, keys and values side by side, from that of what `_rotated` gave."""
    _, batch, heads, tokens, head_width = gradient.shape
    out = gradient.new_empty(batch, tokens, 3, heads, head_width)
    laid_out = out.permute(2, 0, 3, 1, 4)
    if cos is None or sin is None:
        laid_out.copy_(gradient)
    else:
        _rotate(gradient[:2], cos, -sin, laid_out[:2])
        laid_out[2] = gradient[2]
    return out.view(batch, tokens, -1)


def _blocks(tokens: int, ahead: bool) -> list[tuple[slice, slice]]:
    """Tokens that ask at a time, and those of which scores are computed: not later ones, unless `ahead`."""
    if ahead:
        return [(slice(0, tokens), slice(0, tokens))]
    count = max(1, round(tokens / _BLOCK))
    ends = [tokens * number // count for number in range(count + 1)]
    return [(slice(begin, end), slice(0, end)) for begin, end in pairwise(ends)]


def _hidden(mask: torch.Tensor | None, tokens: int, causal: bool, like: torch.Tensor) -> torch.Tensor | None:
    """What is added to scores: minus infinity where a key is not seen; None if all are."""
    if mask is not None:
        return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill_(~mask, -torch.inf)
    if causal:
        return torch.full((tokens, tokens), -torch.inf, dtype=like.dtype, device=like.device).triu_(1)
    return None


def _weights(
    query: torch.Tensor, key: torch.Tensor, scale: float, hidden: torch.Tensor | None, heads: int
) -> torch.Tensor:
    """Softmax of the scaled products, (batch · heads, asking, seen)."""
    scores = query.new_empty(len(query), query.shape[1], key.shape[1])
    if hidden is not None:
        scores.view(-1, heads, *scores.shape[1:]).copy_(hidden)
    beta = 0 if hidden is None else 1
    scores = torch.baddbmm(scores, query, key.transpose(1, 2), beta=beta, alpha=scale, out=scores)
    return functional.softmax(scores, dim=-1)


def _half(table: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The first half of the rotary table, which the second repeats, (batch or 1, 1, tokens, width / 2)."""
    return table[..., : table.shape[-1] // 2].to(dtype).unsqueeze(1)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, out: torch.Tensor) -> None:
    """Rotary embedding of (…, tokens, width) into `out`; backwards it is the rotation by the other sign."""
    half = x.shape[-1] // 2
    torch.mul(x[..., :half], cos, out=out[..., :half])
    out[..., :half].addcmul_(x[..., half:], sin, value=-1)
    torch.mul(x[..., half:], cos, out=out[..., half:])
    out[..., half:].addcmul_(x[..., :half], sin)


class _GatedSilu(torch.autograd.Function):
    """silu(gate) · up of (…, gate and up side by side)."""

    @staticmethod
    def forward(ctx: Any, both: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, dim=-1)
        out: torch.Tensor = functional.silu(gate).mul_(up)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (both,) = ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        out = torch.empty_like(both)
        of_gate, of_up = out.chunk(2, dim=-1)
        torch.mul(gradient, functional.silu(gate), out=of_up)
        of_gate.copy_(torch.ops.aten.silu_backward(gradient * up, gate))
        return out


class _QuickGelu(torch.autograd.Function):
    """x · sigmoid(1.702 x), which is silu(1.702 x) / 1.702."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        out: torch.Tensor = torch.sigmoid_(x * 1.702).mul_(x)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        out: torch.Tensor = torch.ops.aten.silu_backward(gradient, x * 1.702)
        return out


class _RmsNorm(torch.autograd.Function):
    """Phi-3's norm: in float32, scaled by its weight in the precision of the input."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_()
        scale = squares.div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        out: torch.Tensor = (x * scale).to(x.dtype) * weight
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = (gradient * (x * scale)).flatten(0, -2).sum(0).to(weight.dtype)
        scaled = gradient.float() * weight
        along = torch.linalg.vecdot(scaled, x.to(scaled.dtype)).unsqueeze(-1)
        along.mul_(scale.square()).mul_(-1 / x.shape[-1])
        of_x = scaled.addcmul_(x, along).mul_(scale)
        return of_x.to(x.dtype), of_weight, None


_attend: Any = _Attention.apply
_laid_out: Any = _LaidOut.apply
_gated_silu: Any = _GatedSilu.apply
_quick_gelu: Any = _QuickGelu.apply
_rms_norm: Any = _RmsNorm.apply

"""Linear layers with adapters as one function, with a backward of its own.

peft computes an adapter beside its layer: five passes over the output and nine over its gradient. Here layers
that read the same input (query, key and value) share one product, the adapter's share is added inside
it, the dropout is drawn again in the backward instead of being kept, and the layers' weights are kept in the
precision that is computed in. Parameters and files stay peft's; loss and gradients are the same.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.autograd.function import once_differentiable

# Children of one module that read the same input, in the order in which they are called.
_GROUPS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
_ADAPTER = "default"


def fuse_adapters(model: nn.Module, *, sharded: bool = False) -> int:
    """Let every layer with a peft adapter compute as described above; returns how many do.

    The layers' own weights must stay as they are from now on; those of the adapters are read at every call.
    If `sharded`, own weights are read at every call, too, and each layer computes alone: nothing that is
    made of whole weights may be kept.
    """
    grouped: set[nn.Module] = set()
    groups: list[list[Any]] = []
    for parent in model.modules():
        children = dict(parent.named_children())
        for names in () if sharded else _GROUPS:
            layers = [children.get(name) for name in names]
            if all(_is_fusible(layer) for layer in layers):
                chosen = cast(list[LoraLinear], layers)
                groups.append(chosen)
                grouped.update(chosen)
    groups += [[layer] for layer in model.modules() if _is_fusible(layer) and layer not in grouped]
    for group in groups:
        together = FusedLinear(group, keeps=not sharded)
        for number, member in enumerate(group):
            member.forward = _Turn(together, number)
    return sum(map(len, groups))


def fused(layers: Sequence[nn.Module]) -> "FusedLinear | None":
    """What `fuse_adapters` made of exactly these layers, or None."""
    turns = [layer.forward for layer in layers]
    groups = {turn.together for turn in turns if isinstance(turn, _Turn)}
    if len(groups) != 1:
        return None
    (group,) = groups
    return group if list(group.layers) == list(layers) else None


class FusedLinear:
    """Layers with adapters that read the same input."""

    def __init__(self, layers: Sequence[LoraLinear], *, keeps: bool = True):
        assert keeps or len(layers) == 1, "side by side is a copy"
        self.layers = layers
        self._keeps = keeps
        self.sizes = [layer.base_layer.out_features for layer in layers]
        self._weight: torch.Tensor | None = None
        self._bias: torch.Tensor | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs of all layers side by side, (…, their widths together), for an input of (…, width)."""
        weight, bias = self._base(x)
        scales = [layer.scaling[_ADAPTER] for layer in self.layers]
        dropout = getattr(self.layers[0].lora_dropout[_ADAPTER], "p", 0.0)
        if not self.layers[0].training:
            dropout = 0.0
        downs = [layer.lora_A[_ADAPTER].weight for layer in self.layers]
        ups = [layer.lora_B[_ADAPTER].weight for layer in self.layers]
        out: torch.Tensor = _lora_product(x, weight, bias, scales, dropout, *downs, *ups)
        return out

    def _base(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight (widths, width) and bias of all layers side by side, in the precision of this call.

        The layers' own weights become views of it where they have its precision, so nothing is kept twice.
        """
        dtype = x.dtype
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
        if not self._keeps:
            base = self.layers[0].base_layer
            return base.weight.to(dtype), None if base.bias is None else base.bias.to(dtype)
        kept = self._weight
        if kept is None or kept.dtype != dtype or kept.device != x.device:
            bases = [layer.base_layer for layer in self.layers]
            with torch.no_grad():
                kept = _together([base.weight.to(x.device) for base in bases], dtype)
                for base, part in zip(bases, kept.split_with_sizes(self.sizes), strict=True):
                    if base.weight.dtype == dtype:
                        base.weight.data = part
                self._bias = None
                if bases[0].bias is not None:
                    self._bias = torch.cat([base.bias.to(x.device, dtype) for base in bases])
            self._weight = kept
        return kept, self._bias


class _Turn:
    """The forward of one layer of a group: the first computes for all, the others take their share."""

    def __init__(self, together: FusedLinear, number: int):
        self.together = together
        self._number = number

    def __call__(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        if len(self.together.layers) == 1:
            return self.together(x)
        shared: list[Any] = self.together.__dict__.setdefault("shared", [None, ()])
        if self._number == 0:
            shared[:] = [x, self.together(x).split_with_sizes(self.together.sizes, dim=-1)]
        assert shared[0] is x, "layers of a group are called in their order, with the same input"
        share: torch.Tensor = shared[1][self._number]
        if self._number == len(self.together.layers) - 1:
            shared[:] = [None, ()]
        return share


class _LoraProduct(torch.autograd.Function):
    """x W^T + bias + scale · dropout(x) A^T B^T, for several (A, B) beside each other over one W."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,  # (…, width)
        weight: torch.Tensor,  # (widths, width), in the precision to compute in
        bias: torch.Tensor | None,
        scales: Sequence[float],
        dropout: float,
        *adapters: torch.Tensor,  # the As (rank, width), then the Bs (widths of each, rank)
    ) -> torch.Tensor:
        dtype, number = weight.dtype, len(adapters) // 2
        with torch.autocast(x.device.type, enabled=False):
            rows = x.reshape(-1, x.shape[-1]).to(dtype)
            down = _together(adapters[:number], dtype)
            ups = [up.to(dtype) for up in adapters[number:]]
            seed = int(torch.randint(2**62, ())) if dropout else 0
            inner = _kept(rows, _keeps(rows, dropout, seed)) @ down.T  # (rows, ranks)
            kept = [scale / (1 - dropout) for scale in scales]
            out = _sum_of_products(rows, weight, bias, inner, ups, kept)
        ctx.save_for_backward(rows, weight, inner, *adapters)
        ctx.rest = x.shape, x.dtype, kept, dropout, seed
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        rows, weight, inner, *adapters = ctx.saved_tensors
        shape, dtype_of_x, kept, dropout, seed = ctx.rest
        dtype, number = weight.dtype, len(adapters) // 2
        downs, ups = adapters[:number], adapters[number:]
        gradient = gradient.reshape(-1, weight.shape[0]).to(dtype)
        parts = gradient.split_with_sizes([len(up) for up in ups], dim=1)
        ranks = [len(down) for down in downs]
        of_inner = _together_columns(  # (rows, ranks)
            [(part @ up.to(dtype)).mul_(scale) for part, up, scale in zip(parts, ups, kept, strict=True)]
        )
        of_ups = [
            (inside.T @ part).T.to(up.dtype).mul_(scale)
            for part, inside, up, scale in zip(
                parts, inner.split_with_sizes(ranks, dim=1), ups, kept, strict=True
            )
        ]
        keeps = _keeps(rows, dropout, seed)
        of_down = of_inner.T @ _kept(rows, keeps)
        of_downs = [
            part.to(down.dtype) for part, down in zip(of_down.split_with_sizes(ranks), downs, strict=True)
        ]
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = gradient @ weight
            down = _together(downs, dtype)
            if keeps is None:
                of_x.addmm_(of_inner, down)
            else:
                of_x += _kept(of_inner @ down, keeps)
            of_x = of_x.view(shape).to(dtype_of_x)
        return (of_x, None, None, None, None, *of_downs, *of_ups)


_lora_product: Any = _LoraProduct.apply


def _sum_of_products(
    rows: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    inner: torch.Tensor,
    ups: Sequence[torch.Tensor],
    scales: Sequence[float],
) -> torch.Tensor:
    """rows W^T + bias + scale · inner B^T, (rows, widths)."""
    out = rows @ weight.T if bias is None else torch.addmm(bias, rows, weight.T)
    ranks = [up.shape[1] for up in ups]
    widths = [len(up) for up in ups]
    for part, inside, up, scale in zip(
        out.split_with_sizes(widths, dim=1), inner.split_with_sizes(ranks, dim=1), ups, scales, strict=True
    ):
        part.addmm_(inside, up.T, alpha=scale)
    return out


def _together(matrices: Sequence[torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    return (matrices[0] if len(matrices) == 1 else torch.cat(list(matrices))).to(dtype)


def _together_columns(matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    return matrices[0] if len(matrices) == 1 else torch.cat(list(matrices), dim=1)


def _keeps(like: torch.Tensor, dropout: float, seed: int) -> torch.Tensor | None:
    """Which numbers stay, drawn from the seed, as integers to combine them with bit by bit: all ones or none.

    Four are drawn from 64 random bits; the share that is dropped is a multiple of 1 / 32768. PyTorch's own
    dropout takes ten times as long on a CPU.
    """
    if not dropout:
        return None
    words = (like.numel() + 3) // 4
    if like.device.type == "cpu":
        bits = torch.from_numpy(np.random.SFC64(seed).random_raw(words).view(np.int64))
    else:
        generator = torch.Generator(like.device).manual_seed(seed)
        bits = torch.empty(words, dtype=torch.int64, device=like.device)
        bits.random_(-(2**63), None, generator=generator)
    draws = bits.view(torch.int16)[: like.numel()].view(like.shape).bitwise_and_(2**15 - 1)
    # Less than nothing where it is dropped; the shift leaves the sign in every bit.
    keeps = draws.sub_(round(dropout * 2**15)).bitwise_right_shift_(15).bitwise_not_()
    return keeps if like.element_size() == 2 else keeps.int()


def _kept(numbers: torch.Tensor, keeps: torch.Tensor | None) -> torch.Tensor:
    """The numbers, 0 where they are dropped; the others are not scaled up here."""
    if keeps is None:
        return numbers
    return numbers.view(keeps.dtype).bitwise_and(keeps).view(numbers.dtype)


def _is_fusible(layer: object) -> bool:
    """A linear layer with one plain adapter that is in use."""
    return (
        isinstance(layer, LoraLinear)
        and isinstance(layer.base_layer, nn.Linear)
        and layer.active_adapters == [_ADAPTER]
        and not (layer.merged or layer.disable_adapters or layer.use_dora.get(_ADAPTER))
        and not layer.base_layer.weight.requires_grad
        and not layer.lora_bias.get(_ADAPTER)
    )

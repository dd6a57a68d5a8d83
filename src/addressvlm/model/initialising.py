"""Random weights that let a small model learn quickly."""

import math

import torch
from torch import nn

_SIGMA = 1.0 / 3  # of a window, in steps of the grid that windows stand on
_KINDS = 8


def initialise(model: nn.Module, *, seed: int) -> None:
    """Draw weights in the order of their names, and give the vision tower eyes.

    Linear layers and convolutions by their fan-in; Hugging Face's 0.02 is far smaller at these widths. The
    patches are looked at through local filters: behind dense noise a tower has to learn every letter anew
    for every place that it can have in a patch (docs/experiment-log.md, 2026-11-29).
    """
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(model.named_parameters()):
        if weight.ndim > 1:
            nn.init.normal_(weight, std=_std(name, weight), generator=generator)
        elif name.endswith("class_embedding"):
            nn.init.normal_(weight, std=0.2, generator=generator)
        else:
            nn.init.constant_(weight, 0.0 if name.endswith("bias") else 1.0)
        if name.endswith("patch_embedding.weight") and weight.shape[1] == 3:
            filters = local_filters(len(weight), weight.shape[-1])
            with torch.no_grad():
                weight[: len(filters)] = filters


def local_filters(width: int, patch_px: int) -> torch.Tensor:
    """Filters (at most `width`, 3, patch_px, patch_px) of norm 1, each a window somewhere in a patch.

    At every point of a grid the brightness, its Laplacian, two slopes, two saddles, and two colours; the
    grid is as fine as the width allows, and what is left of the width stays random.
    """
    side = math.isqrt(width // _KINDS)
    if side == 0:
        return torch.empty(0, 3, patch_px, patch_px)
    step = patch_px / side
    along = torch.arange(patch_px).float()
    middles = (torch.arange(side) + 0.5) * step - 0.5
    x = along - middles[:, None]  # (side, patch_px): across from the middle of each window
    y, x = x[:, None, :, None], x[None, :, None, :]
    sigma = max(_SIGMA * step, 0.5)
    window = torch.exp(-(x**2 + y**2) / (2 * sigma**2))  # (side, side, patch_px, patch_px)
    grey = torch.ones(3)
    red, blue = torch.tensor([1.0, -1.0, 0.0]), torch.tensor([0.5, 0.5, -1.0])
    shapes = (
        (window, grey),
        (window * ((x**2 + y**2) / sigma**2 - 2), grey),
        (window * x, grey),
        (window * y, grey),
        (window * (x**2 - y**2), grey),
        (window * x * y, grey),
        (window, red),
        (window, blue),
    )
    filters = torch.stack([shape[..., None, :, :] * colour[:, None, None] for shape, colour in shapes], dim=2)
    filters = filters.flatten(0, 2)  # (side² · kinds, 3, patch_px, patch_px)
    norms: torch.Tensor = filters.flatten(1).norm(dim=1).clamp_min(1e-6)
    return filters / norms[:, None, None, None]


def _std(name: str, weight: torch.Tensor) -> float:
    if "position_embedding" in name:
        return 0.2  # 0.02 drowns beside the patches: a tower that sees no places learns slowly
    if "embed_tokens" in name:
        return 0.08
    return 1 / math.sqrt(weight[0].numel())

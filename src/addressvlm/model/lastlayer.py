"""Behind the last layer no token sees another: there only those need an outcome that somebody reads."""

from typing import Any

import torch


def is_last(attention: Any) -> bool:
    """Whether an attention of a language model is that of its last layer."""
    return bool(attention.layer_idx == attention.config.num_hidden_layers - 1)


def places_of(wanted: torch.Tensor) -> torch.Tensor:
    """Where the wanted tokens of each row (rows, tokens) lie, in their order, (rows, most of a row).

    Rows in which fewer are wanted are filled up with others, whose outcome is to be left out.
    """
    most = int(wanted.sum(1).max())
    return wanted.byte().argsort(dim=1, descending=True, stable=True)[:, :most]

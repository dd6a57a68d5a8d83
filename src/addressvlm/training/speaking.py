"""The loss of a language model that learns to answer, and to copy what the tower reads.

A name is copied token by token: find the patch in which the token behind the last one begins, and write it.
A small model does not come upon this by answers alone. So its view of a patch, the projector's output, shall
also tell the tokens that begin there by their rows in the output head (what is to be written), and the one
before them by its row in the input embedding (what it is to be found by): then one head of attention copies
every name. Both are asked through linear layers that are thrown away.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from addressvlm.model.embedding import projected
from addressvlm.training.loss import AnswerLoss
from addressvlm.training.reading import SLOTS, UNKNOWN


class Speaking(nn.Module):
    """The loss of lectures; `parts` are those of the last batch by name.

    `nothing` is the token that stands for none in `reading.tokens_of`.
    """

    def __init__(self, answers: AnswerLoss, *, nothing: int, seed: int):
        super().__init__()
        self.answers = answers
        self._nothing = nothing
        width = answers.base.config.text_config.hidden_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.told = nn.Linear(width, SLOTS * width)
        self.parts: dict[str, float] = {}

    def forward(
        self, pixels: torch.Tensor, tokens: torch.Tensor, **lectures: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """`loss`, the sum of both. `tokens` (pictures, patches, SLOTS) is UNKNOWN where nothing is known."""
        seen = self.answers.features_of(pixels)
        losses = {
            "answers": self.answers(**lectures, features=seen)["loss"],
            "copying": self._copying(seen, tokens),
        }
        self.parts = {name: round(float(loss.detach()), 4) for name, loss in losses.items()}
        return {"loss": torch.stack(list(losses.values())).sum()}

    def _copying(self, seen: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the tokens of patches in which one begins; 0 where there are none."""
        begins = (tokens[..., 1] != UNKNOWN) & (tokens[..., 1] != self._nothing)
        asked, base = tokens[begins], self.answers.base
        told = self.told(projected(base, seen[begins]).float()).unflatten(-1, (SLOTS, -1))
        before = told[:, 0] @ base.get_input_embeddings().weight.T
        written = told[:, 1:] @ base.get_output_embeddings().weight.T
        logits: Any = torch.cat([before[:, None], written], dim=1).flatten(0, 1)
        total = functional.cross_entropy(logits, asked.flatten(), reduction="sum")
        return total / max(1, asked.numel())

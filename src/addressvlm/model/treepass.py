"""Token trees through a stock Hugging Face model: read once, kept, and read on at any place.

What a token sees goes in as a mask of four dimensions and its depth as its position, so every branch gets
what it would get alone. A pass has rows that are independent of each other, one for each picture (or each
set of pictures that belong together).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import PreTrainedModel

from addressvlm.model.pictures import picture_inputs
from addressvlm.model.roomycache import roomy_cache
from addressvlm.model.tokentree import TokenTree
from addressvlm.model.treeattention import Layout

# Readings with shorter twigs attend faster in one product over all keys than twig by twig.
_TOKENS_WORTH_A_LAYOUT = 16


@dataclass(frozen=True)
class Twig:
    """A tree to be read behind a place of a row, as if its roots followed the token there; or by itself."""

    tree: TokenTree
    behind: int | None = None


Rows = Sequence[Sequence[Twig]]


class TreePass:
    """Rows of tokens that a model has read.

    A place is the number of a token in its row. Twigs that are read take the next places of their row, one
    after the other; shorter rows are padded, so that the next reading begins at the same place in all.
    """

    def __init__(self, model: PreTrainedModel, rows: int):
        self._model = model
        self._cache = roomy_cache()
        # What each place sees, reading by reading: the first new place, and (rows, new, places until then).
        self._readings: list[tuple[int, npt.NDArray[np.bool_]]] = []
        self._depths = np.zeros((rows, 0), np.int64)
        self.tips: list[list[int]] = [[] for _ in range(rows)]
        """The place of the last token of every twig of the latest reading, row by row."""

    @torch.inference_mode()
    def read(self, rows: Rows, images: torch.Tensor | None = None, *, every: bool = False) -> torch.Tensor:
        """Read and keep twigs; gives what the model makes of the last token of each, (twigs, width).

        With `every` it is what the model makes of all their tokens, (tokens, width), row by row and twig by
        twig. `images`, normalised (pictures, 3, size, size), are what the picture tokens of all rows stand
        for, in their order.
        """
        old = self._depths.shape[1]
        ids, seen, depths = self._laid_out(rows)
        ends = [np.cumsum([len(twig.tree.ids) for twig in twigs], dtype=int) - 1 for twigs in rows]
        asked = np.zeros(ids.shape, bool)
        for row, places in enumerate(ends):
            asked[row, slice(places.max(initial=-1) + 1) if every else places] = True
        wanted = torch.from_numpy(asked).to(self._model.device)
        with _last_layer_for(self._model, wanted):
            hidden = self._run(rows, ids, seen, depths, images, wanted)[wanted]
        self._readings.append((old, seen))
        self._depths = np.concatenate([self._depths, depths], axis=1)
        self.tips = [(old + places).tolist() for places in ends]
        return hidden

    @torch.inference_mode()
    def look(self, rows: Rows) -> torch.Tensor:
        """Read twigs without keeping them; gives what the model makes of every token, (rows, tokens, width).

        The twigs of a row lie one behind the other, shorter rows are padded.
        """
        ids, seen, depths = self._laid_out(rows)
        hidden = self._run(rows, ids, seen, depths, None)
        self._cache.crop(-ids.shape[1])
        return hidden

    @torch.inference_mode()
    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the model expects next, float32 (…, vocabulary), from what `read` or `look` gave."""
        logits: torch.Tensor = self._model.get_output_embeddings()(hidden)
        return logits.float()

    def _run(
        self,
        rows: Rows,
        ids: npt.NDArray[np.int64],
        seen: npt.NDArray[np.bool_],
        depths: npt.NDArray[np.int64],
        images: torch.Tensor | None,
        wanted: torch.Tensor | None = None,
    ) -> torch.Tensor:
        device = self._model.device
        options: dict[str, Any] = {}
        if device.type == "cpu":  # only `use_tree_attention` knows of these
            options = {"layout": self._layout(rows, seen), "wanted": wanted}
        if images is not None:
            options |= picture_inputs(self._model.config, images)
        hidden: torch.Tensor = self._model.base_model(
            input_ids=torch.from_numpy(ids).to(device),
            attention_mask=torch.from_numpy(seen).to(device)[:, None],
            position_ids=torch.from_numpy(depths).to(device),
            past_key_values=self._cache,
            use_cache=True,
            **options,
        ).last_hidden_state
        return hidden

    def _laid_out(
        self, rows: Rows
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        """The ids (rows, new), what they see (rows, new, old + new), their depths; padding sees itself."""
        old = self._depths.shape[1]
        new = max(sum(len(twig.tree.ids) for twig in twigs) for twigs in rows)
        ids, depths = np.zeros((2, len(rows), new), np.int64)
        seen = np.zeros((len(rows), new, old + new), bool)
        seen[:, np.arange(new), old + np.arange(new)] = True
        for row, twig, tokens in _placed(rows):
            ids[row, tokens] = twig.tree.ids
            depths[row, tokens] = twig.tree.positions
            if twig.behind is not None:
                depths[row, tokens] += self._depths[row, twig.behind] + 1
                known = self._seen_from(row, twig.behind)
                seen[row, tokens, : len(known)] = known
            seen[row, tokens, old + tokens.start : old + tokens.stop] = twig.tree.mask
        return ids, seen, depths

    def _seen_from(self, row: int, place: int) -> npt.NDArray[np.bool_]:
        """Which of the places that were read until then a place sees."""
        first, seen = next(reading for reading in reversed(self._readings) if reading[0] <= place)
        known: npt.NDArray[np.bool_] = seen[row, place - first]
        return known

    def _layout(self, rows: Rows, seen: npt.NDArray[np.bool_]) -> Layout | None:
        """Where long twigs lie and what they see; None where they stand alone or one product is faster."""
        old, new = self._depths.shape[1], seen.shape[1]
        twigs = list(_placed(rows))
        longest = max(len(twig.tree.ids) for _, twig, _ in twigs)
        if longest < _TOKENS_WORTH_A_LAYOUT or any(twig.behind is None for _, twig, _ in twigs):
            return None
        tokens = np.zeros((len(twigs), longest), np.int64)
        inside = np.zeros((len(twigs), longest), bool)
        own = np.broadcast_to(np.eye(longest, dtype=bool), (len(twigs), 1, longest, longest)).copy()
        for number, (row, twig, places) in enumerate(twigs):
            size = len(twig.tree.ids)
            tokens[number, :size] = row * new + np.arange(places.start, places.stop)
            inside[number, :size] = True
            own[number, 0, :size, :size] = twig.tree.mask
        padding = np.ones(len(rows) * new, bool)
        padding[tokens[inside]] = False
        before = seen[:, :, :old] | padding.reshape(len(rows), new, 1)
        return Layout(
            torch.from_numpy(tokens),
            torch.from_numpy(inside),
            torch.from_numpy(own),
            None if before.all() else torch.from_numpy(before)[:, None],
        )


def _placed(rows: Rows) -> Iterator[tuple[int, Twig, slice]]:
    """Every twig with its row and where in it its tokens lie."""
    for row, twigs in enumerate(rows):
        begin = 0
        for twig in twigs:
            end = begin + len(twig.tree.ids)
            yield row, twig, slice(begin, end)
            begin = end


@contextmanager
def _last_layer_for(model: PreTrainedModel, wanted: torch.Tensor) -> Iterator[None]:
    """Let the last layer, behind whose keys no token sees another, work on the wanted tokens alone.

    `wanted` is (rows, tokens), True for them. In the mini models, of three layers, this saves a quarter of
    the products of the language model.
    """

    def select(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0][wanted],)

    def spread(_: nn.Module, __: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        whole = output.new_zeros(*wanted.shape, output.shape[-1])
        whole[wanted] = output
        return whole

    layer = model.base_model.language_model.layers[-1]
    hooks = []
    for part in (layer.self_attn.o_proj, layer.mlp):
        hooks += [part.register_forward_pre_hook(select), part.register_forward_hook(spread)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()

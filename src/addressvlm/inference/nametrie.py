"""Names as a trie under a question: how probable a model holds each of them, exactly and without sampling.

The probability of a name is the product of those of its tokens and of the end behind them, so a name that is
the beginning of a longer one ("Forest Avenue", "Forest Avenue East") has its own. What all names leave over
is the probability of answers that are none of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from addressvlm.errors import AddressVLMError
from addressvlm.model.backbone import Backbone
from addressvlm.model.conversation import answer_tokens
from addressvlm.model.tokentree import TokenTree
from addressvlm.model.treepass import TreePass, Twig

# Tokens looked at together, and logits held at a time: what a city of any size costs in memory.
_TOKENS_AT_ONCE = 2048
_LOGITS_AT_ONCE = 1 << 26

_END = -1  # in place of a token: the end of an answer

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Part:
    """Some of the paths as one tree, and the steps (from which place of it, to which token) they consist of.

    The steps of path number n begin at `begins[n]` of `steps`; place -1 is the end of the question.
    """

    tree: TokenTree
    steps: list[tuple[int, int]]
    begins: list[int]


class NameTrie:
    """Names, each in one or more spellings, as paths of tokens.

    Of a spelling that two names share, the first has it alone. Raises `AddressVLMError` without any name.
    """

    def __init__(self, spellings: Sequence[Sequence[str]], backbone: Backbone):
        owners: dict[tuple[int, ...], int] = {}
        for number, texts in enumerate(spellings):
            for text in texts:
                if path := answer_tokens(backbone.tokenizer, text):
                    owners.setdefault(path, number)
        if not owners:
            raise AddressVLMError("the gazetteer has no names; make the data set from a city with streets")
        self._paths = sorted(owners)  # neighbours share most of their beginnings
        self._owners = np.array([owners[path] for path in self._paths])
        self._names = len(spellings)
        self._ends = torch.tensor(backbone.end_ids)

    @cached_property
    def tokens(self) -> int:
        """Tokens that are looked at together, at most."""
        return max(len(part.tree.ids) for part in self._parts)

    def score(
        self,
        reading: TreePass,
        behind: Sequence[Sequence[int]],
        expected: torch.Tensor,
        *,
        temperature: float = 1.0,
    ) -> Floats:
        """The log-probability of every name as an answer, (questions, names); -inf for one without tokens.

        `behind` are the places at which the questions of each row end, `expected` is what the model expects
        there, row after row, (questions, vocabulary). `temperature` is that of sampling: it divides the
        logits of every token.
        """
        assert temperature > 0, "without chance, ask for the greedy answer"
        paths = [
            self._score_part(part, reading, behind, expected / temperature, temperature)
            for part in self._parts
        ]
        return self._by_name(np.concatenate(paths, axis=1))

    @cached_property
    def _parts(self) -> list[_Part]:
        return [_part(paths) for paths in _chunks(self._paths)]

    def _score_part(
        self,
        part: _Part,
        reading: TreePass,
        behind: Sequence[Sequence[int]],
        first: torch.Tensor,
        temperature: float,
    ) -> Floats:
        """The log-probability of every path of a part, (questions, paths)."""
        hidden = reading.look([[Twig(part.tree, place) for place in places] for places in behind])
        tokens = len(part.tree.ids)
        hidden = torch.cat(
            [
                row[: len(places) * tokens].unflatten(0, (len(places), tokens))
                for row, places in zip(hidden, behind, strict=True)
            ]
        )  # (questions, tokens, width)
        rows = max(1, _LOGITS_AT_ONCE // (tokens * first.shape[1]))
        logged = []
        for some, before in zip(torch.split(hidden, rows), torch.split(first, rows), strict=True):
            logits = reading.logits(some) / temperature
            logged.append(self._log_steps(part, torch.cat([logits, before[:, None]], dim=1)))
        return np.add.reduceat(np.concatenate(logged), part.begins, axis=1)

    def _log_steps(self, part: _Part, logits: torch.Tensor) -> Floats:
        """The log-probability of every step, (questions, steps); `logits` are (questions, places, tokens)."""
        places, tokens = (
            torch.tensor(column, device=logits.device) for column in zip(*part.steps, strict=True)
        )
        ends = logits[:, :, self._ends].logsumexp(-1)  # (questions, places)
        steps = torch.where(tokens == _END, ends[:, places], logits[:, places, tokens])
        logged: Floats = (steps - logits.logsumexp(-1)[:, places]).double().cpu().numpy()
        return logged

    def _by_name(self, paths: Floats) -> Floats:
        names = np.full((len(paths), self._names), -np.inf)
        order = np.argsort(self._owners, kind="stable")
        found, begins = np.unique(self._owners[order], return_index=True)
        names[:, found] = np.logaddexp.reduceat(paths[:, order], begins, axis=1)
        return names


def _part(paths: Sequence[tuple[int, ...]]) -> _Part:
    tree, ends = TokenTree.of_paths(paths)
    steps: list[tuple[int, int]] = []
    begins = []
    for end in ends:
        begins.append(len(steps))
        steps.append((end, _END))
        place = end
        while place >= 0:
            parent = tree.parents[place]
            steps.append((parent, tree.ids[place]))
            place = parent
    return _Part(tree, steps, begins)


def _chunks(paths: Sequence[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """The sorted paths in runs of bounded size, counted as if only neighbours shared their beginnings."""
    chunk: list[tuple[int, ...]] = []
    tokens = 0
    for path in paths:
        shared = 0
        if chunk:
            pairs = zip(path, chunk[-1], strict=False)
            shared = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(path), len(chunk[-1])))
        if chunk and tokens + len(path) - shared > _TOKENS_AT_ONCE:
            yield chunk
            chunk, tokens, shared = [], 0, 0
        chunk.append(path)
        tokens += len(path) - shared
    yield chunk

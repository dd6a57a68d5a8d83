"""How answers will probably go on, so that several tokens of them are read and checked at once.

Speculative decoding (Leviathan et al. 2023) whose draft is not a smaller model but the names of the city:
after `Oak` comes `Street` as long as no other name begins so. What the model would not have said is thrown
away, so answers are those of token after token.
"""

from collections.abc import Iterable, Sequence

_SEVERAL = -1  # in place of a token: names go on in different ways


class Drafts:
    """The ways in which names go on, as tokens without an end."""

    def __init__(self, names: Iterable[Sequence[int]] = ()):
        self._next: dict[tuple[int, ...], int] = {}
        for name in names:
            for length in range(1, len(name)):
                known = self._next.setdefault(tuple(name[:length]), name[length])
                if known != name[length]:
                    self._next[tuple(name[:length])] = _SEVERAL

    def after(self, answer: Sequence[int]) -> list[int]:
        """The tokens in which all names go on that begin like this answer, as far as all are the same."""
        begun, drafted = tuple(answer), []
        while (token := self._next.get(begun, _SEVERAL)) != _SEVERAL:
            drafted.append(token)
            begun = (*begun, token)
        return drafted

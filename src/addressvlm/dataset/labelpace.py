"""What a label job may do next: how much the budget still bears, how long to wait, who is down.

An account is the row of sums that the ledger keeps.
"""

import random
from collections.abc import Mapping
from typing import Any

from addressvlm.dataset.labeloptions import Limits

Account = Mapping[str, Any]

# A server that leaves so many calls in a row unanswered, and twice as many as are in flight, is taken for
# down. Then, and until one call of a run is answered, calls go one at a time.
_DOWN_AFTER = 8
_BACK_OFF_S = (1.0, 60.0)


def is_down(account: Account, limits: Limits) -> bool:
    """Whether the server is taken for down."""
    most: int = max(_DOWN_AFTER, 2 * limits.concurrency)
    return bool(account["streak"] >= most)


def affordable(account: Account, flying: int, wanted: int, limits: Limits) -> int:
    """How many further calls the budget can bear if they and those in flight cost as much as the dearest."""
    most: float = wanted
    if limits.budget_calls is not None:
        most = min(most, limits.budget_calls - account["calls"])
    read, written = account["largest_prompt"], account["largest_completion"]
    spent = (account["prompt_tokens"], account["completion_tokens"])
    if limits.budget_tokens is not None and read + written:
        most = min(most, (limits.budget_tokens - sum(spent)) // (read + written) - flying)
    if limits.budget_cost is not None and (dearest := limits.cost(read, written)):
        most = min(most, (limits.budget_cost - limits.cost(*spent)) // dearest - flying)
    return max(0, int(most))


def spent(account: Account, labelled: int, limits: Limits) -> str:
    """What is told when the budget is."""
    tokens = account["prompt_tokens"] + account["completion_tokens"]
    cost = limits.cost(account["prompt_tokens"], account["completion_tokens"])
    priced = f", {cost:.2f} in money" if cost else ""
    return (
        f"the budget is spent after {account['calls']} calls and {tokens} tokens{priced}: {labelled} of "
        f"{account['samples']} samples are labelled; the same command with a larger budget goes on"
    )


def back_off_s(failures: int) -> float:
    """1 s, 2 s, 4 s … 60 s, each half to one and a half times as long, so that not all come back at once."""
    first, longest = _BACK_OFF_S
    return min(longest, first * 2.0 ** max(0, failures - 1)) * random.uniform(0.5, 1.5)

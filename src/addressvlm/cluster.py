"""Loops over the machines of a Ray cluster: the same function on the same items, in the same order.

Tasks, not Ray Data: what travels are Python values, the pictures go straight to the folder, and a
task whose worker dies is simply done again, because every step writes whole files and leaves notes.
"""

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TypeVar

from addressvlm.errors import AddressVLMError

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 8  # tasks handed out for each core of the cluster
_TRIES = 10  # of a task whose worker dies
_STORE_BYTES = 100_000_000  # of a cluster started for this job: results are a few lines each


def on_cluster(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield `function(item)` in the order of the items, computed by the cluster that RAY_ADDRESS names.

    Without that variable a cluster of this machine is started and ended with the loop. All machines need this
    package and the same folders under the same paths. Raises what the function raises.
    """
    with _connected() as ray:
        task = ray.remote(_call).options(num_cpus=1, max_retries=_TRIES)
        shared = ray.put(function)
        limit = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        handed_out: deque[Any] = deque()
        for item in items:
            handed_out.append(task.remote(shared, item))
            if len(handed_out) >= limit:
                yield _result(ray, handed_out.popleft())
        while handed_out:
            yield _result(ray, handed_out.popleft())


def _call(function: Callable[[T], R], item: T) -> R:
    return function(item)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # as if it had been raised here


@contextmanager
def _connected() -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no reports to anybody
    try:
        import ray
    except ImportError:
        raise AddressVLMError(
            'workers = "ray" needs Ray: pip install "addressvlm[ray]", or give a number of processes'
        ) from None
    if ray.is_initialized():
        yield ray
        return
    with redirect_stdout(sys.stderr):  # where Ray tells of dead workers; stdout is for results
        ray.init(
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=None if os.environ.get("RAY_ADDRESS") else _STORE_BYTES,
        )
        try:
            yield ray
        finally:
            ray.shutdown()

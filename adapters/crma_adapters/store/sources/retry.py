"""A publication made again where another publisher was faster."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from crma_adapters.errors import ConflictError

T = TypeVar("T")
TRIES = 8


def until_no_conflict(publication: Callable[[], T], *, tries: int = TRIES) -> T:
    """`publication()`, which reads what it builds on, tried again after a `ConflictError`, later each time.

    Raises as it; the `ConflictError` of the last try.
    """
    for attempt in range(1, tries):
        try:
            return publication()
        except ConflictError:
            time.sleep(random.uniform(0, 0.1 * 2**attempt))
    return publication()

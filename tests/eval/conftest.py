"""What every test of an evaluation shares."""

from collections.abc import Iterator

import pytest
import torch
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small gain nothing from a second thread, and lose much to it on a busy machine."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield

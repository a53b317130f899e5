"""Stopping without cutting anyone off.

Owns: the count of requests being answered, the word that the server is stopping, and waiting for the last
answer before the engine is stopped. Knows nothing of signals: vLLM's launcher hears them and asks the engine
client to shut down, from a thread of its own while its event loop goes on.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from crma_server.progress import report

_POLL_S = 0.05
# What vLLM still gets to stop its processes when the drain has used up its time.
_LEAST_S = 1.0
# What is still open once the engine has stopped (a listener on the dashboard, say) is closed after this.
_CLOSING_S = 2


class Drain:
    """The requests being answered in this process, and whether it still takes new ones."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.stopping = False

    @contextmanager
    def request(self) -> Iterator[None]:
        """One request is being answered within. Called in the event loop's thread only."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def stop(self, timeout_s: float) -> float:
        """Take no more requests and wait for those there are, `timeout_s` at most; the seconds it took.

        Blocks, so it is called outside of the event loop's thread.
        """
        self.stopping = True
        start_s = time.monotonic()
        if self.in_flight:
            report(f"stopping: {self.in_flight} requests may finish, {timeout_s:g} s at most")
        while self.in_flight and time.monotonic() - start_s < timeout_s:
            time.sleep(_POLL_S)
        return time.monotonic() - start_s


def drain_before_shutdown(engine_client: Any, drain: Drain, server: Callable[[], Any]) -> None:
    """Have `engine_client.shutdown(timeout)` wait for the requests in flight first.

    `server` gives uvicorn's server, or None while there is none. A shutdown called in an event loop (a start
    that failed, the end of vLLM's context) does not wait.
    """
    shutdown = engine_client.shutdown
    once = threading.Lock()

    def drain_and_shutdown(timeout: float | None = None) -> None:
        if timeout is None or _in_event_loop() or not once.acquire(blocking=False):
            shutdown(timeout=timeout)
            return
        if (running := server()) is not None:
            running.config.timeout_graceful_shutdown = _CLOSING_S
        waited_s = drain.stop(timeout)
        shutdown(timeout=max(timeout - waited_s, _LEAST_S) if timeout else timeout)

    engine_client.shutdown = drain_and_shutdown


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

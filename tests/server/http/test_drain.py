"""Stopping: what is being answered may finish before the engine goes."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from crma_server.http.limits import Drain, drain_before_shutdown


class Engine:
    """Notes when it is shut down, with what time, and how many requests were in flight then."""

    def __init__(self, drain: Drain) -> None:
        self.drain = drain
        self.calls: list[tuple[float | None, int]] = []

    def shutdown(self, timeout: float | None = None) -> None:
        self.calls.append((timeout, self.drain.in_flight))


def server() -> SimpleNamespace:
    return SimpleNamespace(config=SimpleNamespace(timeout_graceful_shutdown=None))


async def stop(engine: Engine, timeout: float | None) -> None:
    """As vLLM's launcher does: in a thread, while the event loop goes on."""
    await asyncio.get_running_loop().run_in_executor(None, lambda: engine.shutdown(timeout=timeout))


def test_the_engine_is_shut_down_once_the_last_request_is_answered() -> None:
    async def run() -> None:
        drain, uvicorn = Drain(), server()
        engine = Engine(drain)
        drain_before_shutdown(engine, drain, lambda: uvicorn)

        async def request() -> None:
            with drain.request():
                await asyncio.sleep(0.3)

        answering = asyncio.create_task(request())
        await asyncio.sleep(0)
        stopping = asyncio.create_task(stop(engine, 20))
        await asyncio.sleep(0.1)
        assert drain.stopping
        assert engine.calls == []
        await stopping
        assert answering.done()
        ((timeout, in_flight),) = engine.calls
        assert in_flight == 0
        assert timeout is not None
        assert 15 < timeout < 20
        assert uvicorn.config.timeout_graceful_shutdown == 2

    asyncio.run(run())


def test_it_does_not_wait_for_ever() -> None:
    async def run() -> None:
        drain = Drain()
        engine = Engine(drain)
        drain_before_shutdown(engine, drain, lambda: None)
        with drain.request():
            start_s = time.monotonic()
            await stop(engine, 0.2)
            assert 0.2 <= time.monotonic() - start_s < 5
        assert engine.calls == [(1.0, 1)]

    asyncio.run(run())


@pytest.mark.parametrize("timeout", [0, None])
def test_no_time_means_no_waiting(timeout: float | None) -> None:
    async def run() -> None:
        drain = Drain()
        engine = Engine(drain)
        drain_before_shutdown(engine, drain, lambda: None)
        with drain.request():
            await asyncio.wait_for(stop(engine, timeout), 5)
        assert engine.calls == [(timeout, 1)]
        assert drain.stopping == (timeout == 0)

    asyncio.run(run())


def test_a_second_call_and_one_from_the_event_loop_do_not_wait() -> None:
    async def run() -> None:
        drain = Drain()
        engine = Engine(drain)
        drain_before_shutdown(engine, drain, lambda: None)
        with drain.request():
            engine.shutdown(timeout=30)
            assert engine.calls == [(30, 1)]
            first = threading.Thread(target=lambda: engine.shutdown(timeout=0.3))
            first.start()
            await asyncio.wait_for(stop(engine, 30), 5)
            assert len(engine.calls) == 2
            await asyncio.to_thread(first.join)
        assert len(engine.calls) == 3

    asyncio.run(run())


def test_requests_that_fail_are_counted_out() -> None:
    drain = Drain()
    with pytest.raises(ValueError, match="broken"), drain.request():
        raise ValueError("broken")
    assert drain.in_flight == 0

"""What the server cannot take is turned away at once."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from crma_server.http.auth import AuthMiddleware
from crma_server.http.keys import ApiKeyStore, KeySource
from crma_server.http.limits import Drain, LimitsMiddleware, RequestRate


class Waiting:
    """Holds every request until told to go on, or fails it."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.waiting = 0
        self.fails = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        self.waiting += 1
        try:
            await self.go.wait()
        finally:
            self.waiting -= 1
        if self.fails:
            raise ValueError("broken")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


class Service:
    """The limits behind a guard with keys a and b."""

    def __init__(self, max_in_flight: int = 3, key_concurrency: int = 0, key_rate: int = 0) -> None:
        self.app = Waiting()
        self.drain = Drain()
        self.refused: list[str] = []
        limits = LimitsMiddleware(
            self.app,
            self.drain,
            RequestRate(key_rate),
            self.refused.append,
            max_in_flight,
            key_concurrency,
        )
        keys = ApiKeyStore(KeySource(("a", "b")))
        guard = AuthMiddleware(limits, keys, ApiKeyStore(KeySource(("boss",))), self.refused.append)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://x")

    def begin(
        self, key: str = "a", method: str = "POST", path: str = "/v1/completions"
    ) -> "asyncio.Task[httpx.Response]":
        return asyncio.create_task(self.client.request(method, path, headers={"x-api-key": key}))

    async def ask(
        self, key: str = "a", method: str = "POST", path: str = "/v1/completions"
    ) -> httpx.Response:
        return await asyncio.wait_for(self.begin(key, method, path), 5)

    async def busy_with(self, count: int) -> None:
        async with asyncio.timeout(5):
            while self.app.waiting != count:
                await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_more_than_fit_get_429_and_a_place_that_is_free_again_is_given() -> None:
    async def main() -> None:
        service = Service(max_in_flight=3)
        held = [service.begin() for _ in range(3)]
        await service.busy_with(3)
        refused = [await service.ask() for _ in range(5)]
        assert {reply.status_code for reply in refused} == {429}
        assert {reply.headers["retry-after"] for reply in refused} == {"1"}
        assert refused[0].json()["error"]["type"] == "RateLimitError"
        assert service.refused == ["in flight"] * 5
        service.app.go.set()
        assert {(await each).status_code for each in held} == {200}
        assert (await service.ask()).status_code == 200
        assert service.drain.in_flight == 0

    run(main)


def test_one_key_cannot_take_every_place() -> None:
    async def main() -> None:
        service = Service(max_in_flight=10, key_concurrency=2)
        held = [service.begin("a") for _ in range(2)]
        await service.busy_with(2)
        assert (await service.ask("a")).status_code == 429
        held.append(service.begin("b"))
        await service.busy_with(3)
        assert service.refused == ["key concurrency"]
        service.app.go.set()
        await asyncio.gather(*held)
        assert (await service.ask("a")).status_code == 200

    run(main)


def test_a_key_may_not_ask_too_often_and_is_told_when_it_may() -> None:
    async def main() -> None:
        service = Service(key_rate=2)
        service.app.go.set()
        assert [(await service.ask("a")).status_code for _ in range(2)] == [200, 200]
        refused = await service.ask("a")
        assert refused.status_code == 429
        assert 29 <= int(refused.headers["retry-after"]) <= 30
        assert service.refused == ["key rate"]
        assert (await service.ask("b")).status_code == 200

    run(main)


@pytest.mark.parametrize("ends", ["failed", "cancelled"])
def test_a_request_that_ends_badly_frees_its_place(ends: str) -> None:
    async def main() -> None:
        service = Service(max_in_flight=1, key_concurrency=1)
        held = service.begin()
        await service.busy_with(1)
        if ends == "failed":
            service.app.fails = True
            service.app.go.set()
        else:
            held.cancel()
        with pytest.raises((ValueError, asyncio.CancelledError)):
            await held
        service.app.fails = False
        service.app.go.set()
        assert (await service.ask()).status_code == 200
        assert service.drain.in_flight == 0

    run(main)


def test_reading_admin_and_probes_have_room_when_the_server_is_full() -> None:
    async def main() -> None:
        service = Service(max_in_flight=1, key_rate=1)
        held = [service.begin()]
        await service.busy_with(1)
        held += [
            service.begin(method="GET", path="/v1/models"),
            service.begin("boss", path="/crma/v1/rollback"),
            service.begin("", method="GET", path="/health"),
        ]
        await service.busy_with(4)
        service.app.go.set()
        assert {(await each).status_code for each in held} == {200}

    run(main)


def test_a_server_that_stops_takes_nothing_new_and_answers_what_it_has() -> None:
    async def main() -> None:
        service = Service()
        held = service.begin()
        await service.busy_with(1)
        service.drain.stopping = True
        refused = await service.ask()
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert service.drain.in_flight == 1
        service.app.go.set()
        assert (await held).status_code == 200
        assert service.drain.in_flight == 0

    run(main)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_and_then_one_each_interval() -> None:
    clock = Clock()
    rate = RequestRate(6, clock)
    assert [rate.wait_s("a") for _ in range(6)] == [0.0] * 6
    assert rate.wait_s("a") == pytest.approx(10.0)
    clock.now_s += 4
    assert rate.wait_s("a") == pytest.approx(6.0)
    clock.now_s += 6
    assert rate.wait_s("a") == 0.0
    assert rate.wait_s("a") == pytest.approx(10.0)


def test_over_an_hour_no_more_than_asked_for() -> None:
    clock = Clock()
    rate = RequestRate(30, clock)
    taken = 0
    for _ in range(36_000):
        clock.now_s += 0.1
        taken += rate.wait_s("a") == 0.0
    assert 60 * 30 <= taken <= 61 * 30


def test_keys_do_not_share() -> None:
    rate = RequestRate(1, Clock())
    assert rate.wait_s("a") == 0.0
    assert rate.wait_s("a") > 0.0
    assert rate.wait_s("b") == 0.0


def test_no_limit() -> None:
    rate = RequestRate(0, Clock())
    assert {rate.wait_s("a") for _ in range(1000)} == {0.0}


def test_keys_long_unused_are_forgotten() -> None:
    clock = Clock()
    rate = RequestRate(60, clock)
    for number in range(5000):
        clock.now_s += 1
        rate.wait_s(f"key-{number}")
    assert len(rate._buckets) <= 1024

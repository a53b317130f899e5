"""The way from one release to the next over a stand-in for the engine, with requests going on."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from crma_server.http.body import BodyMiddleware
from crma_server.http.routing import RoutingMiddleware
from crma_server.observability.metrics import Metrics
from crma_server.releases.manager import Releases, Status, make_live
from crma_server.routing.selector import Selector

from ..fake_engine import FakeEngine, FakeSource, version


class Server:
    """The parts of a server around a fake engine. Made within an event loop."""

    def __init__(self, source: FakeSource | None = None, engine: FakeEngine | None = None) -> None:
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.source = source or FakeSource()
        self.engine = engine or FakeEngine()
        plan = self.source.plan(None, ())
        self.selector = Selector(make_live(plan, None), metrics)
        self.releases = Releases(plan, self.source, self.engine, self.selector, metrics)

    async def publish(self, number: int) -> Status:
        self.source.live = number
        return await self.releases.notice()

    async def settled(self) -> None:
        """Until nothing drains any more."""
        while self.releases.status().draining or len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    def engine_model(self, name: str) -> str:
        selection = self.selector.live.catalog.select(name)
        assert selection.entry is not None
        return selection.entry.target(crma=selection.crma).engine_model


def scenario(act: Callable[[Server], Coroutine[Any, Any, None]], **parts: Any) -> None:
    """Run `act` on a started server."""

    async def play() -> None:
        server = Server(**parts)
        await server.releases.start()
        await act(server)
        await server.releases.close()

    asyncio.run(play())


def medical(number: int) -> str:
    return f"medical@{version(number)}"


def test_the_start_loads_no_more_than_the_engine_has_room_for() -> None:
    async def act(server: Server) -> None:
        assert server.engine.loads == server.engine.generated == [medical(1)]
        assert server.engine.names.keys() == {medical(1), medical(7)}

    scenario(act, source=FakeSource(canaries={1: (7, 0.5)}), engine=FakeEngine(room=1))


def test_what_comes_first_is_loaded_last_and_so_keeps_a_slot() -> None:
    async def act(server: Server) -> None:
        assert server.engine.loads == [medical(7), medical(1)]

    scenario(act, source=FakeSource(canaries={1: (7, 0.5)}))


def test_a_new_release_is_loaded_warmed_and_live() -> None:
    async def act(server: Server) -> None:
        assert server.engine.generated == [medical(1)]
        status = await server.publish(2)
        assert (status.live, status.kept, status.loading, status.refusal) == (2, (2, 1), None, None)
        assert server.engine_model("medical") == medical(2)
        assert server.engine.generated == [medical(1), medical(2)]
        assert server.selector.live.release == 2
        assert server.value("crma_release_swaps_total") == 1
        assert server.value("crma_release_info", release="2", base_model="tiny", backbone="") == 1

    scenario(act)


def test_nothing_new_is_nothing_done() -> None:
    async def act(server: Server) -> None:
        await server.releases.notice()
        await server.releases.notice()
        assert server.source.read == [1]  # the plan it started with

    scenario(act)


def test_only_what_is_new_is_loaded() -> None:
    async def act(server: Server) -> None:
        server.source.canaries[2] = (1, 0.5)
        server.source.versions[2] = 7
        await server.publish(2)
        assert server.engine.loads == [medical(1), medical(7)]

    scenario(act)


def test_a_former_version_answers_by_name_without_staying_in_memory() -> None:
    async def act(server: Server) -> None:
        await server.publish(2)
        await server.settled()
        assert server.engine_model(medical(1)) == medical(1)
        assert set(server.engine.names) == {medical(1), medical(2)}
        assert server.engine.memory == {medical(2)}

    scenario(act)


def test_older_versions_go() -> None:
    async def act(server: Server) -> None:
        for number in range(2, 7):
            await server.publish(number)
        await server.settled()
        assert set(server.engine.names) == {medical(4), medical(5), medical(6)}
        assert server.engine.memory == {medical(6)}
        assert server.releases.status().kept == (6, 5, 4)
        assert server.value("crma_bundles", state="named") == 3
        assert server.value("crma_bundles", state="loaded") == 1

    scenario(act)


@pytest.mark.parametrize(
    ("engine", "kind", "reason"),
    [
        (FakeEngine(refused={medical(2)}), "IncompatibleError", "the engine refuses"),
        (FakeEngine(zero={medical(2)}), "IncompatibleError", "log-probabilities of the base model"),
        (FakeEngine(infinite={medical(2)}), "IncompatibleError", "not finite"),
    ],
)
def test_a_bundle_that_does_not_work_is_refused(engine: FakeEngine, kind: str, reason: str) -> None:
    async def act(server: Server) -> None:
        status = await server.publish(2)
        assert status.refusal is not None
        assert (status.refusal.release, status.refusal.kind) == (2, kind)
        assert medical(2) in status.refusal.reason
        assert reason in status.refusal.reason
        assert (status.live, server.engine_model("medical")) == (1, medical(1))
        assert set(server.engine.names) == server.engine.memory == {medical(1)}
        assert server.value("crma_refused_releases_total", reason=kind) == 1

    scenario(act, engine=engine)


def test_a_release_that_is_not_what_it_says_is_refused_once() -> None:
    async def act(server: Server) -> None:
        server.source.broken.add(2)
        status = await server.publish(2)
        await server.releases.notice()
        assert status.refusal is not None
        assert status.refusal.reason == "release 2: sha256 differs"
        assert server.source.read == [1, 2]
        assert server.value("crma_refused_releases_total", reason="IntegrityError") == 1

    scenario(act)


def test_a_refused_release_can_be_tried_again() -> None:
    async def act(server: Server) -> None:
        server.source.broken.add(2)
        await server.publish(2)
        server.source.broken.clear()
        assert (await server.releases.notice(again=True)).live == 2
        await server.releases.notice(again=True)
        assert server.value("crma_release_swaps_total") == 1

    scenario(act)


def test_a_refused_release_is_not_kept_by_the_next() -> None:
    async def act(server: Server) -> None:
        server.engine.zero.add(medical(2))
        await server.publish(2)
        status = await server.publish(3)
        assert status.kept == (3, 1)
        assert medical(2) not in server.engine.names

    scenario(act)


def test_a_lost_pointer_changes_nothing() -> None:
    async def act(server: Server) -> None:
        server.source.missing = True
        status = await server.releases.notice()
        assert status.live == 1
        assert status.refusal is None or "release.json" in status.refusal.reason
        server.source.missing = False
        assert (await server.publish(2)).live == 2

    scenario(act)


def test_an_error_nobody_foresaw_is_a_refusal_too(capsys: pytest.CaptureFixture[str]) -> None:
    class Odd(FakeEngine):
        async def load(self, bundle: Any) -> None:
            if bundle.engine_model == medical(2):
                raise ZeroDivisionError
            await super().load(bundle)

    async def act(server: Server) -> None:
        status = await server.publish(2)
        assert status.refusal is not None
        assert status.refusal.kind == "ZeroDivisionError"
        assert status.live == 1
        assert (await server.publish(3)).live == 3

    scenario(act, engine=Odd())
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_request_under_way_keeps_its_version_in_memory() -> None:
    async def act(server: Server) -> None:
        with server.selector.in_flight.ref() as lease:
            await server.selector.choose("medical", never, lease)
            for number in (2, 3, 4, 5):
                await server.publish(number)
            await turns()
            assert medical(1) in server.engine.names
            assert medical(1) in server.engine.memory
            assert medical(1) in server.releases.status().draining
        await server.settled()
        assert medical(1) not in server.engine.names
        assert server.engine.memory == {medical(5)}

    scenario(act)


def test_a_request_not_decided_yet_keeps_all_it_may_come_to() -> None:
    async def act(server: Server) -> None:
        lease = server.selector.in_flight.ref()
        lease.hold(server.selector.live)
        for number in (2, 3, 4, 5):
            await server.publish(number)
        await turns()
        assert {medical(1), medical(2)} <= set(server.engine.names)
        lease.leave()
        await server.settled()
        assert set(server.engine.names) == {medical(3), medical(4), medical(5)}

    scenario(act)


def test_a_version_that_is_live_again_while_it_drains_stays() -> None:
    async def act(server: Server) -> None:
        server.source.versions[3] = 1
        with server.selector.in_flight.ref() as lease:
            await server.selector.choose("medical", never, lease)
            await server.publish(2)
            await server.publish(3)
        await server.settled()
        assert server.engine_model("medical") == medical(1)
        assert server.engine.memory == {medical(1)}

    scenario(act)


def test_what_was_published_while_another_loaded_comes_next() -> None:
    async def act(server: Server) -> None:
        server.engine.gate = asyncio.Event()
        server.source.live = 2
        first = asyncio.create_task(server.releases.notice())
        while server.releases.status().loading != 2:
            await asyncio.sleep(0.001)
        server.source.live = 3
        second = asyncio.create_task(server.releases.notice())
        await turns()
        assert server.releases.status().live == 1
        server.engine.gate.set()
        assert (await second).live == 3
        await first

    scenario(act)


def test_following_looks_at_every_change() -> None:
    async def act(server: Server) -> None:
        async def changes() -> Any:
            for number in (2, 2, 3):
                server.source.live = number
                yield

        await server.releases.follow(changes())
        assert server.releases.status().live == 3
        assert server.source.read == [1, 2, 3]

    scenario(act)


def test_what_was_published_while_the_engine_started_is_found() -> None:
    async def nothing() -> Any:
        return
        yield

    async def play() -> None:
        server = Server()
        server.source.live = 2
        await server.releases.start()
        assert server.releases.status().live == 1
        await server.releases.follow(nothing())
        assert server.releases.status().live == 2
        await server.releases.close()

    asyncio.run(play())


def test_a_hundred_swaps_under_eight_streams() -> None:
    served: list[str] = []

    async def act(server: Server) -> None:
        asks = Streams(server)
        streams = [asyncio.create_task(asks.go_on(seed)) for seed in range(8)]
        for number in range(2, 102):
            before = asks.ended
            await server.publish(number)
            while asks.ended < before + 4:
                await asyncio.sleep(0)
                for stream in streams:  # one that failed would never end another request
                    if stream.done():
                        stream.result()
        asks.stop = True
        await asyncio.gather(*streams)
        await server.settled()
        assert asks.wrong == []
        assert asks.ended >= 400
        assert set(server.engine.names) == {medical(n) for n in (99, 100, 101)}
        assert medical(101) in server.engine.memory <= set(server.engine.names)
        # Not even a count of what is gone is kept.
        assert server.selector.in_flight._counts == {}
        assert server.releases._draining._former == []
        served.extend(asks.versions)

    scenario(act)
    assert len(set(served)) > 50


class Streams:
    """Clients that stream one answer after the other, through the real middleware."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.application = BodyMiddleware(RoutingMiddleware(self.answer, server.selector), 10_000)
        self.stop = False
        self.ended = 0
        self.wrong: list[str] = []
        self.versions: list[str] = []

    async def go_on(self, seed: int) -> None:
        draw = random.Random(seed)
        while not self.stop:
            start = self.server.releases.status().live
            name = draw.choice(["medical", "medical", f"medical@{version(start or 0)}"])
            headers, text = await self.ask(name, draw.randint(1, 12))
            end = self.server.releases.status().live
            said = set(text.split())
            exact = f"medical@{headers['x-crma-version']}"
            if said != {exact}:
                self.wrong.append(f"{headers} but {said}")
            if not (medical(start or 0) <= exact <= medical(end or 0)):
                self.wrong.append(f"{exact} between {start} and {end}")
            self.versions.append(exact)
            self.ended += 1

    async def ask(self, name: str, length: int) -> tuple[dict[str, str], str]:
        body = json.dumps({"model": name, "messages": [{"role": "user", "content": "?"}], "n": length})
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body.encode()}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.application(scope, receive, send)
        assert sent[0]["status"] == 200
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return headers, b"".join(message["body"] for message in sent[1:]).decode()

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """As vLLM does: the name is looked up when the request is read, later than it was chosen."""
        document = json.loads((await receive())["body"])
        await turns(2)
        bundle = self.server.engine.names[document["model"]]
        self.server.engine.memory.add(bundle.engine_model)  # loaded for the request, if it was not
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(document["n"]):
            await turns(2)
            if bundle.engine_model not in self.server.engine.memory:
                self.wrong.append(f"{bundle.engine_model} was unloaded while it answered")
            word = f"{bundle.engine_model} ".encode()
            await send({"type": "http.response.body", "body": word, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def never() -> Any:
    raise AssertionError("asked without need")


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_canary_answers_its_share_and_keeps_its_sessions() -> None:
    async def act(server: Server) -> None:
        server.source.canaries[2] = (9, 0.3)
        await server.publish(2)
        small = await answered(server)
        assert set(small.values()) == {medical(2), medical(9)}
        assert 220 < list(small.values()).count(medical(9)) < 380
        assert await answered(server) == small
        server.source.versions[3] = 2
        server.source.canaries[3] = (9, 0.6)
        await server.publish(3)
        large = await answered(server)
        assert {s for s, name in small.items() if name == medical(9)} < {
            s for s, name in large.items() if name == medical(9)
        }

    scenario(act)


async def answered(server: Server) -> dict[int, str]:
    """Which engine model answers each of a thousand sessions."""
    from crma_router.conversation.messages import Conversation
    from crma_router.conversation.sessions import SessionKey
    from crma_router.service import Asked

    def asked(session: int) -> Callable[[], Asked]:
        return lambda: Asked(Conversation.of_text("?"), SessionKey.of("session", b"%d" % session))

    choices: list[Awaitable[Any]] = [server.selector.choose("medical", asked(n)) for n in range(1000)]
    chosen = await asyncio.gather(*choices)
    assert all(choice.canary == (choice.target.engine_model == medical(9)) for choice in chosen)
    return {session: choice.target.engine_model for session, choice in enumerate(chosen)}

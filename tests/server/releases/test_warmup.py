import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from crma_adapters.errors import IncompatibleError
from crma_server.observability.metrics import Metrics
from crma_server.releases import transition as module
from crma_server.releases.bundles import Bundle
from crma_server.releases.transition import warm_up

from ..fake_engine import BASE, FakeEngine


def bundles(*names: str) -> list[Bundle]:
    return [Bundle(name, Path(name), at) for at, name in enumerate(names, start=1)]


def warm(engine: FakeEngine, *names: str) -> CollectorRegistry:
    registry = CollectorRegistry()
    asyncio.run(warm_up(engine, bundles(*names), Metrics(registry)))
    return registry


def test_every_bundle_is_loaded_and_generates_as_many_at_a_time_as_there_are_slots() -> None:
    running: list[int] = []

    class Watched(FakeEngine):
        at_work = 0

        async def first_logprobs(self, bundle: Bundle | None) -> Mapping[int, float]:
            self.at_work += bundle is not None
            running.append(self.at_work)
            found = await super().first_logprobs(bundle)
            self.at_work -= bundle is not None
            return found

    engine = Watched(slots=2)
    registry = warm(engine, "a", "b", "c", "d", "e")
    assert sorted(engine.generated) == ["a", "b", "c", "d", "e"] == sorted(engine.memory)
    assert max(running) == 2
    assert registry.get_sample_value("crma_adapter_load_seconds_count") == 5


def test_what_the_hardware_does_by_itself_is_no_difference() -> None:
    class Noisy(FakeEngine):
        noise = 0.0

        async def first_logprobs(self, bundle: Bundle | None) -> Mapping[int, float]:
            found = await super().first_logprobs(bundle)
            self.noise += 0.01  # every run comes out a little different, the base model's too
            return {token: value + self.noise for token, value in found.items()}

    warm(Noisy(), "different")
    with pytest.raises(IncompatibleError, match="zero: gives the log-probabilities of the base model"):
        warm(Noisy(zero={"zero"}), "zero")


def test_other_tokens_are_a_difference() -> None:
    class Other(FakeEngine):
        async def first_logprobs(self, bundle: Bundle | None) -> Mapping[int, float]:
            return BASE if bundle is None else {99: -0.1}

    warm(Other(), "other")


def test_one_bad_bundle_does_not_leave_others_under_way() -> None:
    engine = FakeEngine(slots=4, refused={"bad"})
    with pytest.raises(IncompatibleError, match="refuses bad"):
        warm(engine, "good", "bad", "better")
    assert engine.memory == {"good", "better"}


def test_an_engine_that_has_no_time_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.05)

    async def play() -> None:
        await warm_up(FakeEngine(gate=asyncio.Event()), bundles("a"), Metrics(CollectorRegistry()))

    with pytest.raises(IncompatibleError, match="a: no token after"):
        asyncio.run(play())


def test_nothing_to_warm_up_asks_nothing() -> None:
    engine = FakeEngine()
    warm(engine)
    assert engine.generated == []

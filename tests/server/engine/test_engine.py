"""What is asked of vLLM's engine client, and what is counted of it, with a stand-in for the client."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge
from vllm import SamplingParams
from vllm.lora.request import LoRARequest
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind

from crma_adapters.errors import IncompatibleError
from crma_server.engine.vllm.engine import LORA_INFO, VllmEngine, keep_last_lora_info, metered
from crma_server.observability.generation_count import GenerationCounter
from crma_server.observability.metrics import Metrics
from crma_server.releases.bundles import Bundle
from crma_server.routing.selector import InFlight

BUNDLE = Bundle("medical@de91ac039f2f", Path("/cache/bundles/x"), 17)


class Client:
    """As much of AsyncLLM as is used."""

    def __init__(self, *, most_logprobs: int = 20) -> None:
        self.vllm_config = SimpleNamespace(
            lora_config=SimpleNamespace(
                max_loras=4, max_cpu_loras=8, max_lora_rank=16, target_modules=["q_proj"]
            ),
            model_config=SimpleNamespace(max_logprobs=most_logprobs),
        )
        self.held: dict[int, str] = {}
        self.asked: list[tuple[Any, SamplingParams, LoRARequest | None]] = []
        self.fails = False

    def get_tokenizer(self) -> Any:
        return SimpleNamespace(encode=lambda text: [len(word) for word in text.split()])

    async def add_lora(self, request: LoRARequest) -> bool:
        if self.fails:
            raise RuntimeError("rank 32 is greater than max_lora_rank 16")
        self.held[request.lora_int_id] = request.lora_path
        return True

    async def remove_lora(self, lora_id: int) -> bool:
        return self.held.pop(lora_id, None) is not None

    async def list_loras(self) -> set[int]:
        return set(self.held)

    async def generate(
        self,
        prompt: Any,
        sampling_params: SamplingParams,
        request_id: str,
        *,
        lora_request: LoRARequest | None = None,
    ) -> AsyncIterator[RequestOutput]:
        if self.fails:
            raise RuntimeError("the engine is dead")
        self.asked.append((prompt, sampling_params, lora_request))
        step: Any = {5: SimpleNamespace(logprob=-0.25), 6: SimpleNamespace(logprob=-1.5)}
        yield output(request_id, [5], logprobs=[step])


def output(
    request_id: str, *sequences: list[int], finished: bool = True, logprobs: Any = None
) -> RequestOutput:
    outputs = [CompletionOutput(index, "", tokens, None, logprobs) for index, tokens in enumerate(sequences)]
    return RequestOutput(request_id, None, [1, 2, 3], None, outputs, finished)


def test_a_bundle_comes_and_goes() -> None:
    async def play() -> None:
        client, names = Client(), dict[str, LoRARequest]()
        engine = VllmEngine(client, names)
        await engine.load(BUNDLE)
        assert client.held == {17: "/cache/bundles/x"}
        assert await engine.loaded() == 1
        engine.register(BUNDLE)
        first = names["medical@de91ac039f2f"]
        assert (first.lora_int_id, first.lora_path, first.load_inplace) == (17, "/cache/bundles/x", False)
        engine.register(BUNDLE)
        assert names["medical@de91ac039f2f"] is first
        engine.unregister(BUNDLE)
        await engine.unload(BUNDLE)
        assert (names, client.held) == ({}, {})
        assert (engine.slots, engine.max_rank, engine.modules) == (4, 16, frozenset({"q_proj"}))
        assert engine.room == 8

    asyncio.run(play())


@pytest.mark.parametrize(("most", "asked"), [(20, 20), (5, 5), (-1, 20), (0, 0)])
def test_one_real_token_is_asked_for_within_the_servers_limit(most: int, asked: int) -> None:
    async def play() -> None:
        client = Client(most_logprobs=most)
        engine = VllmEngine(client, {})
        assert await engine.first_logprobs(BUNDLE) == {5: -0.25, 6: -1.5}
        assert await engine.first_logprobs(None) == {5: -0.25, 6: -1.5}
        (prompt, params, lora), (_, _, none) = client.asked
        assert prompt["type"] == "token"
        assert prompt["prompt_token_ids"]
        assert (params.max_tokens, params.temperature, params.logprobs) == (1, 0, asked)
        assert lora is not None
        assert (lora.lora_int_id, none) == (17, None)

    asyncio.run(play())


def test_what_the_engine_refuses_has_a_name_and_a_reason() -> None:
    async def play() -> None:
        client = Client()
        client.fails = True
        engine = VllmEngine(client, {})
        with pytest.raises(IncompatibleError, match=r"refuses medical@de91ac039f2f .* max_lora_rank 16"):
            await engine.load(BUNDLE)
        with pytest.raises(IncompatibleError, match=r"medical@de91ac039f2f: .* generated nothing: .* dead"):
            await engine.first_logprobs(BUNDLE)

    asyncio.run(play())


@pytest.mark.parametrize("kind", [RequestOutputKind.DELTA, RequestOutputKind.CUMULATIVE])
def test_every_token_is_counted_once_and_passed_on(kind: RequestOutputKind) -> None:
    pieces = [[[1]], [[2, 3]], [[4], [5, 6]]]
    if kind is RequestOutputKind.CUMULATIVE:
        pieces = [[[1]], [[1, 2, 3]], [[1, 2, 3, 4], [5, 6]]]
    registry = CollectorRegistry()
    counter = GenerationCounter(Metrics(registry), InFlight())
    given: list[RequestOutput] = []

    async def generate(*_: Any, **__: Any) -> AsyncIterator[RequestOutput]:
        for at, piece in enumerate(pieces):
            given.append(output("id", *piece, finished=at == 2))
            yield given[-1]

    async def play() -> list[RequestOutput]:
        counted = metered(generate, counter)
        request = LoRARequest("medical@de91ac039f2f+a0afad0b46d1", 3, "/x")
        params = SamplingParams(output_kind=kind)
        outputs = counted(prompt="?", sampling_params=params, request_id="id", lora_request=request)
        return [each async for each in outputs]

    assert asyncio.run(play()) == given

    def value(name: str, **more: str) -> float | None:
        labels = {"adapter": "medical", "version": "de91ac039f2f", "crma": "on"} | more
        return registry.get_sample_value(f"crma_adapter_{name}", labels)

    assert (value("prompt_tokens_total"), value("generated_tokens_total")) == (3, 6)
    assert value("answers_total", finished="yes") == 1
    assert value("first_token_seconds_count") == 1


def test_a_client_that_leaves_ends_the_engines_generation_too() -> None:
    registry, ended = CollectorRegistry(), list[str]()
    in_flight = InFlight()
    counter = GenerationCounter(Metrics(registry), in_flight)

    async def generate(*_: Any, **__: Any) -> AsyncIterator[RequestOutput]:
        try:
            while True:
                yield output("id", [1], finished=False)
        finally:
            ended.append("aborted")

    async def play() -> None:
        outputs = metered(generate, counter)("?", SamplingParams(), "id")
        await anext(outputs)
        assert in_flight.count("base") == 1
        await outputs.aclose()
        assert (in_flight.count("base"), ended) == (0, ["aborted"])

    asyncio.run(play())
    labels = {"adapter": "base", "version": "", "crma": "off", "finished": "no"}
    assert registry.get_sample_value("crma_adapter_answers_total", labels) == 1


def test_the_metric_of_running_adapters_does_not_grow() -> None:
    registry = CollectorRegistry()
    gauge = Gauge(LORA_INFO, "Running stats on lora requests.", ["running"], registry=registry)
    keep_last_lora_info(registry)
    keep_last_lora_info(registry)
    for number in range(5):
        gauge.labels(running=f"medical@{number}").set_to_current_time()
    (family,) = registry.collect()
    assert [sample.labels for sample in family.samples] == [{"running": "medical@4"}]
    keep_last_lora_info(CollectorRegistry())  # an engine without LoRA has none

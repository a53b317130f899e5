"""vLLM as the engine that bundles are loaded into, with every generation counted."""

import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import wraps
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from vllm import SamplingParams
from vllm.inputs import tokens_input
from vllm.lora.request import LoRARequest
from vllm.sampling_params import RequestOutputKind

from crma_adapters.errors import IncompatibleError
from crma_server.observability.generation_count import Generation, GenerationCounter
from crma_server.observability.metrics import can_remove
from crma_server.releases.bundles import Bundle
from crma_server.routing.catalog import BASE

PROMPT = "Question: What should I know about this?\nAnswer:"
LIKELIEST = 20


class VllmEngine:
    """The `Engine` behind one API server process."""

    def __init__(
        self, client: Any, names: dict[str, LoRARequest], generate: Callable[..., Any] | None = None
    ) -> None:
        """`client` is vLLM's engine client, `names` its model registry's adapters by name; `generate`: the
        client's, or the one that warm-ups shall go through."""
        self._client = client
        self._names = names
        self._generate = generate or client.generate
        self._prompt: list[int] = client.get_tokenizer().encode(PROMPT)

    @property
    def slots(self) -> int:
        lora = self._client.vllm_config.lora_config
        return int(lora.max_loras)

    @property
    def room(self) -> int:
        lora = self._client.vllm_config.lora_config
        return int(lora.max_cpu_loras or lora.max_loras)

    @property
    def max_rank(self) -> int:
        """The largest LoRA rank it takes."""
        return int(self._client.vllm_config.lora_config.max_lora_rank)

    @property
    def modules(self) -> frozenset[str] | None:
        """The names of the modules it gives a LoRA; None: every one that can have one."""
        given = self._client.vllm_config.lora_config.target_modules
        return None if given is None else frozenset(given)

    async def load(self, bundle: Bundle) -> None:
        try:
            await self._client.add_lora(_request(bundle))
        except Exception as error:  # the engine's errors cross a process boundary and lose their type
            raise IncompatibleError(
                f"the engine refuses {bundle.engine_model} ({bundle.path}): {error}; expected a LoRA for the "
                "base model within --max-lora-rank"
            ) from error

    async def unload(self, bundle: Bundle) -> None:
        await self._client.remove_lora(bundle.lora_id)

    async def loaded(self) -> int:
        return len(await self._client.list_loras())

    def register(self, bundle: Bundle) -> None:
        self._names.setdefault(bundle.engine_model, _request(bundle))

    def unregister(self, bundle: Bundle) -> None:
        self._names.pop(bundle.engine_model, None)

    async def first_logprobs(self, bundle: Bundle | None) -> Mapping[int, float]:
        most = self._client.vllm_config.model_config.max_logprobs
        params = SamplingParams(
            temperature=0,
            max_tokens=1,
            logprobs=LIKELIEST if most < 0 else min(most, LIKELIEST),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        request_id = f"crma-warm-up-{uuid.uuid4().hex}"
        lora = _request(bundle) if bundle else None
        try:
            outputs = self._generate(tokens_input(self._prompt), params, request_id, lora_request=lora)
            last = [output async for output in outputs][-1]
            (step,) = last.outputs[0].logprobs
        except Exception as error:
            name = bundle.engine_model if bundle else "the base model"
            raise IncompatibleError(
                f"{name}: the engine generated nothing: {error or type(error).__name__}; expected a token"
            ) from error
        return {token: value.logprob for token, value in step.items()}


def _request(bundle: Bundle) -> LoRARequest:
    return LoRARequest(bundle.engine_model, bundle.lora_id, str(bundle.path))


def metered(generate: Callable[..., Any], counter: GenerationCounter) -> Callable[..., Any]:
    """`generate`, an `AsyncLLM.generate`, with everything it gives out counted in passing."""

    @wraps(generate)
    async def counted(
        prompt: Any, sampling_params: Any, request_id: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        lora = options.get("lora_request")
        adds = sampling_params.output_kind == RequestOutputKind.DELTA
        with counter.generation(lora.lora_name if lora else BASE) as generation:
            async with aclosing(generate(prompt, sampling_params, request_id, **options)) as outputs:
                async for output in outputs:
                    _read(output, generation, counter.clock, adds=adds)
                    yield output

    return counted


def _read(output: Any, generation: Generation, clock: Callable[[], float], *, adds: bool) -> None:
    for sequence in output.outputs:
        tokens = len(sequence.token_ids)
        generation.saw(len(output.prompt_token_ids or ()), sequence.index, tokens, adds=adds)
        if tokens and generation.first_token_s is None:
            # Where all is given out at the end, vLLM's own clock knows when the first token came.
            known = getattr(output.metrics, "first_token_latency", 0.0)
            generation.first_token_s = known or clock() - generation.start_s
    generation.finished = bool(output.finished)


LORA_INFO = "vllm:lora_requests_info"


def keep_last_lora_info(registry: CollectorRegistry = REGISTRY) -> None:
    """Have vLLM's metric of which adapters run and wait show the present ones alone. Idempotent.

    vLLM 0.32 adds a series for every combination there ever was, each with the names of all its adapters.
    """
    gauge: Any = registry._names_to_collectors.get(LORA_INFO)
    if gauge is None or not can_remove() or "labels" in vars(gauge):
        return
    labels = gauge.labels

    def only(*values: Any, **named: Any) -> Any:
        gauge.clear()
        return labels(*values, **named)

    gauge.labels = only

"""Every generation of vLLM's engine client, counted.

Owns: reading vLLM's outputs. All of its endpoints generate through one method of the engine client, so that
method is where none is missed, also those that go on in the background after their reply.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import wraps
from typing import Any

from vllm.sampling_params import RequestOutputKind

from crma_server.observability.generation_count import Generation, GenerationCounter
from crma_server.routing.catalog import BASE


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

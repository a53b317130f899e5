"""The project's part of vLLM's HTTP server, as a vLLM endpoint plugin.

Owns: putting the routing middleware and the model list into vLLM's application, and loading the bundles
before it answers. vLLM makes it (entry point `vllm.endpoint_plugins`); without a plan it does nothing.
"""

import asyncio
import time
from argparse import Namespace
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import torch
from fastapi import FastAPI
from starlette.datastructures import State
from starlette.middleware import Middleware
from vllm.entrypoints.openai.models.protocol import BaseModelPath
from vllm.entrypoints.serve.engine.protocol import ModelCard, ModelList, ModelPermission
from vllm.lora.request import LoRARequest

from crma_adapters.errors import IncompatibleError
from crma_router.usual import DriftWatch
from crma_server.bundles import Bundle
from crma_server.catalog import BASE
from crma_server.metrics import Metrics
from crma_server.middleware import RoutingMiddleware
from crma_server.plan import ServePlan
from crma_server.progress import report
from crma_server.ready import ready_message
from crma_server.selection import Live, Selector


@dataclass(frozen=True)
class _Parts:
    """What is made once per API server process."""

    plan: ServePlan
    metrics: Metrics
    selector: Selector


class CrmaEndpoints:
    """vLLM's `EndpointPlugin` protocol."""

    name = "crma"
    required_tasks = ("generate",)

    def __init__(self) -> None:
        self._parts: _Parts | None = None

    def attach_router(self, app: FastAPI) -> None:
        """Add the middleware and the model list to vLLM's application."""
        plan = getattr(app.state.args, "crma", None)
        if plan is None:
            return
        self._parts = parts = _make_parts(plan)
        # Appended, and so innermost: behind vLLM's authentication, request ids and CORS.
        app.user_middleware.append(Middleware(RoutingMiddleware, selector=parts.selector))

        @app.get("/v1/models")
        async def list_models() -> dict[str, Any]:
            max_model_len = app.state.openai_serving_models.model_config.max_model_len
            return _model_list(parts, max_model_len)

    async def init_state(self, engine_client: Any, state: State, args: Namespace) -> None:
        """Load every bundle into the engine and announce readiness once the server listens."""
        if self._parts is None:
            return
        models = state.openai_serving_models
        # vLLM answers base requests under the first of these names. The served names route, so one stays.
        models.base_model_paths[:] = [BaseModelPath(name=BASE, model_path=args.model)]
        await _load_bundles(models, engine_client, self._parts, resident=args.max_cpu_loras)
        if engine_client.vllm_config.parallel_config._api_process_rank > 0:
            return  # one of several API servers: the first speaks for all
        # The state keeps the task alive.
        state.crma_announcement = asyncio.create_task(_announce(state, args, self._parts.selector.live))


def _make_parts(plan: ServePlan) -> _Parts:
    # For the router's embedder: a query gains little from a second thread, and on a busy machine each of its
    # layers would wait for that thread to be scheduled (seconds a decision, seen at a load of 10 on 2 cores).
    torch.set_num_threads(1)
    router = plan.router.result() if plan.router else None
    metrics = Metrics()
    if plan.release is not None:
        metrics.set_release(plan.release)
    number = plan.release.number if plan.release else None
    watch = DriftWatch(router.usual) if router and router.usual else None
    return _Parts(plan, metrics, Selector(Live(plan.catalog, router, number, watch), metrics))


async def _load_bundles(models: Any, engine_client: Any, parts: _Parts, *, resident: int) -> None:
    """Register every bundle by name; load as many as stay resident, the others load when asked for."""
    bundles = parts.plan.bundles
    for position, bundle in enumerate(bundles):
        request = LoRARequest(bundle.engine_model, bundle.lora_id, str(bundle.path))
        if position < resident:
            report(f"loading adapter {position + 1} of {len(bundles)}: {bundle.engine_model}")
            parts.metrics.observe_load(await _load(engine_client, request, bundle))
        models.lora_requests[bundle.engine_model] = request


async def _load(engine_client: Any, request: LoRARequest, bundle: Bundle) -> float:
    """Seconds taken."""
    start_s = time.perf_counter()
    try:
        await engine_client.add_lora(request)
    except Exception as error:  # the engine's errors cross a process boundary and lose their type
        raise IncompatibleError(
            f"the engine refuses {bundle.engine_model} ({bundle.path}): {error}; expected a LoRA for the "
            "base model within --max-lora-rank"
        ) from error
    return time.perf_counter() - start_s


def _model_list(parts: _Parts, max_model_len: int) -> dict[str, Any]:
    release = parts.plan.release
    created = int(datetime.fromisoformat(release.created).timestamp()) if release else 0
    cards = [
        ModelCard(
            id=listing.name,
            created=created,
            owned_by="crma",
            root=listing.root,
            parent=listing.parent,
            max_model_len=max_model_len,
            permission=[ModelPermission()],
        )
        for listing in parts.selector.live.catalog.listings()
    ]
    document: dict[str, Any] = ModelList(data=cards).model_dump()
    return document


async def _announce(state: State, args: Namespace, live: Live) -> None:
    while not getattr(getattr(state, "server", None), "started", False):
        await asyncio.sleep(0.05)
    scheme = "https" if args.ssl_certfile else "http"
    host = f"[{args.host}]" if ":" in (args.host or "") else args.host or "0.0.0.0"
    address = f"unix:{args.uds}" if args.uds else f"{scheme}://{host}:{args.port}"
    message = await asyncio.get_running_loop().run_in_executor(None, ready_message, address, live)
    report("ready")
    print(message, flush=True)

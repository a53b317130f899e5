"""The project's part of vLLM's HTTP server, a vLLM endpoint plugin (entry point `vllm.endpoint_plugins`): our
layers and routes in its application, bundles loaded before it answers, the store followed while it does."""

import asyncio
from argparse import Namespace
from dataclasses import dataclass, field
from typing import Any

import torch
from fastapi import FastAPI
from starlette.datastructures import State
from vllm.entrypoints.openai.models.protocol import BaseModelPath

from crma_server.admin.api import admin_router
from crma_server.admin.map_api import live_map
from crma_server.admin.service import StoreOperations
from crma_server.app import add_dashboard, add_layers, ready_message, watch_app
from crma_server.engine.vllm.engine import VllmEngine, keep_last_lora_info, metered
from crma_server.http.limits import Drain, drain_before_shutdown
from crma_server.http.models import Served, models_router
from crma_server.http.response import show_marks_to_pages
from crma_server.observability.decisions import Decisions
from crma_server.observability.generation_count import GenerationCounter
from crma_server.observability.metrics import Metrics
from crma_server.progress import report
from crma_server.releases.following import follow_source
from crma_server.releases.manager import Releases, make_live
from crma_server.releases.plan import ReleasePlan, StoreSource, changes
from crma_server.routing.catalog import BASE
from crma_server.routing.selector import Live, Selector
from crma_server.settings import Settings, shown_admin_key


@dataclass
class _Parts:
    """What is made once per API server process. `releases` is None until the engine is there."""

    plan: ReleasePlan
    metrics: Metrics
    selector: Selector
    drain: Drain
    app: FastAPI
    decisions: Decisions = field(default_factory=Decisions)
    releases: Releases | None = None

    def served(self) -> Releases:
        """What requests are answered from; there before any comes."""
        assert self.releases is not None
        return self.releases

    def not_ready(self) -> str | None:
        """Why no request should come yet."""
        return "loading" if self.releases is None else None


class CrmaEndpoints:
    """vLLM's `EndpointPlugin` protocol."""

    name = "crma"
    required_tasks = ("generate",)

    def __init__(self) -> None:
        self._parts: _Parts | None = None

    def attach_router(self, app: FastAPI) -> None:
        """Add the middleware and our routes to vLLM's application."""
        plan = getattr(app.state.args, "crma", None)
        if plan is None:
            return
        self._parts = parts = _make_parts(plan, app)
        settings: Settings = app.state.args.crma_settings
        add_layers(app, settings, parts.selector, parts.drain, parts.metrics.count_limited, parts.not_ready)
        # From here on our guard asks for keys, and vLLM's, which knows one kind of them, does not (`serve`).
        app.state.args.api_key = None
        # vLLM's list shows the engine's names alone. Its scaling route is there also where it cannot scale,
        # and would break the engine for everyone.
        scales = app.state.args.enable_elastic_ep
        _remove_routes(app, {"/v1/models"} if scales else {"/v1/models", "/scale_elastic_ep"})
        app.include_router(admin_router(StoreOperations(plan.origin.store(), parts.served)))
        add_dashboard(
            app, parts.decisions, lambda: parts.drain.stopping, lambda: live_map(parts.selector.live)
        )
        app.include_router(models_router(lambda: _served(parts, app)))

    async def init_state(self, engine_client: Any, state: State, args: Namespace) -> None:
        """Load every bundle into the engine, follow the store, and announce readiness once there is any."""
        if self._parts is None:
            return
        models = state.openai_serving_models
        # vLLM answers base requests under the first of these names. The served names route, so one stays.
        models.base_model_paths[:] = [BaseModelPath(name=BASE, model_path=args.model)]
        parts = self._parts
        parts.releases = releases = _make_releases(parts, engine_client, models.lora_requests)
        await releases.start()
        # vLLM has put every layer of its own around ours by now, and set up its tracer.
        traced = args.otlp_traces_endpoint is not None
        keep_last_lora_info()
        show_marks_to_pages(parts.app)
        watch_app(parts.app, args.crma_settings, parts.decisions, traced=traced)
        drain_before_shutdown(engine_client, parts.drain, lambda: getattr(state, "server", None))
        watched = changes(parts.plan.origin.root, poll=args.crma_settings.poll)
        # The state keeps the tasks alive.
        state.crma_following = asyncio.create_task(releases.follow(watched))
        if (mirror := parts.plan.origin.mirror) is not None:
            poll_s, count = args.crma_settings.store_poll_s, parts.metrics.count_refused_release
            state.crma_mirroring = asyncio.create_task(follow_source(mirror, poll_s, count))
        if engine_client.vllm_config.parallel_config._api_process_rank > 0:
            return  # one of several API servers: the first speaks for all
        state.crma_announcement = asyncio.create_task(_announce(state, args, parts.selector.live))


def _remove_routes(app: FastAPI, paths: set[str]) -> None:
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") not in paths]


def _make_parts(plan: ReleasePlan, app: FastAPI) -> _Parts:
    # For the router's embedder: a query gains little from a second thread, and on a busy machine each of its
    # layers would wait for that thread to be scheduled (seconds a decision, seen at a load of 10 on 2 cores).
    torch.set_num_threads(1)
    router = plan.router.result() if plan.router else None
    metrics = Metrics()
    if plan.release is not None:
        metrics.set_release(plan.release)
    return _Parts(plan, metrics, Selector(make_live(plan, router), metrics), Drain(), app)


def _make_releases(parts: _Parts, engine_client: Any, names: dict[str, Any]) -> Releases:
    """What changes the release of this process. From here on the client's generations are counted."""
    engine = VllmEngine(engine_client, names, engine_client.generate)  # warm-ups are nobody's requests
    counter = GenerationCounter(parts.metrics, parts.selector.in_flight)
    engine_client.generate = metered(engine_client.generate, counter)
    source = StoreSource(parts.plan.origin, engine.max_rank, engine.modules)
    return Releases(parts.plan, source, engine, parts.selector, parts.metrics)


def _served(parts: _Parts, app: FastAPI) -> Served:
    release = (parts.releases.plan if parts.releases else parts.plan).release
    max_model_len = app.state.openai_serving_models.model_config.max_model_len
    return Served(parts.selector.live.catalog, release, max_model_len)


async def _announce(state: State, args: Namespace, live: Live) -> None:
    while not getattr(getattr(state, "server", None), "started", False):
        await asyncio.sleep(0.05)
    scheme = "https" if args.ssl_certfile else "http"
    host = f"[{args.host}]" if ":" in (args.host or "") else args.host or "0.0.0.0"
    address = f"unix:{args.uds}" if args.uds else f"{scheme}://{host}:{args.port}"
    keyed = bool(args.crma_settings.inference_keys)
    admin_key = "" if args.uds else shown_admin_key(args.crma_settings, args.host)
    message = await asyncio.to_thread(ready_message, address, live, needs_key=keyed, admin_key=admin_key)
    report("ready")
    print(message, flush=True)

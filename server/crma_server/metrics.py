"""The `crma_*` metrics, shown by vLLM's own /metrics beside `vllm:*`.

Owns: metric names, labels and buckets. Knows nothing of how decisions come about. Label values come from the
release and the router only, never from requests, so their number is bounded.
"""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from crma_adapters.release import Release
from crma_router.policy import RoutingDecision
from crma_router.usual import Drift

_ROUTER_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_CONFIDENCE = (*(tenth / 10 for tenth in range(1, 10)), 0.95, 0.99, 1.0)


class Metrics:
    """One set of the project's metrics in `registry`; vLLM shows prometheus_client's default one."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._requests = Counter(
            "crma_requests", "Requests by what answered them and how it was chosen.", ["adapter", "path"],
            registry=registry,
        )  # fmt: skip
        self._decisions = Counter(
            "crma_routing_decisions", "Router decisions by domain ('none': out of domain or unsure).",
            ["domain", "path"], registry=registry,
        )  # fmt: skip
        self._fallbacks = Counter(
            "crma_fallbacks", "Requests no adapter was found for, by cause.", ["cause"], registry=registry
        )
        self._sticky = Counter(
            "crma_sticky_decisions", "Decisions that the conversation made, by cause.", ["cause"],
            registry=registry,
        )  # fmt: skip
        self._sessions = Gauge(
            "crma_sessions", "Conversations remembered.", registry=registry, multiprocess_mode="livesum"
        )
        self._drift = Gauge(
            "crma_routing_psi",
            "Population stability index of the last decisions against training's.",
            ["of"], registry=registry, multiprocess_mode="livemax",
        )  # fmt: skip
        self._router_seconds = Histogram(
            "crma_router_seconds", "Time the router took for one decision, embedding included.",
            buckets=_ROUTER_SECONDS, registry=registry,
        )  # fmt: skip
        self._confidence = Histogram(
            "crma_routing_confidence", "Calibrated confidence of router decisions.",
            buckets=_CONFIDENCE, registry=registry,
        )  # fmt: skip
        self._load_seconds = Histogram(
            "crma_adapter_load_seconds", "Time the engine took to load one bundle.", registry=registry
        )
        # "mostrecent" because every API server process reports the same release.
        self._release = Gauge(
            "crma_release_info", "The live release.", ["release", "base_model", "backbone"],
            registry=registry, multiprocess_mode="mostrecent",
        )  # fmt: skip
        self._adapter = Gauge(
            "crma_adapter_info", "Adapters of the live release.", ["adapter", "version"],
            registry=registry, multiprocess_mode="mostrecent",
        )  # fmt: skip

    def count_request(self, adapter: str, path: str) -> None:
        self._requests.labels(adapter, path).inc()

    def count_fallback(self, cause: str) -> None:
        self._fallbacks.labels(cause).inc()

    def observe_decision(self, decision: RoutingDecision, seconds: float) -> None:
        self._decisions.labels(decision.domain or "none", decision.path).inc()
        if decision.path == "sticky":
            self._sticky.labels(decision.cause).inc()
        self._router_seconds.observe(seconds)
        self._confidence.observe(decision.confidence)

    def set_sessions(self, count: int) -> None:
        self._sessions.set(count)

    def set_drift(self, drift: Drift) -> None:
        self._drift.labels("domain").set(drift.domains)
        self._drift.labels("confidence").set(drift.confidence)

    def observe_load(self, seconds: float) -> None:
        self._load_seconds.observe(seconds)

    def set_release(self, release: Release) -> None:
        backbone = release.backbone.version if release.backbone else ""
        self._release.labels(str(release.number), release.base_model, backbone).set(1)
        for name, entry in release.adapters.items():
            self._adapter.labels(name, entry.part.version).set(1)

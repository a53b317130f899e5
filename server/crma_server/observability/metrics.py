"""The `crma_*` metrics, shown by vLLM's own /metrics beside `vllm:*`. Label values come from releases and the
router, never from requests, so their number is bounded."""

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from crma_adapters.store.release import Release
from crma_router.drift import Drift
from crma_router.policy import RoutingDecision
from crma_server.routing.catalog import Label

_ROUTER_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_SWAP_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 20.0, 60.0)
_CONFIDENCE = (*(tenth / 10 for tenth in range(1, 10)), 0.95, 0.99, 1.0)


_LABELS = ("adapter", "version", "crma")


def _labels(label: Label) -> tuple[str, str, str]:
    adapter, version, crma = label
    return adapter, version or "", _on_off(crma)


def _on_off(crma: bool) -> str:
    return "on" if crma else "off"


class Metrics:
    """One set of the project's metrics in `registry`; vLLM shows prometheus_client's default one."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._requests = Counter(
            "crma_requests", "Requests by what answered them and how it was chosen.",
            ["adapter", "crma", "path"],
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
        self._canary = Gauge(
            "crma_canary_weight", "Share of a domain's conversations that its canary answers.",
            ["adapter", "version"], registry=registry, multiprocess_mode="mostrecent",
        )  # fmt: skip
        self._shown: dict[Gauge, set[tuple[str, ...]]] = {}
        self._answers = AnswerMetrics(registry)
        self._changes = ChangeMetrics(registry)

    def count_request(self, label: Label, path: str) -> None:
        adapter, _, crma = label
        self._requests.labels(adapter, _on_off(crma), path).inc()

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
        """Show `release` as the live one, and no other any more."""
        backbone = release.backbone.version if release.backbone else ""
        self._show(self._release, {(str(release.number), release.base_model, backbone): 1})
        live: dict[tuple[str, ...], float] = {
            (name, entry.part.version): 1 for name, entry in release.adapters.items()
        }
        self._show(self._adapter, live)
        canaries: dict[tuple[str, ...], float] = {
            (name, canary.part.version): canary.weight
            for name, entry in release.adapters.items()
            if (canary := entry.canary) is not None
        }
        self._show(self._canary, canaries)

    def observe_generation(
        self,
        label: Label,
        prompt_tokens: int,
        generated_tokens: int,
        ttft_s: float | None,
        latency_s: float,
        *,
        finished: bool = True,
    ) -> None:
        """One answer of the engine. `ttft_s` is None when no token came; `finished` is False when it was cut
        short: the client left, the deadline passed or the engine failed.
        """
        self._answers.observe(
            _labels(label), prompt_tokens, generated_tokens, ttft_s, latency_s, finished=finished
        )

    def set_in_flight(self, label: Label, count: int) -> None:
        self._answers.in_flight.labels(*_labels(label)).set(count)

    def forget(self, label: Label) -> None:
        """Show no more of a version that is no longer registered."""
        self._answers.forget(_labels(label))

    def observe_swap(self, seconds: float) -> None:
        """A release went live, `seconds` after it was noticed."""
        self._changes.swaps.inc()
        self._changes.swap_seconds.observe(seconds)

    def set_bundles(self, named: int, loaded: int) -> None:
        """How many exact names answer, and how many bundles the engine holds in memory for them."""
        self._changes.bundles.labels("named").set(named)
        self._changes.bundles.labels("loaded").set(loaded)

    def count_refused_release(self, reason_kind: str) -> None:
        """A release was refused; `reason_kind` is one of a few words, such as an error's class name."""
        self._changes.refused.labels(reason_kind).inc()

    def count_limited(self, limit: str) -> None:
        """A request was turned away; `limit` names the limit it ran into."""
        self._changes.limited.labels(limit).inc()

    def _show(self, gauge: Gauge, values: dict[tuple[str, ...], float]) -> None:
        for labels in self._shown.get(gauge, set()) - values.keys():
            gauge.labels(*labels).set(0)  # another process may show it still
            if can_remove():
                gauge.remove(*labels)
        for labels, value in values.items():
            gauge.labels(*labels).set(value)
        self._shown[gauge] = set(values)


class ChangeMetrics:
    """What happened to releases, and what was turned away."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.swaps = Counter("crma_release_swaps", "Releases gone live since the start.", registry=registry)
        self.swap_seconds = Histogram(
            "crma_release_swap_seconds", "Time from noticing a release to its going live.",
            buckets=_SWAP_SECONDS, registry=registry,
        )  # fmt: skip
        self.refused = Counter(
            "crma_refused_releases", "Releases refused, by what was wrong.", ["reason"], registry=registry
        )
        # "mostrecent" because all API server processes share one engine.
        self.bundles = Gauge(
            "crma_bundles", "Bundles by state: named (answer to an exact name), loaded (in the engine).",
            ["state"], registry=registry, multiprocess_mode="mostrecent",
        )  # fmt: skip
        self.limited = Counter(
            "crma_limited_requests", "Requests turned away, by the limit.", ["limit"], registry=registry
        )


_ANSWER_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)


class AnswerMetrics:
    """What the engine did for each version of each adapter."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = [*_LABELS]
        self.answers = Counter(
            "crma_adapter_answers", "Answers by the version that gave them and whether they were finished.",
            [*labels, "finished"], registry=registry,
        )  # fmt: skip
        self.prompt_tokens = Counter("crma_adapter_prompt_tokens", "Tokens read.", labels, registry=registry)
        self.generated_tokens = Counter(
            "crma_adapter_generated_tokens", "Tokens written.", labels, registry=registry
        )
        self.first_token_seconds = Histogram(
            "crma_adapter_first_token_seconds", "Time from a request to its first token.",
            labels, buckets=_ANSWER_SECONDS, registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "crma_adapter_answer_seconds", "Time from a request to its last token.",
            labels, buckets=_ANSWER_SECONDS, registry=registry,
        )  # fmt: skip
        self.in_flight = Gauge(
            "crma_adapter_in_flight", "Requests the engine is answering now.",
            labels, registry=registry, multiprocess_mode="livesum",
        )  # fmt: skip

    def observe(
        self,
        labels: tuple[str, str, str],
        prompt_tokens: int,
        generated_tokens: int,
        ttft_s: float | None,
        latency_s: float,
        *,
        finished: bool,
    ) -> None:
        self.answers.labels(*labels, "yes" if finished else "no").inc()
        self.prompt_tokens.labels(*labels).inc(prompt_tokens)
        self.generated_tokens.labels(*labels).inc(generated_tokens)
        if ttft_s is not None:
            self.first_token_seconds.labels(*labels).observe(ttft_s)
        self.seconds.labels(*labels).observe(latency_s)

    def forget(self, labels: tuple[str, str, str]) -> None:
        """Remove every series of a version, where prometheus_client can."""
        if not can_remove():
            return
        for metric in (
            self.answers, self.prompt_tokens, self.generated_tokens,
            self.first_token_seconds, self.seconds, self.in_flight,
        ):  # fmt: skip
            metric.remove_by_labels(dict(zip(_LABELS, labels, strict=True)))


def can_remove() -> bool:
    """In multi-process mode (several API servers) prometheus_client cannot remove a series."""
    return "PROMETHEUS_MULTIPROC_DIR" not in os.environ and "prometheus_multiproc_dir" not in os.environ

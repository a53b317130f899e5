from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from crma_adapters.store.release import AdapterEntry, Canary, Part, Release
from crma_router.drift import Drift
from crma_router.policy import RoutingDecision
from crma_server.observability.metrics import Metrics

RELEASE = Release(
    number=7,
    created="2026-01-01T00:00:00Z",
    base_model="smollm2",
    base_fingerprint="f",
    backbone=Part("b" * 12, {}),
    adapters={"medical": AdapterEntry(Part("a" * 12, {}), None, None)},
    router=None,
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def shown(registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()


def test_requests_and_decisions_are_counted(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.count_request(("medical", "a" * 12, True), "routed")
    metrics.count_request(("medical", "a" * 12, True), "routed")
    metrics.count_fallback("out of domain")
    metrics.observe_decision(RoutingDecision("medical", 0.97, "routed", "", {}, 0, 1), 0.004)
    metrics.observe_decision(RoutingDecision(None, 0.2, "fallback", "", {}, 2, 1), 0.02)
    text = shown(registry)
    assert 'crma_requests_total{adapter="medical",crma="on",path="routed"} 2.0' in text
    assert 'crma_fallbacks_total{cause="out of domain"} 1.0' in text
    assert 'crma_routing_decisions_total{domain="medical",path="routed"} 1.0' in text
    assert 'crma_routing_decisions_total{domain="none",path="fallback"} 1.0' in text
    assert 'crma_router_seconds_bucket{le="0.005"} 1.0' in text
    assert 'crma_routing_confidence_bucket{le="0.2"} 1.0' in text


def test_the_live_release_is_shown(registry: CollectorRegistry) -> None:
    Metrics(registry).set_release(RELEASE)
    text = shown(registry)
    assert f'crma_release_info{{backbone="{"b" * 12}",base_model="smollm2",release="7"}} 1.0' in text
    assert f'crma_adapter_info{{adapter="medical",version="{"a" * 12}"}} 1.0' in text


def test_sticky_decisions_sessions_and_drift_are_shown(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.observe_decision(RoutingDecision("medical", 0.4, "sticky", "", {}, 0, 1, "follow-up"), 0.004)
    metrics.set_sessions(3)
    metrics.set_drift(Drift(domains=0.3, confidence=0.05))
    text = shown(registry)
    assert 'crma_routing_decisions_total{domain="medical",path="sticky"} 1.0' in text
    assert 'crma_sticky_decisions_total{cause="follow-up"} 1.0' in text
    assert "crma_sessions 3.0" in text
    assert 'crma_routing_psi{of="domain"} 0.3' in text
    assert 'crma_routing_psi{of="confidence"} 0.05' in text


def test_only_the_live_release_is_shown_after_a_swap(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.set_release(RELEASE)
    after = {"medical": AdapterEntry(Part("c" * 12, {}), None, None)}
    metrics.set_release(replace(RELEASE, number=8, adapters=after))
    text = shown(registry)
    assert 'release="8"} 1.0' in text
    assert 'release="7"' not in text
    assert f'crma_adapter_info{{adapter="medical",version="{"c" * 12}"}} 1.0' in text
    assert "a" * 12 not in text


def test_a_canarys_weight_is_shown_until_it_is_dropped(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    canary = Canary(Part("c" * 12, {}), None, None, 0.25)
    after = {"medical": AdapterEntry(Part("a" * 12, {}), None, None, canary)}
    metrics.set_release(replace(RELEASE, number=8, adapters=after))
    assert f'crma_canary_weight{{adapter="medical",version="{"c" * 12}"}} 0.25' in shown(registry)
    metrics.set_release(replace(RELEASE, number=9))
    assert "crma_canary_weight{" not in shown(registry)


def test_in_multi_process_mode_a_replaced_release_shows_as_zero(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics(registry)
    metrics.set_release(RELEASE)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "anywhere")
    metrics.set_release(replace(RELEASE, number=8))
    text = shown(registry)
    assert 'release="7"} 0.0' in text
    assert 'release="8"} 1.0' in text


def test_answers_are_told_apart_by_version(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.observe_generation(("medical", "a" * 12, True), 40, 100, 0.03, 2.0)
    metrics.observe_generation(("medical", "c" * 12, False), 10, 0, None, 0.2, finished=False)
    metrics.observe_generation(("base", None, False), 5, 6, 0.02, 0.3)
    metrics.set_in_flight(("medical", "a" * 12, True), 3)
    text = shown(registry)
    a, c = (
        f'adapter="medical",crma="{crma}",version="{letter * 12}"'
        for letter, crma in (("a", "on"), ("c", "off"))
    )
    assert (
        f'crma_adapter_answers_total{{adapter="medical",crma="on",finished="yes",version="{"a" * 12}"}} 1.0'
        in text
    )
    assert (
        f'crma_adapter_answers_total{{adapter="medical",crma="off",finished="no",version="{"c" * 12}"}} 1.0'
        in text
    )
    assert f"crma_adapter_prompt_tokens_total{{{a}}} 40.0" in text
    assert f"crma_adapter_generated_tokens_total{{{a}}} 100.0" in text
    assert f"crma_adapter_first_token_seconds_count{{{a}}} 1.0" in text
    assert f"crma_adapter_first_token_seconds_count{{{c}}}" not in text  # no token came
    assert f"crma_adapter_answer_seconds_sum{{{a}}} 2.0" in text
    assert f"crma_adapter_in_flight{{{a}}} 3.0" in text
    assert 'crma_adapter_answers_total{adapter="base",crma="off",finished="yes",version=""} 1.0' in text


def test_a_version_no_longer_registered_is_shown_no_more(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    for version in ("a" * 12, "c" * 12):
        metrics.observe_generation(("medical", version, True), 1, 1, 0.1, 0.1)
        metrics.set_in_flight(("medical", version, True), 0)
    metrics.forget(("medical", "a" * 12, True))
    metrics.forget(("legal", "a" * 12, True))  # never answered: nothing to forget
    text = shown(registry)
    assert "a" * 12 not in text
    assert text.count("c" * 12) > 6


def test_swaps_refusals_and_limits_are_counted(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.observe_swap(1.5)
    metrics.count_refused_release("IntegrityError")
    metrics.count_limited("key rate")
    text = shown(registry)
    assert "crma_release_swaps_total 1.0" in text
    assert 'crma_release_swap_seconds_bucket{le="2.0"} 1.0' in text
    assert 'crma_release_swap_seconds_bucket{le="1.0"} 0.0' in text
    assert 'crma_refused_releases_total{reason="IntegrityError"} 1.0' in text
    assert 'crma_limited_requests_total{limit="key rate"} 1.0' in text

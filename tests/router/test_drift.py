"""Population stability: reference values, and the window."""

import math

import pytest

from crma_router.drift import (
    CONFIDENCE_EDGES,
    FEWEST,
    PSIMonitor,
    reference_stats,
    stability_index,
)
from crma_router.policy import RoutingDecision


def decision(domain: str | None, confidence: float) -> RoutingDecision:
    return RoutingDecision(domain, confidence, "routed" if domain else "fallback", "", {}, 0.0, 1.0)


MIXED = [decision("medical", 0.97), decision("legal", 0.6), decision(None, 0.3), decision("medical", 0.999)]


def test_the_index_has_its_textbook_values() -> None:
    assert stability_index([0.5, 0.5], [0.5, 0.5]) == 0
    by_hand = (0.8 - 0.5) * math.log(0.8 / 0.5) + (0.2 - 0.5) * math.log(0.2 / 0.5)
    assert stability_index([0.5, 0.5], [0.8, 0.2]) == pytest.approx(by_hand)
    assert stability_index([0.8, 0.2], [0.5, 0.5]) == pytest.approx(by_hand)
    assert math.isfinite(stability_index([1.0, 0.0], [0.0, 1.0]))


def test_shares_are_by_domain_and_by_confidence() -> None:
    usual = reference_stats(MIXED)
    assert usual.domains == {"legal": 0.25, "medical": 0.5, "none": 0.25}
    assert len(usual.confidence) == len(CONFIDENCE_EDGES) + 1
    assert sum(usual.confidence) == pytest.approx(1)
    assert (usual.confidence[0], usual.confidence[1], usual.confidence[-1]) == (0.25, 0.25, 0.25)


def test_too_few_decisions_say_nothing() -> None:
    watch = PSIMonitor(reference_stats(MIXED))
    for _ in range(FEWEST - 1):
        watch.see(MIXED[0])
    assert watch.drift() is None


def test_the_same_traffic_has_not_drifted_and_other_traffic_has() -> None:
    watch = PSIMonitor(reference_stats(MIXED), window=400)
    for at in range(400):
        watch.see(MIXED[at % 4])
    drift = watch.drift()
    assert drift is not None
    assert (drift.domains, drift.confidence) == (0, 0)
    for _ in range(400):  # the window has gone on: nothing of the first traffic is left in it
        watch.see(decision(None, 0.2))
    drift = watch.drift()
    assert drift is not None
    assert drift.domains > 1
    assert drift.confidence > 1
    for at in range(400):
        watch.see(MIXED[at % 4])
    drift = watch.drift()
    assert drift is not None
    assert (drift.domains, drift.confidence) == (0, 0)


def test_a_domain_training_did_not_have_counts() -> None:
    watch = PSIMonitor(reference_stats([decision("medical", 0.9)]))
    for _ in range(FEWEST):
        watch.see(decision("pirate", 0.9))
    drift = watch.drift()
    assert drift is not None
    assert drift.domains > 1

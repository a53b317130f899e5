"""Many domains: what is fitted and asked, and one added from a few questions."""

import argparse

import numpy as np
import pytest

from crma_adapters.errors import RouterError
from crma_eval.routing.domains.command import _numbers, domains_result
from crma_eval.routing.domains.measure import EACH, PlainRouter, measure_added, measure_size
from crma_eval.routing.domains.sources import ManyDomains, SourceDomain, _by_family, _domain_name, _split
from crma_router.classifier.data import RouterData
from crma_router.policy import RoutingDecision

NAMES = ("alpha", "beta", "gamma", "delta")


class Named:
    """Sends a text to the fitted domain whose name it begins with, once that has six examples or more."""

    def __init__(self, data: RouterData) -> None:
        if min(map(len, data.examples.values())) < 6:
            raise RouterError("too few examples")
        self.names = list(data.examples)

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        found = []
        for text in texts:
            domain = next((name for name in self.names if text.startswith(name)), None)
            scores = {name: float(name == domain) for name in self.names}
            found.append(RoutingDecision(domain, 1.0, "routed", "", scores, 0.0, 1.0))
        return found


def many() -> ManyDomains:
    domains = [
        SourceDomain(
            name,
            tuple(f"{name} {at}" for at in range(100)),
            tuple(f"{name} asked {at}" for at in range(20)),
        )
        for name in NAMES
    ]
    return ManyDomains(tuple(domains), ("none",), ("rain", "alpha rain"))


def test_a_size_is_fitted_asked_and_timed() -> None:
    found = measure_size(many(), 3, Named)
    assert (found.domains, found.fitted, found.asked) == (3, 3 * EACH, 60)
    assert (found.led, found.sent, found.wrong, found.left) == (1.0, 1.0, 0.0, 0.5)
    assert 0 < found.p50_ms <= found.p99_ms


def test_one_is_added_and_a_refusal_is_said() -> None:
    added = measure_added(many(), 2, "delta", Named)
    assert [(one.examples, one.reached) for one in added] == [(5, None), (20, 1.0), (100, 1.0)]
    assert all(one.others_before == one.others_after == 1.0 for one in added)
    result = domains_result([measure_size(many(), 2, Named)], added, "names")
    assert {goal.what: goal.met for goal in result.goals}["delta from 20 beside 2: reach it"]
    assert "| refused" in result.report.markdown()


def test_every_family_comes_once_before_its_other_members() -> None:
    tasks = {name: [str(at) for at in range(40)] for name in ("gem/a", "gem/b", "gem/c", "color", "navigate")}
    order = [name.split("/")[0] for name, _ in _by_family({**tasks, "few": ["1"]})]
    assert sorted(order[:3]) == ["color", "gem", "navigate"] and order[3:] == ["gem", "gem"]


def test_no_text_is_fitted_and_asked() -> None:
    domain = _split("x", [f"text {at}" for at in range(300)])
    assert (len(domain.fitted), len(domain.asked)) == (100, 20)
    assert not set(domain.fitted) & set(domain.asked)


@pytest.mark.parametrize(
    ("name", "domain"), [("2d_movement", "task-2d-movement"), ("gem/wiki_lingua", "gem-wiki-lingua")]
)
def test_names_are_names_of_domains(name: str, domain: str) -> None:
    assert _domain_name(name) == domain


def test_sizes_are_numbers() -> None:
    assert _numbers("5,50") == (5, 50)
    with pytest.raises(argparse.ArgumentTypeError, match="expected numbers"):
        _numbers("5,many")


class Letters:
    """A direction for the first word."""

    name = "letters"
    languages: frozenset[str] = frozenset()

    def encode(self, texts: list[str]) -> np.ndarray:
        rows = [np.random.default_rng(list(text.split()[0].encode())).standard_normal(16) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def test_the_plain_router_has_none_of_them_as_a_class() -> None:
    examples = {name: [f"{name} {at}" for at in range(8)] for name in NAMES}
    router = PlainRouter(RouterData(examples, ["rain today", "rain again"] * 4), Letters())
    found = router.route_many(["beta asked", "rain asked"])
    assert [one.domain for one in found] == ["beta", None]
    assert set(found[0].scores) == set(NAMES) and found[1].ood_distance > found[1].ood_threshold

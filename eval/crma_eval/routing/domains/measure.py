"""A router of many domains fitted, asked and timed; and one domain added from a few examples."""

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Protocol

import numpy as np

from crma_adapters.errors import RouterError
from crma_eval.routing.domains.sources import ManyDomains, SourceDomain
from crma_router.classifier.data import RouterData
from crma_router.encoders.base import Embedder
from crma_router.policy import RoutingDecision

NONE = ""


class PlainRouter:
    """Sends a text to its likeliest class; there is no threshold beside."""

    def __init__(self, data: RouterData, encoder: Embedder, c: float = 10.0) -> None:
        """`c`: scikit-learn's inverse of the L2 penalty."""
        from sklearn.linear_model import LogisticRegression

        texts = [text for own in data.examples.values() for text in own] + list(data.out_of_domain)
        names = [name for name, own in data.examples.items() for _ in own] + [NONE] * len(data.out_of_domain)
        self._encoder = encoder
        self._model = LogisticRegression(C=c, max_iter=500).fit(encoder.encode(texts), names)

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        """A decision for each text."""
        shares = self._model.predict_proba(self._encoder.encode(texts))
        names: list[str] = list(self._model.classes_)
        return [_decision(dict(zip(names, map(float, row), strict=True))) for row in np.asarray(shares)]


def _decision(shares: dict[str, float]) -> RoutingDecision:
    none = shares.pop(NONE, 0.0)
    leader = max(shares, key=shares.__getitem__)
    sent = shares[leader] >= none
    return RoutingDecision(
        domain=leader if sent else None,
        confidence=shares[leader],
        path="routed" if sent else "fallback",
        reason=f"{leader} has {shares[leader]:.2f}, none of them {none:.2f}",
        scores=shares,
        ood_distance=none - shares[leader],
        ood_threshold=0.0,
        cause="sure" if sent else "out of domain",
    )


EACH = 40  # questions of each domain to fit on
ADDED_FROM = (5, 20, 100)
_TIMED = 100


class FittedRouter(Protocol):
    """What is measured."""

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        """A decision for each text."""
        ...


Fit = Callable[[RouterData], FittedRouter]


@dataclass(frozen=True)
class Sized:
    """Shares of the asked questions: `led` by the right domain, `sent` there, `wrong`ly sent elsewhere; of
    those of none, `left` alone. fit_s: wall clock; fit_cpu_s: of all threads; p50, p99: of a decision's time.
    """

    domains: int
    fitted: int
    asked: int
    led: float
    sent: float
    wrong: float
    left: float
    fit_s: float
    fit_cpu_s: float
    p50_ms: float
    p99_ms: float
    memory_mib: float


@dataclass(frozen=True)
class Added:
    """A domain added to `domains` others from `examples` questions: the share of its held-out questions that
    reach it (None: refused), the others' share before and after, and the CPU time of it."""

    domains: int
    name: str
    examples: int
    reached: float | None
    others_before: float
    others_after: float
    cpu_s: float


def measure_size(many: ManyDomains, count: int, fit: Fit) -> Sized:
    """Fit on the first `count` domains and ask their held-out questions."""
    chosen = many.domains[:count]
    before = _resident_mib()
    wall, cpu = time.perf_counter(), time.process_time()
    router = fit(_data(many, chosen))
    fit_s, fit_cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    asked = [(text, domain.name) for domain in chosen for text in domain.asked]
    decisions = router.route_many([text for text, _ in asked])
    pairs = [(decision, name) for decision, (_, name) in zip(decisions, asked, strict=True)]
    none = router.route_many(list(many.none_asked))
    times = _times(router, [f"{text} please" for text, _ in asked[:: max(1, len(asked) // _TIMED)]])
    return Sized(
        domains=len(chosen),
        fitted=sum(len(domain.fitted[:EACH]) for domain in chosen),
        asked=len(asked),
        led=sum(max(one.scores, key=one.scores.__getitem__) == name for one, name in pairs) / len(pairs),
        sent=_sent(pairs),
        wrong=sum(one.domain not in (None, name) for one, name in pairs) / len(pairs),
        left=sum(one.domain is None for one in none) / len(none),
        fit_s=fit_s,
        fit_cpu_s=fit_cpu_s,
        p50_ms=times[49],
        p99_ms=times[98],
        memory_mib=_resident_mib() - before,
    )


def measure_added(many: ManyDomains, count: int, name: str, fit: Fit) -> list[Added]:
    """The domain `name` added to the first `count` others from 5, 20, 100 questions, each by a fit anew."""
    added = next(one for one in many.domains if one.name == name)
    chosen = [one for one in many.domains if one.name != name][:count]
    others = [(text, domain.name) for domain in chosen for text in domain.asked]
    before = _share(fit(_data(many, chosen)), others)
    own = [(text, name) for text in added.asked]
    found = []
    for examples in ADDED_FROM:
        data = _data(many, chosen)
        data.examples[name] = list(added.fitted[:examples])
        cpu = time.process_time()
        try:
            router = fit(data)
        except RouterError:  # too few for it
            found.append(Added(count, name, len(data.examples[name]), None, before, before, 0.0))
            continue
        spent = time.process_time() - cpu
        after = _share(router, others)
        found.append(Added(count, name, len(data.examples[name]), _share(router, own), before, after, spent))
    return found


def _data(many: ManyDomains, chosen: Sequence[SourceDomain]) -> RouterData:
    return RouterData({one.name: list(one.fitted[:EACH]) for one in chosen}, list(many.none_fitted))


def _share(router: FittedRouter, asked: Sequence[tuple[str, str]]) -> float:
    decisions = router.route_many([text for text, _ in asked])
    return _sent([(decision, name) for decision, (_, name) in zip(decisions, asked, strict=True)])


def _sent(pairs: Sequence[tuple[RoutingDecision, str]]) -> float:
    return sum(one.domain == name for one, name in pairs) / len(pairs)


def _times(router: FittedRouter, texts: Sequence[str]) -> list[float]:
    """Percentiles 1 to 99 of a decision's time, in ms."""
    times = []
    for text in texts:
        begun = time.perf_counter()
        router.route_many([text])
        times.append(1e3 * (time.perf_counter() - begun))
    return quantiles(times, n=100, method="inclusive")


def _resident_mib() -> float:
    """The most that this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

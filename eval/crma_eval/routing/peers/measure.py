"""Every router fitted, tuned, asked and timed in the same way.

A peer's options are chosen by the coverage at 2 % wrong on the questions left out for tuning; then it is
fitted on all. Its threshold is the one that gave 2 % wrong there.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from crma_eval.routing.metrics import auroc
from crma_eval.routing.peers.peers import Guess, Peer
from crma_eval.routing.peers.split import Split

WRONG = 0.02
_TIMED = 60


@dataclass(frozen=True)
class SetFigures:
    """accuracy: of the leading domain, of questions that have one. coverage: of those, sent right at the best
    threshold with at most 2 % of what is sent wrong, questions of none among it. auroc: of the score,
    questions of domains over those of none. sent, wrong, left: at the threshold that was tuned, domains'
    questions sent right, sent to a wrong adapter, and questions of none left alone."""

    accuracy: float
    coverage: float
    auroc: float
    sent: float
    wrong: float
    left: float


@dataclass(frozen=True)
class Measured:
    """fit_s: of the last fit, vectors known (None: fitted elsewhere). p50_ms, p99_ms: one text not asked
    before, one thread."""

    name: str
    option: dict[str, Any]
    sets: dict[str, SetFigures]
    fit_s: float | None
    p50_ms: float
    p99_ms: float


def measure_peer(peer: Peer, split: Split) -> Measured:
    """Tune on the part, fit on the whole, ask every set."""
    option, threshold = _tuned(peer, split)
    begun = time.perf_counter()
    peer.fit(split.whole, **option)
    fit_s = time.perf_counter() - begun
    sets = {}
    for one in split.asked:
        guesses = peer.guess(one.texts)
        sets[one.name] = figures(guesses, one.labels, [guess.score >= threshold for guess in guesses])
    times = one_by_one(peer.guess, split.asked[1].texts)
    return Measured(
        peer.name,
        dict(option),
        sets,
        fit_s,
        float(np.percentile(times, 50)),
        float(np.percentile(times, 99)),
    )


def _tuned(peer: Peer, split: Split) -> tuple[Mapping[str, Any], float]:
    found: list[tuple[float, float, Mapping[str, Any]]] = []
    for option in tqdm(peer.options, desc=peer.name, unit="option", leave=False):
        peer.fit(split.part, **option)
        coverage, threshold = coverage_at(peer.guess(split.tuned.texts), split.tuned.labels)
        found.append((coverage, threshold, option))
    _, threshold, option = max(found, key=lambda one: one[0])
    return option, threshold


def figures(guesses: Sequence[Guess], labels: Sequence[str | None], sent: Sequence[bool]) -> SetFigures:
    """Of one set; `sent`: which texts were sent to their leading domain."""
    rows = list(zip(guesses, labels, sent, strict=True))
    inside = [(guess, label, went) for guess, label, went in rows if label is not None]
    outside = [(guess, went) for guess, label, went in rows if label is None]
    hits = sum(went and guess.domain == label for guess, label, went in inside)
    return SetFigures(
        accuracy=sum(guess.domain == label for guess, label, _ in inside) / len(inside),
        coverage=coverage_at(guesses, labels)[0],
        auroc=auroc(
            np.array([-guess.inside for guess, _, _ in inside]),
            np.array([-guess.inside for guess, _ in outside]),
        ),
        sent=hits / len(inside),
        wrong=(sum(went for _, _, went in inside) - hits) / len(inside),
        left=sum(not went for _, went in outside) / len(outside) if outside else 1.0,
    )


def coverage_at(
    guesses: Sequence[Guess], labels: Sequence[str | None], wrong: float = WRONG
) -> tuple[float, float]:
    """The largest share of the domains' questions sent right while at most `wrong` of what is sent is wrong.

    Also the threshold of it, infinite if there is none.
    """
    order = sorted(zip(guesses, labels, strict=True), key=lambda pair: -pair[0].score)
    of_domains = sum(label is not None for label in labels)
    best, threshold, hits = 0.0, float("inf"), 0
    for count, (guess, label) in enumerate(order, start=1):
        hits += guess.domain == label
        last_of_score = count == len(order) or order[count][0].score < guess.score
        if last_of_score and count - hits <= wrong * count and hits / of_domains > best:
            best, threshold = hits / of_domains, guess.score
    return best, threshold


def one_by_one(ask: Callable[[Sequence[str]], object], texts: Sequence[str]) -> list[float]:
    """Times in ms of texts that were not asked before, one at a time."""
    found = []
    with threadpool_limits(1):
        for text in texts[:: max(1, len(texts) // _TIMED)]:
            begun = time.perf_counter()
            ask([f"{text} please"])
            found.append(1e3 * (time.perf_counter() - begun))
    return found[3:]

"""What all routers are fitted on, tuned on and asked; and each of them fitted, tuned, asked and timed."""

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from crma_adapters.io.durable import write_durably
from crma_eval.routing.as_served import decide_text
from crma_eval.routing.judged import auroc
from crma_eval.routing.peers.peers import Guess, Peer
from crma_eval.routing.sets.fresh import ENGLISH, FreshQuestion, fresh_questions
from crma_eval.routing.sets.held_out import load_sets
from crma_eval.stats import percentile
from crma_router.classifier.data import RouterData
from crma_router.policy import RoutingDecision
from crma_router.router import Router
from crma_training.data.dataset import load_dataset
from crma_training.small_talk import SMALL_TALK

TUNED_SHARE = 5
_TUNED_ON = 500  # texts at most: each option of each router asks them all
_HELD_OUT = 800


@dataclass(frozen=True)
class Labelled:
    """Texts and where each belongs, None for none."""

    name: str
    texts: tuple[str, ...]
    labels: tuple[str | None, ...]


@dataclass(frozen=True)
class Split:
    """`part` has none of the texts that are `tuned` on; `whole` has all."""

    whole: RouterData
    part: RouterData
    tuned: Labelled
    asked: tuple[Labelled, ...]

    @property
    def digest(self) -> str:
        """Of all texts and labels."""
        content = [self.whole.examples, self.whole.out_of_domain, self.tuned.texts, self.asked]
        return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def load_split(directory: Path) -> Split:
    """Of a dataset folder whose domains are those of the fresh questions. Raises as `load_dataset`."""
    data = load_dataset(directory)
    whole = RouterData(
        {domain.name: list(domain.questions) for domain in data.domains}, [*data.out_of_domain, *SMALL_TALK]
    )
    part = RouterData(
        {name: _left(texts) for name, texts in whole.examples.items()}, _left(whole.out_of_domain)
    )
    pairs: list[tuple[str, str | None]] = [
        (text, name) for name, texts in whole.examples.items() for text in texts if _is_tuned_on(text)
    ]
    pairs += [(text, None) for text in whole.out_of_domain if _is_tuned_on(text)]
    return Split(whole, part, _labelled("tuned", _spread(pairs, _TUNED_ON)), _asked(directory))


def _asked(directory: Path) -> tuple[Labelled, ...]:
    sets = {one.name: one for one in load_sets(directory)}
    held_out = [(q.turns[-1], q.domain) for name in ("natural", "everyday") for q in sets[name].questions]
    questions = fresh_questions()
    english = [one for one in questions if one.language == ENGLISH]
    return (
        _labelled("held-out", _spread(held_out, _HELD_OUT)),
        _fresh("fresh English", [one for one in english if not one.near]),
        _fresh("fresh English, near", [one for one in english if one.near or one.domain is not None]),
        _fresh("other languages", [one for one in questions if one.language != ENGLISH]),
    )


def _fresh(name: str, questions: Sequence[FreshQuestion]) -> Labelled:
    return _labelled(name, [(one.text, one.domain) for one in questions])


def _labelled(name: str, pairs: Sequence[tuple[str, str | None]]) -> Labelled:
    return Labelled(name, tuple(text for text, _ in pairs), tuple(label for _, label in pairs))


def _spread(pairs: Sequence[tuple[str, str | None]], count: int) -> list[tuple[str, str | None]]:
    """At most `count` of them, evenly over the list."""
    count = min(count, len(pairs))
    return [pairs[at * len(pairs) // count] for at in range(count)]


def _is_tuned_on(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] % TUNED_SHARE == 0


def _left(texts: Sequence[str]) -> list[str]:
    return [text for text in texts if not _is_tuned_on(text)]


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
        percentile(times, 50),
        percentile(times, 99),
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


def measure_ours(folder: Path, split: Split) -> Measured:
    """Ask the router in `folder` every set; it is not fitted again."""
    router = Router.load(folder)
    times = one_by_one(lambda texts: decide_text(router, texts[0]), split.asked[1].texts)
    sets = {}
    for one in split.asked:
        decisions = [decide_text(router, text) for text in one.texts]
        sent = [decision.domain is not None for decision in decisions]
        sets[one.name] = figures([_guess(decision) for decision in decisions], one.labels, sent)
    return Measured(
        f"crma, {router.model.embedder}",
        {},
        sets,
        None,
        percentile(times, 50),
        percentile(times, 99),
    )


def _guess(decision: RoutingDecision) -> Guess:
    """Its confidence is given that any domain is right; a logistic curve of the distance says whether."""
    over = decision.ood_distance - decision.ood_threshold
    leader = max(decision.scores, key=decision.scores.__getitem__)
    return Guess(leader, decision.scores[leader] / (1 + math.exp(over)), -decision.ood_distance)


def kept(folder: Path, name: str, digest: str, measure: Callable[[], Measured]) -> Measured:
    """What `folder` has of the peer `name` on the split of `digest`; measured and kept if it has nothing."""
    key = hashlib.sha256(f"{name}\n{digest}".encode()).hexdigest()[:16]
    path, form = folder / f"{key}.json", TypeAdapter(Measured)
    if path.is_file():
        try:
            return form.validate_json(path.read_bytes())
        except ValidationError:
            pass  # damaged, or of another version: measured again
    found = measure()
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder, path, form.dump_json(found))
    return found

"""Peers on one footing: the same split, coverage at 2 % wrong, thresholds tuned apart."""

import json
from pathlib import Path

import numpy as np
import pytest

from crma_eval.routing.peers.command import peers_report
from crma_eval.routing.peers.measure import (
    Labelled,
    Measured,
    Split,
    coverage_at,
    figures,
    kept,
    measure_peer,
)
from crma_eval.routing.peers.peers import (
    DESCRIPTIONS,
    DescriptionPeer,
    Guess,
    LogisticPeer,
    NeighbourPeer,
    installed,
)
from crma_router.classifier.data import RouterData

TOPICS = {"medical": "fever cough rash", "legal": "court judge lease", "": "song pizza movie"}


class Words:
    """Every word a direction of its own."""

    name = "words"
    languages: frozenset[str] = frozenset()

    def encode(self, texts: list[str]) -> np.ndarray:
        rows = [sum((self._direction(word) for word in text.split()), np.zeros(48)) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    def _direction(self, word: str) -> np.ndarray:
        return np.random.default_rng(list(word.encode())).standard_normal(48)


def texts(topic: str, start: int, count: int) -> list[str]:
    words = TOPICS[topic].split()
    return [f"{words[at % 3]} {words[(at + 1) % 3]} case{at}" for at in range(start, start + count)]


def data(start: int, count: int) -> RouterData:
    return RouterData(
        {name: texts(name, start, count) for name in ("medical", "legal")}, texts("", start, count)
    )


def labelled(name: str, start: int) -> Labelled:
    pairs = [(text, topic or None) for topic in TOPICS for text in texts(topic, start, 10)]
    return Labelled(name, tuple(text for text, _ in pairs), tuple(label for _, label in pairs))


SPLIT = Split(
    data(0, 30), data(0, 20), labelled("tuned", 20), (labelled("held-out", 40), labelled("fresh", 50))
)


def test_coverage_counts_what_is_sent_right_while_few_are_wrong() -> None:
    guesses = [Guess("a", score, score) for score in (0.9, 0.8, 0.7, 0.6)]
    labels = ["a", "a", None, "a"]
    assert list(coverage_at(guesses, labels)) == pytest.approx([2 / 3, 0.8])
    assert coverage_at(guesses, labels, wrong=0.25) == (1.0, 0.6)
    assert coverage_at([Guess("b", 0.9, 0.9)], ["a"]) == (0.0, float("inf"))


def test_texts_of_one_score_are_sent_together() -> None:
    guesses = [Guess("a", 0.5, 0.5), Guess("a", 0.5, 0.5)]
    assert coverage_at(guesses, ["a", None])[0] == 0.0


def test_figures_are_of_what_was_sent() -> None:
    guesses = [Guess("a", 0.9, 0.9), Guess("b", 0.8, 0.8), Guess("a", 0.2, 0.2), Guess("a", 0.1, 0.1)]
    found = figures(guesses, ["a", "a", "a", None], [True, True, False, False])
    assert [found.accuracy, found.sent, found.wrong] == pytest.approx([2 / 3, 1 / 3, 1 / 3])
    assert found.left == 1.0 and found.auroc == 1.0


@pytest.mark.parametrize("kind", [LogisticPeer, NeighbourPeer])
def test_a_peer_is_tuned_fitted_and_asked(kind: type[LogisticPeer] | type[NeighbourPeer]) -> None:
    found = measure_peer(kind("words", Words()), SPLIT)
    assert found.option in [dict(one) for one in kind.options]
    assert found.sets["held-out"].accuracy > 0.9 and found.sets["fresh"].auroc > 0.9
    assert found.fit_s is not None and found.p50_ms <= found.p99_ms


def test_descriptions_decide_without_examples() -> None:
    peer = DescriptionPeer("words", Words())
    peer.fit(data(0, 1))
    guesses = peer.guess([DESCRIPTIONS["legal"], DESCRIPTIONS["medical"]])
    assert [one.domain for one in guesses] == ["legal", "medical"]


def test_the_report_names_what_is_left_out(tmp_path: Path) -> None:
    assert not installed("no_such_router_package")
    measured = [measure_peer(LogisticPeer("words", Words()), SPLIT)]
    report = peers_report(measured, ["SetFit (pip install setfit)"])
    report.write(tmp_path)
    figures = json.loads((tmp_path / "routing-peers.json").read_text())["figures"]
    assert figures["left_out"] == ["SetFit (pip install setfit)"]
    assert "Left out: SetFit (pip install setfit)." in report.markdown()
    assert set(figures["routers"][0]["sets"]) == {"held-out", "fresh"}


def test_what_was_measured_is_kept_and_what_is_damaged_is_measured_again(tmp_path: Path) -> None:
    asked = []

    def measure() -> Measured:
        asked.append(1)
        return measure_peer(DescriptionPeer("words", Words()), SPLIT)

    first = kept(tmp_path, "peer", SPLIT.digest, measure)
    assert kept(tmp_path, "peer", SPLIT.digest, measure) == first and len(asked) == 1
    kept(tmp_path, "peer", "another split", measure)
    assert len(asked) == 2
    for path in tmp_path.glob("*.json"):
        path.write_text("{")
    assert kept(tmp_path, "peer", SPLIT.digest, measure).sets == first.sets and len(asked) == 3

"""Routing itself: every text gets a decision, from any thread."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_adapters.errors import RouterError
from crma_router.encoders.base import Embedder, Embeddings
from crma_router.roles.role_classifier import everything_asked
from crma_router.router import Router, RouterData, fit_router

QUESTION = "what is a fever and a rash"


def test_a_question_of_a_domain(router: Router) -> None:
    decision = router.route(QUESTION)
    assert (decision.domain, decision.path) == ("medical", "routed")
    assert set(decision.scores) == {"code", "legal", "medical"} == set(router.domains)
    assert decision.confidence == decision.scores["medical"] > 0.5
    assert sum(decision.scores.values()) == pytest.approx(1, abs=1e-5)
    assert decision.ood_distance <= decision.ood_threshold


@pytest.mark.parametrize("text", ["", " \n", "?!", "😀", "\x00"])
def test_no_words_fall_back_with_a_reason(router: Router, text: str) -> None:
    decision = router.route(text)
    assert (decision.domain, decision.path, decision.cause) == (None, "fallback", "no words")
    assert decision.reason == "there are no words to route by"


@pytest.mark.parametrize("text", ["fever " * 200_000, "\ud800 fever", "a\x00b", "x" * 1_000_000])
def test_odd_texts_get_a_decision(router: Router, text: str) -> None:
    assert router.route(text).path in ("routed", "fallback")


@given(text=st.text(st.characters()))
def test_any_text_gets_a_finite_decision(router: Router, text: str) -> None:
    decision = router.route(text)
    assert 0 <= decision.confidence <= 1
    assert np.isfinite(decision.ood_distance)
    assert decision.reason


def test_many_at_once_are_decided_as_one_by_one(router: Router, unseen: RouterData) -> None:
    texts = [*unseen.examples["code"][:10], "", *unseen.out_of_domain[:10]]
    for together, alone in zip(router.route_many(texts), map(router.route, texts), strict=True):
        assert (together.domain, together.cause) == (alone.domain, alone.cause)
        assert together.confidence == pytest.approx(alone.confidence, abs=1e-5)


def test_nothing_to_decide(router: Router) -> None:
    assert router.route_many([]) == []


def test_threads_may_share_a_router(router: Router, unseen: RouterData) -> None:
    texts = unseen.examples["legal"]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(router.route, texts)) == [router.route(text) for text in texts]


def test_a_vector_let_go_by_another_thread_is_still_had(
    router: Router, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crma_router.router._EMBEDDED_LATELY", 1)

    class Busy:
        name, languages = embedder.name, embedder.languages

        def encode(self, texts: list[str]) -> Embeddings:
            if "a new text" in texts:
                shared._encode(["what another thread asks"])
            return embedder.encode(texts)

    shared = Router(router.model, Busy())
    known = shared._encode(["a known text"])
    assert np.array_equal(shared._encode(["a known text", "a new text"])[0], known[0])


def test_a_language_that_the_encoder_was_not_trained_on_falls_back_with_that_cause(
    data: RouterData, embedder: Embedder
) -> None:
    english = type(embedder)(languages=frozenset({"en"}))  # type: ignore[call-arg]
    router = fit_router(data, english, roles=everything_asked(48))
    german = "Der Vermieter will die Kaution wegen fever asthma vaccine nicht zurückgeben, was kann ich tun?"
    assert (router.route(german).domain, router.route(german).cause) in (
        (None, "language"),
        (None, "out of domain"),
    )
    assert router.route("what is a fever and a rash").domain == "medical"


def test_another_embedder_is_refused(router: Router, embedder: Embedder) -> None:
    other = type(embedder)(name="others")  # type: ignore[call-arg]
    with pytest.raises(RouterError, match="'others' given, but the router was fitted with 'words'"):
        Router(router.model, other)


def test_an_embedder_of_another_size_is_refused(router: Router, embedder: Embedder) -> None:
    wider = type(embedder)(size=50)  # type: ignore[call-arg]
    with pytest.raises(RouterError, match="gives 50 dimensions, the router was fitted on 48"):
        Router(router.model, wider)


def test_what_was_asked_before_is_known_and_decided_alike(router: Router, embedder: Embedder) -> None:
    fresh = Router(router.model, embedder)
    text = "what is a dose and a fever?"
    assert fresh.route_known(text) is None
    decision = fresh.route(text)
    assert fresh.route_known(text) == decision
    assert fresh.route_known(text + " and a rash") is None


def test_the_map_parts_the_domains_and_says_where_a_text_falls(router: Router, unseen: RouterData) -> None:
    drawn = router.example_map
    assert drawn.points.shape == (len(drawn.labels), 2) and set(drawn.labels) == {*router.domains, None}
    centres = {
        name: drawn.points[np.array([label == name for label in drawn.labels])].mean(axis=0)
        for name in router.domains
    }
    text = unseen.examples["legal"][0]
    decision = router.route(text + "!")  # not one that was decided before the map was drawn
    assert decision.place is not None and decision.vector is not None
    assert decision.place == drawn.place(decision.vector)
    spread = min(float(np.linalg.norm(centres[a] - centres[b])) for a in centres for b in centres if a < b)
    assert spread > 0.1
    nearest = [
        min(centres, key=lambda name: float(np.linalg.norm(np.array(one.place) - centres[name])))
        for one in router.route_many([f"{text} !" for text in unseen.examples["legal"]])
    ]
    assert nearest.count("legal") > 0.6 * len(nearest)


def test_one_domain_alone_has_a_map_too(data: RouterData, embedder: Embedder) -> None:
    alone = fit_router(
        RouterData({"legal": data.examples["legal"]}, []), embedder, roles=everything_asked(48)
    )
    assert np.isfinite(alone.example_map.points).all() and alone.example_map.points.shape[1] == 2

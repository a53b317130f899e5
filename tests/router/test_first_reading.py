"""When the words alone decide, and that they decide no worse than the whole."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crma_router.classifier.first_reading import (
    FEWEST_OUTSIDE,
    MORE_LET_IN,
    SURE_FROM,
    FirstReading,
    decides,
    least_sure,
)
from crma_router.encoders.cache import CachedEmbedder
from crma_router.encoders.sentence_transformers import Embedder, Embeddings, words_part
from crma_router.policy import Evidence
from crma_router.router import Router, RouterData, fit_router

INSIDE, OUTSIDE = 0.5, 1.5  # distances beside a threshold of 1


def says(confidence: float, distance: float = INSIDE, leader: str = "legal") -> Evidence:
    other = "medical" if leader == "legal" else "legal"
    return Evidence({leader: confidence, other: 1 - confidence}, distance, 1.0)


def test_the_words_decide_where_they_are_sure_and_inside() -> None:
    assert decides(says(0.95), 0.95)
    assert not decides(says(0.94), 0.95)
    assert not decides(says(1.0, OUTSIDE), 0.95)


def test_what_they_say_stands_beside_the_whole_readings_threshold(reader: Router) -> None:
    assert reader.model.first is not None
    first = replace(reader.model.first, sure_from=0.9)
    followed = first.followed(says(0.95), threshold=3.0)
    assert followed is not None and followed.by_words
    assert (followed.ood_distance, followed.ood_threshold) == (2.5, 3.0)
    assert followed.scores == says(0.95).scores
    assert first.followed(says(0.85), threshold=3.0) is None


def least(words: list[Evidence], whole: list[str | None], wanted: list[str | None]) -> float | None:
    """Of these rows and enough out-of-domain ones, which neither reading lets in."""
    outside: list[str | None] = [None] * FEWEST_OUTSIDE
    rows = [*words, *[says(0.6, OUTSIDE)] * FEWEST_OUTSIDE]
    return least_sure(rows, [*whole, *outside], [*wanted, *outside])


def test_the_least_confidence_that_sends_no_more_astray() -> None:
    words = [says(0.91), says(0.97), says(0.999)]
    whole: list[str | None] = ["medical", "legal", "legal"]
    assert least(words, whole, ["medical", "legal", "legal"]) == 0.95  # of the first they are wrong
    assert least(words, whole, ["legal", "legal", "legal"]) == SURE_FROM[0]  # and here the whole
    assert least(words, whole, ["medical", "medical", "medical"]) == 0.95  # both are, of the others


def test_never_where_the_surest_go_astray_or_none_is_sure() -> None:
    assert least([says(0.999)], ["medical"], ["medical"]) is None
    assert least([says(0.8)], ["legal"], ["legal"]) is None


def test_never_with_few_out_of_domain_examples() -> None:
    few = FEWEST_OUTSIDE - 1
    rows, none = [says(0.999), *[says(0.6, OUTSIDE)] * few], [None] * few
    assert least_sure(rows, ["legal", *none], ["legal", *none]) is None


def test_letting_in_a_few_more_is_allowed() -> None:
    outside = 2 * FEWEST_OUTSIDE
    allowed = int(MORE_LET_IN * outside)
    for let_in, expected in ((allowed, SURE_FROM[0]), (allowed + 1, 0.95)):
        words = [says(0.92)] * let_in + [says(0.6, OUTSIDE)] * (outside - let_in) + [says(0.97)]
        whole: list[str | None] = [None] * outside
        assert least_sure(words, [*whole, "legal"], [*whole, "legal"]) == expected


def test_the_word_part_of_a_vector_is_a_unit_vector() -> None:
    part = words_part(np.array([[1.0, 3.0, 4.0], [1.0, 0.0, 0.0]], np.float32), 2)
    np.testing.assert_allclose(part, [[0.6, 0.8], [0.0, 0.0]])


def test_a_fitted_router_follows_the_words_and_is_no_worse(
    reader: Router, much_data: RouterData, unseen: RouterData
) -> None:
    assert isinstance(reader.model.first, FirstReading)
    whole = Router(replace(reader.model, first=None), reader.embedder)
    fitted = {text for texts in much_data.examples.values() for text in texts}
    inside = [(text, name) for name, texts in unseen.examples.items() for text in texts if text not in fitted]
    assert len(inside) > 100
    texts = [text for text, _ in inside]
    ours, theirs = reader.route_many(texts), whole.route_many(texts)
    by_words = np.mean(["its words alone" in one.reason for one in ours])
    assert by_words > 0.5 and reader.model.report.by_words > 0.5
    names = [name for _, name in inside]
    right, before = (np.mean([a.domain == b for a, b in zip(d, names, strict=True)]) for d in (ours, theirs))
    assert right >= before - 0.01
    let_in, before = (
        np.mean([one.domain is not None for one in router.route_many(unseen.out_of_domain)])
        for router in (reader, whole)
    )
    assert let_in <= before + 2 * MORE_LET_IN


def test_a_text_that_the_words_decide_is_not_embedded(
    reader: Router, two_parts: Embedder, unseen: RouterData
) -> None:
    asked: list[str] = []

    class Noting(CachedEmbedder):
        def encode(self, texts: list[str]) -> Embeddings:
            asked.extend(texts)
            return super().encode(texts)

    fresh = Router(reader.model, Noting(two_parts))
    asked.clear()
    texts = unseen.examples["legal"]
    known = {text for text in texts if fresh.route_known(text) is not None}
    assert 0 < len(known) < len(texts) and not asked
    together = fresh.route_many(texts)
    assert asked == [text for text in texts if text not in known]
    for one, text in zip(together, texts, strict=True):
        alone = fresh.route(text)
        assert (one.domain, one.cause) == (alone.domain, alone.cause)
        assert one.confidence == pytest.approx(alone.confidence, abs=1e-5)
    by_words = {a for a, b in zip(texts, together, strict=True) if "its words alone" in b.reason}
    assert by_words == known


def test_a_policy_that_asks_for_more_than_the_words_give_asks_the_whole(
    reader: Router, unseen: RouterData
) -> None:
    strict = replace(reader.model.policy, min_confidence=0.9999)
    asking = Router(replace(reader.model, policy=strict), reader.embedder)
    whole = Router(replace(reader.model, policy=strict, first=None), reader.embedder)
    texts = unseen.examples["legal"]
    ours, theirs = asking.route_many(texts), whole.route_many(texts)
    assert any(one.domain is None for one in ours)
    for one, other in zip(ours, theirs, strict=True):
        assert one.domain == other.domain or "its words alone" in one.reason


def test_the_same_questions_in_any_order_give_the_same_bytes(
    two_parts: Embedder, much_data: RouterData, tmp_path: Path
) -> None:
    backwards = {name: texts[::-1] for name, texts in reversed(much_data.examples.items())}
    fit_router(much_data, two_parts).save(tmp_path / "one")
    fit_router(RouterData(backwards, much_data.out_of_domain[::-1]), two_parts).save(tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_threads_may_share_a_router(reader: Router, unseen: RouterData) -> None:
    texts = unseen.examples["legal"] * 3
    fresh = Router(reader.model, reader.embedder)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(fresh.route, texts))
    assert found == [reader.route(text) for text in texts]


def test_an_embedder_of_one_part_reads_no_words(router: Router) -> None:
    assert router.model.first is None and router.model.report.by_words == 0

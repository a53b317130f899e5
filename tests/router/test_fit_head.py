"""The classifier's prototypes and weights."""

import numpy as np
import pytest

from crma_router.classifier.data import EmbeddedExamples
from crma_router.classifier.fit_head import PROTOTYPES, fit_head
from crma_router.classifier.head import Labels
from crma_router.encoders.sentence_transformers import Embeddings


def crossed(rows: int = 60, size: int = 8) -> tuple[Embeddings, Labels]:
    """Two classes of two opposite clusters each: no plane through the origin, or beside it, parts them."""
    chance = np.random.default_rng(0)
    labels = np.arange(rows) % 2
    ends = np.where(np.arange(rows) % 4 < 2, 1.0, -1.0)
    vectors = 0.15 * chance.standard_normal((rows, size))
    vectors[np.arange(rows), labels] += ends
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def examples(embeddings: Embeddings, labels: Labels, domains: tuple[str, ...]) -> EmbeddedExamples:
    rows = np.arange(len(labels))
    return EmbeddedExamples(domains, labels, embeddings, rows, np.zeros(len(labels), bool))


def test_domains_that_are_several_clusters_are_told_apart() -> None:
    embeddings, labels = crossed()
    head = fit_head(examples(embeddings, labels, ("a", "b")), 0)
    assert (head.logits(embeddings).argmax(axis=1) == labels).all()


def test_the_same_rows_and_seed_give_the_same_head() -> None:
    one, two = (fit_head(examples(*crossed(), ("a", "b")), 3) for _ in range(2))
    assert one.prototypes is not None and two.prototypes is not None
    np.testing.assert_array_equal(one.prototypes.centres, two.prototypes.centres)
    np.testing.assert_array_equal(one.weight, two.weight)


def test_prototypes_are_unit_vectors_and_no_more_than_half_the_rows() -> None:
    embeddings, labels = crossed(rows=40)
    head = fit_head(examples(embeddings, labels, ("a", "b")), 0)
    assert head.prototypes is not None and head.prototypes.centres.shape == (20, 8)
    np.testing.assert_allclose(np.linalg.norm(head.prototypes.centres, axis=1), 1.0, atol=1e-3)
    assert head.size == 8
    most = fit_head(examples(*crossed(rows=4 * PROTOTYPES), ("a", "b")), 0)
    assert most.weight.shape == (2, 2 * PROTOTYPES)
    assert most.prototypes is not None and most.prototypes.counts == (PROTOTYPES, PROTOTYPES)


@pytest.mark.parametrize("domains", [("a",), ("a", "b")])
def test_the_last_class_is_what_is_outside(domains: tuple[str, ...]) -> None:
    embeddings, labels = crossed()
    head = fit_head(examples(embeddings, labels, domains), 0)
    assert head.has_outside == (len(domains) == 1)
    assert head.logits(embeddings).shape == (60, 2)


def test_rows_that_are_all_the_same_are_one_prototype() -> None:
    same = np.tile(np.eye(4, dtype=np.float32)[:2], (10, 1))
    head = fit_head(examples(same, np.arange(20) % 2, ("a", "b")), 0)
    assert head.prototypes is not None and len(head.prototypes.centres) == 2
    assert (head.logits(same).argmax(axis=1) == np.arange(20) % 2).all()


def test_a_single_domain_alone_needs_no_weights() -> None:
    head = fit_head(examples(crossed()[0], np.zeros(60, np.int64), ("a",)), 0)
    assert head.prototypes is None and not head.weight.any()

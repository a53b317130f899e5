"""The classifier against formulas written out."""

import numpy as np
import pytest

from crma_router.classifier.head import LinearHead, Prototypes, outside_log_odds, softmax

EMBEDDINGS = np.array([[1.0, 0.0], [0.6, 0.8]], np.float32)
HEAD = LinearHead(
    weight=np.array([[2.0, 0.0], [0.0, 2.0], [-1.0, 1.0]], np.float32),
    bias=np.array([0.0, 0.5, 0.0], np.float32),
    temperature=2.0,
    has_outside=True,
)


def test_logits_are_weight_times_embedding_plus_bias() -> None:
    np.testing.assert_allclose(HEAD.logits(EMBEDDINGS), [[2.0, 0.5, -1.0], [1.2, 2.1, 0.2]], atol=1e-6)


def test_probabilities_are_of_the_domains_and_divided_by_the_temperature() -> None:
    powers = np.exp([1.0, 0.25])
    expected = powers / powers.sum()
    np.testing.assert_allclose(HEAD.probabilities(HEAD.logits(EMBEDDINGS))[0], expected, rtol=1e-6)


def test_without_an_outside_class_probabilities_sum_to_one() -> None:
    head = LinearHead(HEAD.weight, HEAD.bias, 2.0, has_outside=False)
    np.testing.assert_allclose(head.probabilities(head.logits(EMBEDDINGS)).sum(axis=1), 1.0, rtol=1e-6)


def test_log_odds_of_the_last_class() -> None:
    probabilities = softmax(HEAD.logits(EMBEDDINGS))[:, -1]
    expected = np.log(probabilities / (1 - probabilities))
    np.testing.assert_allclose(outside_log_odds(HEAD.logits(EMBEDDINGS)), expected, rtol=1e-5)


@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_extreme_logits_do_not_overflow(extreme: float) -> None:
    logits = np.array([[extreme, 0.0, -extreme]], np.float32)
    assert np.isfinite(softmax(logits)).all()
    assert np.isfinite(outside_log_odds(logits)).all()


def test_likeness_is_one_at_a_prototype_and_falls_with_the_angle() -> None:
    prototypes = Prototypes(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), sharpness=5.0)
    expected = [[1.0, np.exp(-5.0)], [np.exp(-2.0), np.exp(-1.0)]]
    np.testing.assert_allclose(prototypes.likeness(prototypes.cosines(EMBEDDINGS)), expected, rtol=1e-5)
    head = LinearHead(HEAD.weight, HEAD.bias, 2.0, True, prototypes)
    np.testing.assert_allclose(head.logits(EMBEDDINGS), expected @ HEAD.weight.T + HEAD.bias, rtol=1e-5)
    assert head.size == 2


def test_the_nearest_prototypes_of_each_class_add_to_its_logit() -> None:
    turned = [[np.cos(angle), np.sin(angle)] for angle in (0.0, 0.1, 0.2, 2.0, 1.5, 3.0)]
    head = LinearHead(
        weight=np.zeros((3, 6), np.float32), bias=HEAD.bias, temperature=1.0, has_outside=True,
        prototypes=Prototypes(np.array(turned, np.float32), 5.0, counts=(4, 1, 1), nearest=10.0),
    )  # fmt: skip
    nearest = [10 * np.cos([0.0, 0.1, 0.2]).mean(), 10 * np.cos(1.5), 10 * np.cos(3.0)]
    np.testing.assert_allclose(head.logits(EMBEDDINGS)[0], nearest + HEAD.bias, rtol=1e-4)

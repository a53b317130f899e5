"""How the two readings join."""

import numpy as np
import pytest

from crma_router.classifier.mahalanobis import Mahalanobis
from crma_router.classifier.ood import Outside, Standard, Unlikeness

NOWHERE = Mahalanobis(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32), 1.0)


FAR = Unlikeness(NOWHERE, Standard(100.0, 20.0))
LOGITS = np.array([[0.0, 2.0]], np.float32)  # log-odds 2, three deviations up
POINT = np.array([[11.0, 1.0]], np.float32)  # distance 122, a bit over one deviation up


def test_the_mean_of_both_in_standard_deviations() -> None:
    outside = Outside(FAR, Standard(-4.0, 2.0), threshold=1.0)
    assert outside.distance(POINT, LOGITS)[0] == pytest.approx((1.1 + 3.0) / 2)


def test_the_distance_stands_alone_without_out_of_domain_examples() -> None:
    outside = Outside(FAR, None, threshold=1.0)
    assert outside.distance(POINT, np.array([[5.0]], np.float32))[0] == pytest.approx(1.1)


def test_the_log_odds_stand_alone_with_many() -> None:
    outside = Outside(None, Standard(-4.0, 2.0), threshold=1.0)
    assert outside.distance(POINT, LOGITS)[0] == pytest.approx(3.0)

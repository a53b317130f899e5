"""How the two readings join."""

import numpy as np
import pytest

from crma_router.mahalanobis import Mahalanobis
from crma_router.outside import Outside, Standard

NOWHERE = Mahalanobis(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32), 1.0)


def test_the_mean_of_both_in_standard_deviations() -> None:
    outside = Outside(NOWHERE, Standard(100.0, 20.0), Standard(-4.0, 2.0), threshold=1.0)
    logits = np.array([[0.0, 2.0]], np.float32)  # log-odds 2, three deviations up
    joined = outside.join(np.array([120.0], np.float32), logits)
    assert joined[0] == pytest.approx((1.0 + 3.0) / 2)


def test_the_distance_stands_alone_without_out_of_domain_examples() -> None:
    outside = Outside(NOWHERE, Standard(100.0, 20.0), None, threshold=1.0)
    joined = outside.join(np.array([90.0], np.float32), np.array([[5.0]], np.float32))
    assert joined[0] == pytest.approx(-0.5)

"""The out-of-domain distance, by hand."""

import numpy as np
import pytest

from crma_router.classifier.ood import OODDetector, Standard, none_log_odds

LOGITS = np.array([[0.0, 0.0, 0.0], [5.0, 0.0, -5.0]], np.float32)
CLOSENESS = np.array([[0.2, 0.4, 0.9], [0.9, 0.1, 0.0]], np.float32)


def test_log_odds_are_of_the_last_class_against_the_others() -> None:
    assert none_log_odds(LOGITS)[0] == pytest.approx(-np.log(2))
    assert none_log_odds(LOGITS)[1] == pytest.approx(-5 - np.log(np.exp(5) + 1), abs=1e-5)


def test_one_reading_or_the_mean_of_both() -> None:
    odds, unlike = Standard(0.0, 1.0), Standard(0.5, 0.1)
    alone = OODDetector(None, odds, 0.0).distance(LOGITS, CLOSENESS)
    np.testing.assert_allclose(alone, none_log_odds(LOGITS))
    far = OODDetector(unlike, None, 0.0).distance(LOGITS, CLOSENESS)
    np.testing.assert_allclose(far, [(0.1 - 0.5) / 0.1, (0.1 - 0.5) / 0.1], atol=1e-5)
    both = OODDetector(unlike, odds, 0.0).distance(LOGITS, CLOSENESS)
    np.testing.assert_allclose(both[0], (-np.log(2) + (0.6 - 0.5) / 0.1) / 2, atol=1e-5)

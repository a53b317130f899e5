"""From held-out readings to a temperature, a scale and a threshold."""

import numpy as np
import numpy.typing as npt

from crma_router.classifier.domain_classifier import FloatArray, Labels, Standard, softmax

_LOG_TEMPERATURES = np.linspace(np.log(0.05), np.log(20.0), 241)  # 2.5% apart


def fit_temperature(logits: FloatArray, labels: Labels) -> float:
    """The temperature that makes held-out logits (N, C) likeliest, each class weighing the same.

    Guo et al. 2017, arXiv 1706.04599. A grid rather than an optimiser: its answer does not hang on the last
    bits of the logits.
    """
    weights = class_weights(labels)
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        likelihoods = softmax(logits / np.float32(np.exp(log_temperature)))[rows, labels]
        return float(-(weights * np.log(np.maximum(likelihoods, 1e-12))).sum())

    return float(np.exp(min(_LOG_TEMPERATURES, key=loss)))


def standardise(reading: FloatArray) -> Standard:
    """Mean and deviation of held-out readings (N,) inside."""
    return Standard(float(reading.mean()), max(float(reading.std()), 1e-6))


def balanced_quantile(values: FloatArray, labels: Labels, share: float) -> float:
    """The least of `values` (N,) with `share` of the weight at or below it, each class weighing the same."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(class_weights(labels)[order])
    return float(values[order][min(int(np.searchsorted(below, share)), len(values) - 1)])


def class_weights(labels: Labels) -> npt.NDArray[np.float64]:
    """(N,) weights that sum to 1, the same sum for every class present."""
    counts = np.bincount(labels)
    return np.asarray(1.0 / (counts[labels] * np.count_nonzero(counts)))

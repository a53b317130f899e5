"""Two samples of unit vectors: how close one lies to the other, whether they differ, and where one ends."""

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]  # (N, D), rows of unit norm
Floats = npt.NDArray[np.float64]


def closeness(rows: Vectors, reference: Vectors, neighbours: int) -> Floats:
    """(N,) mean cosine of each row's nearest reference rows (Sun et al. 2022, arXiv 2204.06507)."""
    return _nearest(rows @ reference.T, neighbours)


def own_closeness(reference: Vectors, neighbours: int) -> Floats:
    """(N,) the same of each reference row to the others."""
    cosines = reference @ reference.T
    np.fill_diagonal(cosines, -np.inf)
    return _nearest(cosines, min(neighbours, len(reference) - 1))


def permutation_mmd(one: Vectors, other: Vectors, permutations: int, generator: np.random.Generator) -> float:
    """The p-value of the permutation test that both are of one distribution, at least 1 / (permutations + 1).

    Statistic: the squared maximum mean discrepancy, biased, with a Gaussian kernel as wide as the median
    distance (Gretton et al. 2012, JMLR 13, sections 2 and 5).
    """
    kernel = _gaussian(np.concatenate([one, other]))
    chosen = np.arange(len(kernel)) < len(one)
    shuffled = np.array([chosen, *(generator.permutation(chosen) for _ in range(permutations))])
    weights = np.where(shuffled, 1 / len(one), -1 / len(other))
    found = np.einsum("pn,pn->p", weights @ kernel, weights)
    return float((found[1:] >= found[0] - 1e-12).sum() + 1) / (permutations + 1)


def discrepancy(one: Vectors, other: Vectors) -> float:
    """The squared maximum mean discrepancy, unbiased, as a share of the mean spread inside the samples.

    About 0 for samples of one distribution, whatever their sizes; two rows of each at least.
    """
    count = len(one)
    kernel = _gaussian(np.concatenate([one, other]))
    within = [_mean_off_diagonal(part) for part in (kernel[:count, :count], kernel[count:, count:])]
    between = float(kernel[:count, count:].mean())
    inside = sum(within) / 2
    return 2 * (inside - between) / max(1 - inside, 1e-9)


def place_cut(rows: Vectors, fewest: int) -> int:
    """The row at which two segments of at least `fewest` rows differ most by least squares."""
    from ruptures import Binseg

    found: list[int] = (
        Binseg(model="l2", min_size=fewest, jump=1).fit(rows.astype(np.float64)).predict(n_bkps=1)
    )
    return found[0]


def _gaussian(rows: Vectors) -> Floats:
    """(N, N) kernel, as wide as the median distance."""
    squared = np.maximum(2 - 2 * (rows @ rows.T).astype(np.float64), 0)
    kernel: Floats = np.exp(-squared / (np.median(squared[np.triu_indices(len(rows), 1)]) or 1.0))
    return kernel


def _mean_off_diagonal(kernel: Floats) -> float:
    count = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))


def _nearest(cosines: npt.NDArray[np.float32], count: int) -> Floats:
    count = min(count, cosines.shape[1])
    nearest = np.partition(cosines, -count, axis=1)[:, -count:]
    mean: Floats = nearest.mean(axis=1, dtype=np.float64)
    return mean

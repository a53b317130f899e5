"""The best approximation of a matrix by one of low rank, as two factors."""

import torch
from torch import Tensor


def factors(delta: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """A (rank, inputs) and B (outputs, rank) with B A the best approximation of ΔW (outputs, inputs).

    Eckart-Young; the singular values are shared equally between both. Where ΔW has fewer singular values
    than `rank`, the rest is zero.
    """
    left, values, right = torch.linalg.svd(delta, full_matrices=False)
    used = min(rank, len(values))
    root = values[:used].sqrt()
    a, b = delta.new_zeros(rank, delta.shape[1]), delta.new_zeros(delta.shape[0], rank)
    a[:used], b[:, :used] = root[:, None] * right[:used], left[:, :used] * root
    return a, b

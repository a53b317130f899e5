"""The leading left singular vectors of a weight, the same on every machine up to rounding.

Owns: the decomposition and its sign convention. Knows nothing of models.
"""

import torch
from torch import Tensor


@torch.no_grad()
def left_singular_vectors(weight: Tensor, count: int) -> Tensor:
    """The top `count` left singular vectors of `weight` (d, m) as orthonormal columns (d, count), float32.

    From the eigenvectors of W W^T, in float64: machines then differ by less than float32 shows, unless
    singular values coincide. The largest entry of each vector is positive, which settles its sign.
    """
    matrix = weight.double()
    vectors: Tensor = torch.linalg.eigh(matrix @ matrix.mT).eigenvectors
    leading = vectors[:, -count:].flip(-1)
    largest = leading.gather(0, leading.abs().argmax(0, keepdim=True))
    return (leading * torch.where(largest < 0, -1.0, 1.0)).float().contiguous()

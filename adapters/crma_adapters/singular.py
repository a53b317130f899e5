"""The leading left singular vectors of a weight, the same on every machine up to rounding.

Owns: the subspace iteration and its sign convention. Knows nothing of models.
"""

import torch
from torch import Tensor

_OVERSAMPLING = 8
_MAX_ITERATIONS = 200
_TOLERANCE = 1e-7


@torch.no_grad()
def left_singular_vectors(weight: Tensor, count: int) -> Tensor:
    """The top `count` left singular vectors of `weight` (d, m) as orthonormal columns (d, count), float32.

    Block power iteration in float64 from a fixed start: a full decomposition of a 7B model's blocks takes minutes
    and is thrown away but for `count` columns. The largest entry of each vector is positive.
    """
    matrix = weight.double()
    width = min(count + _OVERSAMPLING, matrix.shape[0])
    start = torch.randn(
        matrix.shape[0], width, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    basis = torch.linalg.qr(start.to(matrix.device)).Q
    for _ in range(_MAX_ITERATIONS):
        image = matrix @ (matrix.mT @ basis)
        values, rotation = torch.linalg.eigh(basis.mT @ image)
        residual = (image @ rotation - basis @ rotation * values)[:, -count:].norm(dim=0)
        if (residual <= _TOLERANCE * values[-1].clamp(min=torch.finfo(torch.float64).tiny)).all():
            break
        basis = torch.linalg.qr(image).Q
    leading = (basis @ rotation)[:, -count:].flip(-1)
    largest = leading.gather(0, leading.abs().argmax(0, keepdim=True))
    return (leading * torch.where(largest < 0, -1.0, 1.0)).float().contiguous()

"""The mixing matrices of a saved backbone, measured again in float64, and what their norm leaves open.

Owns: the linear algebra. Knows nothing of logs or of where a backbone comes from.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from crma_adapters.crma.crma import Crma
from crma_adapters.crma.sinkhorn import cap_logits, solve_sinkhorn

FLOAT32_RESOLUTION = 2.0**-23
"""The distance from 1 to the next float32, about 1.2e-7."""


@dataclass(frozen=True)
class MixingErrors:
    """Worst over the matrices: abs(||M||_2 - 1), abs(row sum - 1), abs(column sum - 1)."""

    norm: float
    row: float
    column: float


@dataclass(frozen=True)
class BackboneSpectrum:
    """A backbone, block by block.

    Attributes:
        used: M as the model uses it, float32; exact: the projection in float64 that it was rounded from, None
            in modes without one.
        alphas: the gates, first block to last.
        off_identity: ||M - I||_2 of each block: how far training moved M from where it does nothing.
        branch_norms: spectral norm of alpha U M V, the map that a block adds.
        map_norms: spectral norm of I + alpha U M V, the block's whole map: nothing bounds it in `residual`.
    """

    mode: str
    used: MixingErrors
    exact: MixingErrors | None
    alphas: tuple[float, ...]
    off_identity: tuple[float, ...]
    branch_norms: tuple[float, ...]
    map_norms: tuple[float, ...]


@torch.no_grad()
def backbone_spectrum(crma: Crma) -> BackboneSpectrum:
    """Every figure in float64."""
    solutions = crma.solve()
    blocks = [crma.block(index) for index in range(crma.config.num_layers)]
    solved = [None] * len(blocks) if solutions is None else list(solutions)
    used = torch.stack([b.mixing_matrix(s).double() for b, s in zip(blocks, solved, strict=True)])
    maps = [
        tuple(m.double() for m in block.maps(solution))
        for block, solution in zip(blocks, solved, strict=True)
    ]
    identity = torch.eye(crma.config.rank, dtype=torch.float64)
    return BackboneSpectrum(
        mode=crma.config.mode,
        used=mixing_errors(used),
        exact=None if solutions is None else mixing_errors(solutions),
        alphas=crma.spectral().alphas,
        off_identity=tuple(torch.linalg.matrix_norm(used - identity, ord=2).tolist()),
        branch_norms=tuple(_product_norm(up, down) for down, up in maps),
        map_norms=tuple(identity_plus_norm(up, down) for down, up in maps),
    )


def mixing_errors(mixing: Tensor) -> MixingErrors:
    """Of matrices (k, n, n) float64."""
    return MixingErrors(
        _worst(torch.linalg.matrix_norm(mixing, ord=2)), _worst(mixing.sum(-1)), _worst(mixing.sum(-2))
    )


def untrained_errors(count: int, streams: int, logit_range: float, seed: int = 0) -> MixingErrors:
    """Of `count` projections of random logits that saw no data, rounded to float32 as the model would use
    them.
    """
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(count, streams, streams, dtype=torch.float64, generator=generator)
    return mixing_errors(solve_sinkhorn(cap_logits(logits, logit_range)).float().double())


def identity_plus_norm(up: Tensor, down: Tensor) -> float:
    """||I + B A||_2 of B (d, n) and A (n, d), from matrices of 2n rows instead of d.

    B A maps into the span of B and vanishes off the span of A's rows, so I + B A is the identity on what is
    orthogonal to both; on the span of both it is I + Q^T B A Q for an orthonormal basis Q.
    """
    basis = torch.linalg.qr(torch.cat([up, down.mT], dim=-1)).Q
    inner = torch.eye(basis.shape[-1], dtype=basis.dtype) + (basis.mT @ up) @ (down @ basis)
    within = float(torch.linalg.matrix_norm(inner, ord=2))
    return within if basis.shape[-1] == basis.shape[-2] else max(1.0, within)


def _product_norm(up: Tensor, down: Tensor) -> float:
    """||B A||_2 of B (d, n) and A (n, d)."""
    left, right = torch.linalg.qr(up).R, torch.linalg.qr(down.mT).R
    return float(torch.linalg.matrix_norm(left @ right.mT, ord=2))


def _worst(values: Tensor) -> float:
    return float((values - 1).abs().max())

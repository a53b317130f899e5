"""One block's CRMA: h' = h + U M V h, and its bounded form; the formulas take any number of blocks."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from crma_adapters.crma.config import CrmaConfig
from crma_adapters.crma.sinkhorn import cap_logits, sinkhorn


class CrmaBlock(nn.Module):
    """A constrained residual mixing adapter on one block's output (arXiv 2606.00382 as read in docs/crma.md).

    Parameters, float32, d = hidden size, n = rank: `read` V (n, d), absent in mode `nonexpansive`, where
    V = U^T; `write` U (d, n), there the unconstrained source of U; `logits` (n, n) of the mixing matrix M,
    in mode `free` M itself, in mode `identity` unused and frozen; `log_alpha` (), the gate of form 1, absent
    in form 2, which has none.
    """

    read: nn.Parameter | None
    log_alpha: nn.Parameter | None

    def __init__(self, config: CrmaConfig, directions: Tensor) -> None:
        """`directions` (d, n), orthonormal columns, are where V^T starts, and U where it is not zero: in form
        1 and in mode `nonexpansive`.
        """
        super().__init__()
        self.config = config
        bounded, device = config.mode == "nonexpansive", directions.device
        start = directions.float()
        zero = config.form == 2 and not bounded
        self.write = nn.Parameter(torch.zeros_like(start) if zero else start.clone())
        read = start.mT.clone(memory_format=torch.contiguous_format)
        self.register_parameter("read", None if bounded else nn.Parameter(read))
        self.logits = nn.Parameter(initial_logits(config).to(device), requires_grad=config.mode != "identity")
        gate = None if config.form == 2 else nn.Parameter(torch.tensor(_initial_gate(config), device=device))
        self.register_parameter("log_alpha", gate)

    def mixing_matrix(self, solution: Tensor | None = None) -> Tensor:
        """M (n, n) float32. `solution` is the already solved projection of this block's logits, if known."""
        return mixing_matrices(self.config, self.logits, solution)

    def alpha(self) -> Tensor | None:
        """The gate () float32; None in form 2, which has none."""
        return None if self.log_alpha is None else gates(self.config, self.log_alpha)

    def maps(self, solution: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(A (n, d), B (d, n)) float32 such that the block adds h A^T B^T to h (..., d)."""
        mixing = self.mixing_matrix(solution)
        return linear_maps(self.config, self.read, self.write, mixing, self.alpha())

    def forward(self, hidden: Tensor) -> Tensor:
        """h' of h (..., d), in h's dtype; computed in float32 also under autocast."""
        with torch.autocast(hidden.device.type, enabled=False):
            return apply_maps(hidden, *self.maps())[0]


def apply_maps(hidden: Tensor, down: Tensor, up: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor]:
    """(h', h' - h) of h (..., d) under the maps A (n, d) and B (d, n): the first in h's dtype, the second
    float32. `dropout` drops that share of A h (..., n) at random, as in training.
    """
    exact = hidden.float()
    read = functional.linear(exact, down)
    if dropout:
        read = functional.dropout(read, dropout)
    added = functional.linear(read, up)
    return (exact + added).to(hidden.dtype), added


def mixing_matrices(config: CrmaConfig, logits: Tensor, solution: Tensor | None = None) -> Tensor:
    """M (..., n, n) float32 of logits (..., n, n); `solution` as in `sinkhorn`."""
    if config.mode == "identity":
        return torch.eye(config.rank, device=logits.device).expand_as(logits)
    if config.mode == "free":
        return logits
    capped = cap_logits(logits.double(), config.logit_range)
    return sinkhorn(capped, iterations=config.sinkhorn_iterations, solution=solution)


def gates(config: CrmaConfig, log_alpha: Tensor) -> Tensor:
    """The gates (...) float32: exp(log_alpha).

    In mode `nonexpansive` sigmoid(log_alpha), which stays in [0, 1] and, unlike a clamp, can come back.
    """
    return torch.sigmoid(log_alpha) if config.mode == "nonexpansive" else log_alpha.exp()


def linear_maps(
    config: CrmaConfig, read: Tensor | None, write: Tensor, mixing: Tensor, alpha: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(A (..., n, d), B (..., d, n)) of V (..., n, d), U (..., d, n), M (..., n, n) and any gates (...)."""
    if config.mode == "nonexpansive":
        write = orthonormal_columns(write)
        down = (mixing - torch.eye(config.rank, device=mixing.device)) @ write.mT
    else:
        assert read is not None
        down = mixing @ read
    return down, write if alpha is None else alpha[..., None, None] * write


def orthonormal_columns(source: Tensor) -> Tensor:
    """Orthonormal columns (..., d, n) float32 spanning those of `source`; `source` itself if it has such.

    Householder QR gives orthonormal columns for any finite source, singular ones included; in float64, so
    that rounding leaves room under the bound of 1 + 1e-6 on the map's norm.
    """
    factor, triangle = torch.linalg.qr(source.double())
    signs = torch.where(triangle.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)
    orthonormal: Tensor = (factor * signs.unsqueeze(-2)).float()
    return orthonormal


def initial_logits(config: CrmaConfig) -> Tensor:
    """Where the logits (n, n) of every M start; in mode `free` M itself."""
    logits = config.initial_logit * torch.eye(config.rank)
    if config.mode == "free":
        return sinkhorn(
            cap_logits(logits.double(), config.logit_range), iterations=config.sinkhorn_iterations
        )
    return logits


def _initial_gate(config: CrmaConfig) -> float:
    gate = math.log(config.initial_alpha)
    return gate - math.log1p(-config.initial_alpha) if config.mode == "nonexpansive" else gate

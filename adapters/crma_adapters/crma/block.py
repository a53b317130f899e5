"""One block's CRMA: h' = h + alpha U M V h, and its bounded form.

Owns: the parameters of one block and the linear map they make. The formulas take any number of blocks at
once, stacked in front. Knows nothing of the base model around it.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from crma_adapters.crma.config import CrmaConfig
from crma_adapters.crma.sinkhorn import cap_logits, sinkhorn


class CrmaBlock(nn.Module):
    """A constrained residual mixing adapter on one block's output (arXiv 2606.00382 as read in docs/crma.md).

    Parameters, float32, d = hidden size, n = streams: `read` V (n, d), absent in mode `nonexpansive`, where
    V = U^T; `write` U (d, n), there the unconstrained source of U; `logits` (n, n) of the mixing matrix M,
    in mode `free` M itself, in mode `identity` unused and frozen; `log_alpha` (), the gate (see `alpha`).
    """

    read: nn.Parameter | None

    def __init__(self, config: CrmaConfig, directions: Tensor) -> None:
        """`directions` (d, n), orthonormal columns, are where U and V start."""
        super().__init__()
        self.config = config
        self.write = nn.Parameter(directions.float().clone())
        read = directions.float().mT.clone(memory_format=torch.contiguous_format)
        self.register_parameter("read", None if config.mode == "nonexpansive" else nn.Parameter(read))
        device = directions.device
        self.logits = nn.Parameter(
            _initial_logits(config).to(device), requires_grad=config.mode != "identity"
        )
        self.log_alpha = nn.Parameter(torch.tensor(_initial_gate(config), device=device))

    def mixing_matrix(self, solution: Tensor | None = None) -> Tensor:
        """M (n, n) float32. `solution` is the already solved projection of this block's logits, if known."""
        return mixing_matrices(self.config, self.logits, solution)

    def alpha(self) -> Tensor:
        """The gate () float32."""
        return gates(self.config, self.log_alpha)

    def maps(self, solution: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(A (n, d), B (d, n)) float32 such that the block adds h A^T B^T to h (..., d)."""
        mixing = self.mixing_matrix(solution)
        return linear_maps(self.config, self.read, self.write, mixing, self.alpha())

    def forward(self, hidden: Tensor) -> Tensor:
        """h' of h (..., d), in h's dtype; computed in float32 also under autocast."""
        with torch.autocast(hidden.device.type, enabled=False):
            return apply_maps(hidden, *self.maps())[0]


def apply_maps(hidden: Tensor, down: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """(h', h' - h) of h (..., d) under the maps A (n, d) and B (d, n): the first in h's dtype, the second
    float32.
    """
    exact = hidden.float()
    added = functional.linear(functional.linear(exact, down), up)
    return (exact + added).to(hidden.dtype), added


def mixing_matrices(config: CrmaConfig, logits: Tensor, solution: Tensor | None = None) -> Tensor:
    """M (..., n, n) float32 of logits (..., n, n); `solution` as in `sinkhorn`."""
    if config.mode == "identity":
        return torch.eye(config.streams, device=logits.device).expand_as(logits)
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
    config: CrmaConfig, read: Tensor | None, write: Tensor, mixing: Tensor, alpha: Tensor
) -> tuple[Tensor, Tensor]:
    """(A (..., n, d), B (..., d, n)) of V (..., n, d), U (..., d, n), M (..., n, n) and gates (...)."""
    alpha = alpha[..., None, None]
    if config.mode == "nonexpansive":
        write = orthonormal_columns(write)
        return (mixing - torch.eye(config.streams, device=mixing.device)) @ write.mT, alpha * write
    assert read is not None
    return mixing @ read, alpha * write


def orthonormal_columns(source: Tensor) -> Tensor:
    """Orthonormal columns (..., d, n) float32 spanning those of `source`; `source` itself if it has such.

    Householder QR gives orthonormal columns for any finite source, singular ones included; in float64, so
    that rounding leaves room under the bound of 1 + 1e-6 on the map's norm.
    """
    factor, triangle = torch.linalg.qr(source.double())
    signs = torch.where(triangle.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)
    orthonormal: Tensor = (factor * signs.unsqueeze(-2)).float()
    return orthonormal


def _initial_logits(config: CrmaConfig) -> Tensor:
    logits = config.initial_logit * torch.eye(config.streams)
    if config.mode == "free":
        return sinkhorn(
            cap_logits(logits.double(), config.logit_range), iterations=config.sinkhorn_iterations
        )
    return logits


def _initial_gate(config: CrmaConfig) -> float:
    gate = math.log(config.initial_alpha)
    return gate - math.log1p(-config.initial_alpha) if config.mode == "nonexpansive" else gate

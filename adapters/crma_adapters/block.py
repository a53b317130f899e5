"""One block's CRMA: h' = h + alpha U M V h, and its bounded form.

Owns: the parameters of one block and the linear map they make. Knows nothing of the base model around it.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from crma_adapters.config import CrmaConfig
from crma_adapters.sinkhorn import cap_logits, sinkhorn


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
        if self.config.mode == "identity":
            return torch.eye(self.config.streams, device=self.logits.device)
        if self.config.mode == "free":
            return self.logits
        capped = cap_logits(self.logits.double(), self.config.logit_range)
        return sinkhorn(capped, iterations=self.config.sinkhorn_iterations, solution=solution)

    def alpha(self) -> Tensor:
        """The gate () float32: exp(log_alpha).

        In mode `nonexpansive` sigmoid(log_alpha), which stays in [0, 1] and, unlike a clamp, can come back.
        """
        if self.config.mode == "nonexpansive":
            return torch.sigmoid(self.log_alpha)
        return self.log_alpha.exp()

    def maps(self, solution: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(A (n, d), B (d, n)) float32 such that the block adds h A^T B^T to h (..., d)."""
        mixing = self.mixing_matrix(solution)
        if self.config.mode == "nonexpansive":
            write = orthonormal_columns(self.write)
            return (
                mixing - torch.eye(self.config.streams, device=mixing.device)
            ) @ write.mT, self.alpha() * write
        assert self.read is not None
        return mixing @ self.read, self.alpha() * self.write

    def forward(self, hidden: Tensor, solution: Tensor | None = None) -> Tensor:
        """h' of h (..., d), in h's dtype; computed in float32 also under autocast."""
        with torch.autocast(hidden.device.type, enabled=False):
            down, up = self.maps(solution)
            exact = hidden.float()
            added = functional.linear(functional.linear(exact, down), up)
            return (exact + added).to(hidden.dtype)


def orthonormal_columns(source: Tensor) -> Tensor:
    """Orthonormal columns (d, n) float32 spanning those of `source`; `source` itself where it is orthonormal.

    Householder QR gives orthonormal columns for any finite source, singular ones included; in float64, so
    that rounding leaves room under the bound of 1 + 1e-6 on the map's norm.
    """
    factor, triangle = torch.linalg.qr(source.double())
    signs = torch.where(triangle.diagonal() < 0, -1.0, 1.0)
    orthonormal: Tensor = (factor * signs).float()
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

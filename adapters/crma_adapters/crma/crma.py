"""The CRMA of a whole decoder: one `CrmaBlock` per block.

Owns: building it from a base model, its parameter groups, and what is logged of it. It reads the base model's
weights once and never changes them. Knows nothing of training loops or files.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from crma_adapters.crma.block import CrmaBlock, gates, linear_maps, mixing_matrices
from crma_adapters.crma.config import CrmaConfig, Mode
from crma_adapters.crma.decoder import decoder_layers, down_projection
from crma_adapters.crma.singular import left_singular_vectors
from crma_adapters.crma.sinkhorn import cap_logits, solve_sinkhorn

__all__ = ["Crma", "CrmaBlock", "SpectralLog"]


@dataclass(frozen=True)
class SpectralLog:
    """What is logged of the mixing matrices at a step. For doubly stochastic M the first three say only that
    the projection converged, nothing about forgetting."""

    max_norm_error: float
    """Largest | ||M||_2 - 1 | over the blocks."""
    max_row_error: float
    """Largest | row sum of M - 1 | over rows and blocks."""
    max_column_error: float
    """Largest | column sum of M - 1 | over columns and blocks."""
    alphas: tuple[float, ...]
    """The gate of each block, first to last."""


class Crma(nn.Module):
    """The CRMA of one decoder. `attach` makes a model use it."""

    def __init__(self, config: CrmaConfig, directions: list[Tensor]) -> None:
        """`directions`: one (d, n) matrix of orthonormal columns per block."""
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(CrmaBlock(config, start) for start in directions)
        self._solved: tuple[Tensor, Tensor] | None = None

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        *,
        mode: Mode = CrmaConfig.mode,
        streams: int = CrmaConfig.streams,
        initial_alpha: float = CrmaConfig.initial_alpha,
    ) -> Self:
        """A near-identity CRMA for `model`, on the devices of its blocks.

        U and V start at the top left singular vectors of each block's down projection: the directions the
        block itself writes most. Raises `BaseModelError` for an unsupported model, `ConfigError` for bad
        values.
        """
        weights = [down_projection(layer) for layer in decoder_layers(model)]
        config = CrmaConfig(
            weights[0].shape[0], len(weights), streams=streams, mode=mode, initial_alpha=initial_alpha
        )
        return cls(config, [left_singular_vectors(weight, streams) for weight in weights])

    def block(self, index: int) -> CrmaBlock:
        """The CRMA of block `index`."""
        block = self.blocks[index]
        assert isinstance(block, CrmaBlock)
        return block

    @torch.no_grad()
    def solve(self) -> Tensor | None:
        """Every block's projection (layers, n, n) float64, solved in one batch; None in modes without.

        Solved again only when a logit has changed: a step asks for it up to three times.
        """
        if self.config.mode in ("identity", "free"):
            return None
        logits = self._stacked("logits")
        if self._solved is None or not torch.equal(self._solved[0], logits):
            capped = cap_logits(logits.double(), self.config.logit_range)
            self._solved = logits, solve_sinkhorn(capped, iterations=self.config.sinkhorn_iterations)
        return self._solved[1]

    def mixing(self) -> Tensor:
        """Every block's M (layers, n, n) float32, one autograd node for all of them."""
        return mixing_matrices(self.config, self._stacked("logits"), self.solve())

    def maps(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Every block's `CrmaBlock.maps`, made together: a few operations instead of as many per block."""
        read = None if self.config.mode == "nonexpansive" else self._stacked("read")
        alpha = gates(self.config, self._stacked("log_alpha"))
        down, up = linear_maps(self.config, read, self._stacked("write"), self.mixing(), alpha)
        return tuple(zip(down.unbind(), up.unbind(), strict=True))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trainable parameters by kind: "projections" (U and V), "logits" and "alpha"."""
        kinds = {"projections": ("read", "write"), "logits": ("logits",), "alpha": ("log_alpha",)}
        return {
            kind: [
                parameter
                for name, parameter in self.named_parameters()
                if name.rpartition(".")[2] in names and parameter.requires_grad
            ]
            for kind, names in kinds.items()
        }

    @torch.no_grad()
    def spectral(self) -> SpectralLog:
        """Measure the mixing matrices as they are used, in float64."""
        mixing = self.mixing().double().cpu()
        return SpectralLog(
            max_norm_error=_worst(torch.linalg.matrix_norm(mixing, ord=2)),
            max_row_error=_worst(mixing.sum(-1)),
            max_column_error=_worst(mixing.sum(-2)),
            alphas=tuple(gates(self.config, self._stacked("log_alpha")).tolist()),
        )

    def _stacked(self, name: str) -> Tensor:
        """One parameter of every block (layers, ...), where the first block is."""
        device = self.block(0).logits.device
        return torch.stack([self.block(i).get_parameter(name).to(device) for i in range(len(self.blocks))])


def _worst(values: Tensor) -> float:
    return float((values - 1).abs().max())

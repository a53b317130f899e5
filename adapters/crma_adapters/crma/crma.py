"""The CRMA of a whole decoder: one `CrmaBlock` per block, its parameter groups, and what is logged of it."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from crma_adapters.crma.block import CrmaBlock, gates, initial_logits, linear_maps, mixing_matrices
from crma_adapters.crma.config import CrmaConfig, Mode
from crma_adapters.crma.decoder import decoder_layers, hidden_size
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
    """The gate of each block, first to last; 1 in form 2, which has none."""


class Crma(nn.Module):
    """The CRMA of one decoder. `attach` makes a model use it."""

    dropout: float = 0.0
    """Share of V h dropped in training; a setting of the training run, not saved."""

    def __init__(self, config: CrmaConfig, directions: list[Tensor]) -> None:
        """`directions`: one (d, n) matrix of orthonormal columns per block."""
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(CrmaBlock(config, start) for start in directions)
        self._solved: tuple[Tensor, Tensor] | None = None

    @classmethod
    def from_model(
        cls, model: nn.Module, *, mode: Mode = CrmaConfig.mode, rank: int = CrmaConfig.rank, seed: int = 0
    ) -> Self:
        """A CRMA of form 2 for `model`, on the devices of its blocks, that changes nothing yet: U = 0.

        V is orthonormal, drawn per block from `seed`; in mode `nonexpansive` it is U that is drawn, and the
        map starts within 7 % of the identity on U's span. Raises `BaseModelError` for an unsupported model,
        `ConfigError` for bad values.
        """
        layers = decoder_layers(model)
        config = CrmaConfig(hidden_size(layers[0]), len(layers), rank=rank, mode=mode)
        generator = torch.Generator().manual_seed(seed)
        drawn = (torch.randn(config.hidden_size, rank, generator=generator) for _ in layers)
        starts = [
            torch.linalg.qr(matrix).Q.to(next(layer.parameters()).device)
            for matrix, layer in zip(drawn, layers, strict=True)
        ]
        return cls(config, starts)

    @classmethod
    def empty(cls, config: CrmaConfig) -> Self:
        """A CRMA of that shape whose parameters are to be loaded."""
        return cls(config, [torch.zeros(config.hidden_size, config.rank)] * config.num_layers)

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
        alpha = None if self.config.form == 2 else gates(self.config, self._stacked("log_alpha"))
        down, up = linear_maps(self.config, read, self._stacked("write"), self.mixing(), alpha)
        return tuple(zip(down.unbind(), up.unbind(), strict=True))

    def unfreeze(self) -> None:
        """Let it train: PEFT, asked for a LoRA, freezes whatever else the model holds."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(self.config.mode != "identity" or not name.endswith("logits"))

    @torch.no_grad()
    def restart_logits(self) -> None:
        """Puts M back to where every M starts."""
        for index in range(len(self.blocks)):
            self.block(index).logits.copy_(initial_logits(self.config))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trainable parameters by kind: "projections" (U and V), "logits" and, in form 1, "alpha"."""
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
        alphas = [1.0] * len(self.blocks)
        if self.config.form == 1:
            alphas = gates(self.config, self._stacked("log_alpha")).tolist()
        return SpectralLog(
            max_norm_error=_worst(torch.linalg.matrix_norm(mixing, ord=2)),
            max_row_error=_worst(mixing.sum(-1)),
            max_column_error=_worst(mixing.sum(-2)),
            alphas=tuple(alphas),
        )

    def _stacked(self, name: str) -> Tensor:
        """One parameter of every block (layers, ...), where the first block is."""
        device = self.block(0).logits.device
        return torch.stack([self.block(i).get_parameter(name).to(device) for i in range(len(self.blocks))])


def _worst(values: Tensor) -> float:
    return float((values - 1).abs().max())

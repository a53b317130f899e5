"""Makes a transformers model run through one CRMA or several side by side, and undoes it."""

from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from crma_adapters.crma.block import apply_maps
from crma_adapters.crma.crma import Crma
from crma_adapters.crma.decoder import decoder, decoder_layers, hidden_size, is_checkpointed
from crma_adapters.errors import ConfigError, IncompatibleError

__all__ = ["Attachment", "attach", "decoder_layers"]

SUBMODULE = "crma"
"""The decoder's submodule that holds what is attached: optimizers, DDP, FSDP and checkpoints see it."""


def attach(model: nn.Module, *crmas: Crma) -> "Attachment":
    """Let every block's output h of `model` become h + sum of U M V h over `crmas`, until detached.

    All read the same h: a domain's mixer and its backbone stand side by side, as their ranks do in a bundle.
    Moves each to the devices of the model's blocks. Raises `BaseModelError` for an unsupported model,
    `IncompatibleError` for a CRMA of other sizes, `ConfigError` if none is given or one is attached already.
    """
    if not crmas:
        raise ConfigError("no CRMA was given to attach; give one or more")
    layers = decoder_layers(model)
    expected = (len(layers), hidden_size(layers[0]))
    for crma in crmas:
        given = (crma.config.num_layers, crma.config.hidden_size)
        if given != expected:
            raise IncompatibleError(
                f"a CRMA of {given[0]} blocks of size {given[1]} does not fit a model of {expected[0]} "
                f"blocks of size {expected[1]}; use the CRMA trained on this base model"
            )
    if hasattr(decoder(model), SUBMODULE):
        raise ConfigError("this model has a CRMA attached already; detach it first")
    return Attachment(model, crmas)


class Attachment:
    """CRMAs in use by a model; also a context manager that detaches at its end.

    `enabled` switches them off and on without detaching. With `record_updates` each forward pass records the
    mean of ||dh|| / ||h|| over tokens and blocks, read from `update_ratio`. `crma` is the first of them.
    """

    def __init__(self, model: nn.Module, crmas: tuple[Crma, ...]) -> None:
        self.crmas = crmas
        self.enabled = True
        self.record_updates = False
        self._maps: tuple[tuple[Tensor, Tensor], ...] | None = None
        self._ratios: dict[int, Tensor] = {}
        self._decoder = decoder(model)
        self._handles: list[RemovableHandle] = [self._decoder.register_forward_pre_hook(self._prepare)]
        for index, layer in enumerate(decoder_layers(model)):
            for crma in crmas:
                crma.block(index).to(next(layer.parameters()).device)
            self._handles.append(layer.register_forward_hook(_BlockHook(self, index)))
        self._decoder.add_module(SUBMODULE, nn.ModuleList(crmas))

    @property
    def crma(self) -> Crma:
        """The first CRMA: the one that trains, where one of several does."""
        return self.crmas[0]

    @property
    def dropout(self) -> float:
        """Share of V h that is dropped now: only in training."""
        return self.crma.dropout if self.crma.training else 0.0

    @property
    def update_ratio(self) -> float | None:
        """Mean ||dh|| / ||h|| of the last forward pass with `record_updates`; None before the first."""
        if not self._ratios:
            return None
        return float(torch.stack([ratio.cpu() for ratio in self._ratios.values()]).mean())

    def detach(self) -> None:
        """Remove every hook and the submodule. May be called twice."""
        while self._handles:
            self._handles.pop().remove()
        if hasattr(self._decoder, SUBMODULE):
            delattr(self._decoder, SUBMODULE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def maps(self, index: int, layer: nn.Module) -> tuple[Tensor, Tensor]:
        """What block `index` applies now. Made for all blocks at the beginning of the forward pass.

        A checkpointed layer gets its own, made anew: it runs again in the backward pass, where (reentrant)
        each layer goes backward through a graph by itself, and one shared by all would be gone after the
        first.
        """
        if self._maps is not None and not is_checkpointed(layer):
            return self._maps[index]
        made = []
        for crma in self.crmas:
            solutions = crma.solve()
            made.append(crma.block(index).maps(None if solutions is None else solutions[index]))
        return side_by_side(made)

    def record(self, index: int, hidden: Tensor, added: Tensor) -> None:
        """Keep the mean ||dh|| / ||h|| of block `index`, without waiting for the device."""
        with torch.no_grad():
            size = hidden.float().norm(dim=-1).clamp(min=1e-30)
            self._ratios[index] = (added.norm(dim=-1) / size).mean()

    def _prepare(self, _module: nn.Module, _args: Any) -> None:
        if not self.enabled:
            self._maps = None
            return
        with torch.autocast(self.crma.block(0).logits.device.type, enabled=False):
            every = [crma.maps() for crma in self.crmas]
            self._maps = tuple(side_by_side(list(maps)) for maps in zip(*every, strict=True))


def side_by_side(maps: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """One (A (sum of n, d), B (d, sum of n)) that adds what the given (A (n, d), B (d, n)) add together."""
    if len(maps) == 1:
        return maps[0]
    return torch.cat([down for down, _ in maps]), torch.cat([up for _, up in maps], dim=1)


class _BlockHook:
    """Applies the maps to its layer's output: a tensor (transformers 5) or a tuple starting with it."""

    def __init__(self, attachment: Attachment, index: int) -> None:
        self._attachment, self._index = attachment, index

    def __call__(self, layer: nn.Module, _args: Any, output: Any) -> Any:
        attachment = self._attachment
        if not attachment.enabled:
            return None
        hidden = output[0] if isinstance(output, tuple) else output
        with torch.autocast(hidden.device.type, enabled=False):
            down, up = (part.to(hidden.device) for part in attachment.maps(self._index, layer))
            mixed, added = apply_maps(hidden, down, up, attachment.dropout)
        if attachment.record_updates:
            attachment.record(self._index, hidden, added)
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

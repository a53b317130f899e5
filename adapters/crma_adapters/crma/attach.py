"""Makes a transformers model run through a CRMA, and undoes it.

Owns: the forward hooks. Nothing in the model is replaced or changed, so `detach` leaves it as it was.
"""

from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from crma_adapters.crma.block import apply_maps
from crma_adapters.crma.crma import Crma
from crma_adapters.crma.decoder import decoder, decoder_layers, is_checkpointed
from crma_adapters.errors import ConfigError, IncompatibleError

__all__ = ["Attachment", "attach", "decoder_layers"]


def attach(model: nn.Module, crma: Crma) -> "Attachment":
    """Let every block's output of `model` pass through its block of `crma` until detached.

    Moves `crma` to the devices of the model's blocks. Raises `BaseModelError` for an unsupported model,
    `IncompatibleError` for a CRMA of other sizes, `ConfigError` if the model has one attached already.
    """
    layers = decoder_layers(model)
    config = crma.config
    expected = (len(layers), _hidden_size(layers[0]))
    if (config.num_layers, config.hidden_size) != expected:
        raise IncompatibleError(
            f"a CRMA of {config.num_layers} blocks of size {config.hidden_size} does not fit a model of "
            f"{expected[0]} blocks of size {expected[1]}; use the CRMA trained on this base model"
        )
    if any(isinstance(hook, _BlockHook) for hook in layers[0]._forward_hooks.values()):
        raise ConfigError("this model has a CRMA attached already; detach it first")
    return Attachment(model, crma)


class Attachment:
    """A CRMA in use by a model; also a context manager that detaches at its end.

    `enabled` switches it off and on without detaching. With `record_updates` each forward pass records the
    mean of ||dh|| / ||h|| over tokens and blocks, read from `update_ratio`.
    """

    def __init__(self, model: nn.Module, crma: Crma) -> None:
        self.crma = crma
        self.enabled = True
        self.record_updates = False
        self._maps: tuple[tuple[Tensor, Tensor], ...] | None = None
        self._ratios: dict[int, Tensor] = {}
        self._handles: list[RemovableHandle] = [decoder(model).register_forward_pre_hook(self._prepare)]
        for index, layer in enumerate(decoder_layers(model)):
            crma.block(index).to(next(layer.parameters()).device)
            self._handles.append(layer.register_forward_hook(_BlockHook(self, index)))

    @property
    def update_ratio(self) -> float | None:
        """Mean ||dh|| / ||h|| of the last forward pass with `record_updates`; None before the first."""
        if not self._ratios:
            return None
        return float(torch.stack([ratio.cpu() for ratio in self._ratios.values()]).mean())

    def detach(self) -> None:
        """Remove every hook. May be called twice."""
        while self._handles:
            self._handles.pop().remove()

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
        solutions = self.crma.solve()
        return self.crma.block(index).maps(None if solutions is None else solutions[index])

    def record(self, index: int, hidden: Tensor, added: Tensor) -> None:
        """Keep the mean ||dh|| / ||h|| of block `index`, without waiting for the device."""
        with torch.no_grad():
            size = hidden.float().norm(dim=-1).clamp(min=1e-30)
            self._ratios[index] = (added.norm(dim=-1) / size).mean()

    def _prepare(self, _module: nn.Module, _args: Any) -> None:
        with torch.autocast(self.crma.block(0).logits.device.type, enabled=False):
            self._maps = self.crma.maps() if self.enabled else None


class _BlockHook:
    """Applies a block's CRMA to its layer's output: a tensor (transformers 5) or a tuple starting with it."""

    def __init__(self, attachment: Attachment, index: int) -> None:
        self._attachment, self._index = attachment, index

    def __call__(self, layer: nn.Module, _args: Any, output: Any) -> Any:
        attachment = self._attachment
        if not attachment.enabled:
            return None
        hidden = output[0] if isinstance(output, tuple) else output
        with torch.autocast(hidden.device.type, enabled=False):
            down, up = (part.to(hidden.device) for part in attachment.maps(self._index, layer))
            mixed, added = apply_maps(hidden, down, up)
        if attachment.record_updates:
            attachment.record(self._index, hidden, added)
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed


def _hidden_size(layer: nn.Module) -> int:
    return int(layer.get_submodule("input_layernorm").weight.shape[0])  # type: ignore[index]

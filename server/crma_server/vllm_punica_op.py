"""The CPU kernel as one operator of PyTorch, so that `torch.compile` takes it whole.

A traced graph outlives the step it was traced in, while which rows use which adapter changes from step to
step: the graph holds a call of this operator, and the wrapper looks the rows up when it is made.

Owns: the operator, its fake, and the numbers by which a graph names wrappers.
"""

from itertools import count
from typing import Any, Protocol
from weakref import WeakValueDictionary

import torch


class Wrapper(Protocol):
    """What the operator calls."""

    def add_lora_now(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: list[torch.Tensor],
        lora_b_stacked: list[torch.Tensor],
        scale: float,
        output_slices: list[int],
    ) -> None: ...


_wrappers: WeakValueDictionary[int, Any] = WeakValueDictionary()
_numbers = count()


def number_of(wrapper: Wrapper) -> int:
    """A number under which the operator finds the wrapper, as long as that lives."""
    number = next(_numbers)
    _wrappers[number] = wrapper
    return number


@torch.library.custom_op("crma::add_lora_linear", mutates_args=("y",))
def add_lora_linear(
    y: torch.Tensor,
    x: torch.Tensor,
    lora_a_stacked: list[torch.Tensor],
    lora_b_stacked: list[torch.Tensor],
    scale: float,
    output_slices: list[int],
    wrapper: int,
) -> None:
    """y (T, out) += scale * x (T, in) @ A^T @ B^T, as `GroupedPunicaWrapper.add_lora_linear`."""
    _wrappers[wrapper].add_lora_now(y, x, lora_a_stacked, lora_b_stacked, scale, output_slices)


@add_lora_linear.register_fake
def _(
    y: torch.Tensor,
    x: torch.Tensor,
    lora_a_stacked: list[torch.Tensor],
    lora_b_stacked: list[torch.Tensor],
    scale: float,
    output_slices: list[int],
    wrapper: int,
) -> None:
    """Nothing comes back and no shape changes."""

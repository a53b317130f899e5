"""The CPU kernel as operators of PyTorch, so that `torch.compile` takes it whole.

A traced graph outlives the step it was traced in, while which rows use which adapter changes from step to
step: the graph holds a call of an operator, and the wrapper looks the rows up when it is made. A graph calls
an operator for every module of every layer, so they take as little as tells the module: `b`, its first
stacked B, by whose address the wrapper knows it. They are defined by hand, since `torch.library.custom_op`
takes longer for a call than the kernel does for a row.

Owns: the operators, their fakes, and the numbers by which a graph names wrappers.
"""

from itertools import count
from typing import Any, Protocol
from weakref import WeakValueDictionary

import torch


class Wrapper(Protocol):
    """What the operators call."""

    def add_known(self, y: torch.Tensor, x: torch.Tensor, b: torch.Tensor) -> None: ...

    def add_lora_embedding(self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor) -> None: ...


_wrappers: WeakValueDictionary[int, Any] = WeakValueDictionary()
_numbers = count()


def number_of(wrapper: Wrapper) -> int:
    """A number under which the operators find the wrapper, as long as that lives."""
    number = next(_numbers)
    _wrappers[number] = wrapper
    return number


def _add_lora_linear(y: torch.Tensor, x: torch.Tensor, b: torch.Tensor, wrapper: int) -> None:
    """y (T, out) += x (T, in) @ A^T @ B^T, as `GroupedPunicaWrapper.add_lora_linear` with a scale of 1."""
    _wrappers[wrapper].add_known(y, x, b)


def _add_lora_embedding(y: torch.Tensor, x: torch.Tensor, b: torch.Tensor, wrapper: int) -> None:
    """y (T, d) += x (T, rank) @ B^T, as `GroupedPunicaWrapper.add_lora_embedding`."""
    _wrappers[wrapper].add_lora_embedding(y, x, b)


def _nothing(y: torch.Tensor, x: torch.Tensor, b: torch.Tensor, wrapper: int) -> None:
    """The fake of both: nothing comes back and no shape changes."""


# The operators live as long as this.
_torch_library: Any = torch.library
_library = _torch_library.Library("crma", "FRAGMENT")
for _name, _function in (("add_lora_linear", _add_lora_linear), ("add_lora_embedding", _add_lora_embedding)):
    _library.define(f"{_name}(Tensor(a!) y, Tensor x, Tensor b, int wrapper) -> ()")
    _library.impl(_name, _function, "CPU")
    torch.library.register_fake(f"crma::{_name}", _nothing, lib=_library)

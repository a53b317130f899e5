"""Compiling the model on a CPU with LoRA on: the kernel as operators that `torch.compile` takes whole, and
undoing vLLM's ban, where it is asked for (it takes minutes).

A traced graph outlives the step it was traced in, while which rows use which adapter changes from step to
step: the graph holds a call of an operator, and the wrapper looks the rows up when it is made. A graph calls
an operator for every module of every layer, so they take as little as tells the module: `b`, its first
stacked B, by whose address the wrapper knows it. They are defined by hand, since `torch.library.custom_op`
takes longer for a call than the kernel does for a row.
"""

import os
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


VARIABLE = "CRMA_CPU_COMPILE"
# vLLM 0.32 keeps a whole compiled model but cannot load it again on a CPU (no attribute 'finalize_loading');
# without that it takes the parts that inductor keeps, in a third of the time.
ENVIRONMENT = {VARIABLE: "1", "VLLM_USE_AOT_COMPILE": "0"}


def ask_for_compiling() -> None:
    """Have the engines that this process starts compile their models, in every process of theirs."""
    os.environ.update(ENVIRONMENT | os.environ)


def allow_compiling(platform: Any) -> None:
    """Let vLLM's CPU platform class compile with LoRA where that is asked for. Idempotent.

    `--enforce-eager` still holds: the platform is asked what it would do without LoRA.
    """
    update: Any = platform.check_and_update_config.__func__
    if hasattr(update, "compiles_lora"):
        return

    def check_and_update_config(cls: Any, vllm_config: Any) -> None:
        lora_config = vllm_config.lora_config
        if lora_config is None or os.environ.get(VARIABLE) != "1":
            update(cls, vllm_config)
            return
        vllm_config.lora_config = None
        try:
            update(cls, vllm_config)
        finally:
            vllm_config.lora_config = lora_config

    check_and_update_config.compiles_lora = True  # type: ignore[attr-defined]
    platform.check_and_update_config = classmethod(check_and_update_config)

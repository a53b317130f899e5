"""The CPU engine's multi-LoRA kernel: a few matrix products per module, whatever the number of adapters.

vLLM 0.32's own (`PunicaWrapperCPU`) looks each token's adapter up by slot index, and a token without one has
index -1: once every slot is taken, base requests are served with the last slot's adapter. It also copies a
whole adapter per token. Here rows are laid out by slot once per step, rows without a slot are never touched,
and a module that no adapter of the step targets costs nothing. LoRA layers are known only by the stacked
tensors they pass: A (slots, 1, rank, in) and B (slots, 1, out, rank), one pair per output slice.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import linear
from vllm.lora.model_manager import LoRAModelManager
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

from crma_server.engine.vllm.cpu import native, products
from crma_server.engine.vllm.cpu.compile import number_of
from crma_server.engine.vllm.cpu.native import lora_slots_of, native_kernel
from crma_server.engine.vllm.cpu.products import NO_SLOT, StepRows
from crma_server.engine.vllm.cpu.weights import ModuleWeights, WeightsByModule, report_activations


class GroupedPunicaWrapper(PunicaWrapperCPU):  # type: ignore[misc]
    """Adds to y, in place, what the adapters of a step's rows add; all products are in float32.

    float32 whatever the weights: as accurate as vLLM's GPU kernels, and on CPUs without bfloat16 instructions
    up to 20 times as fast as bfloat16 products this narrow.
    """

    def __init__(
        self, max_num_batched_tokens: int, max_batches: int, device: torch.device | str, **kwargs: Any
    ) -> None:
        super().__init__(max_num_batched_tokens, max_batches, device, **kwargs)
        kernel = native_kernel()
        if kernel is None:
            self._add_products, self.weights = products.add_products, WeightsByModule()
        else:
            self._add_products = partial(native.add_products, kernel)
            self.weights = WeightsByModule(partial(lora_slots_of, kernel))
        self.tokens = self.sampled = StepRows(np.empty(0, dtype=np.int64))
        self.number = number_of(self)
        self._token_lora_indices.fill_(NO_SLOT)
        report_activations(LoRAModelManager)

    def update_metadata(
        self, mapping: Any, lora_index_to_id: list[int | None], max_loras: int, vocab_size: int, **_: Any
    ) -> None:
        """Called by vLLM whenever a step's requests, or the slots of their adapters, change."""
        self._update_base_metadata(mapping, lora_index_to_id, max_loras, vocab_size)
        self.tokens = StepRows(self.token_lora_indices.numpy().copy())
        self.sampled = StepRows(self.sampler_indices.numpy().copy())

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: Sequence[torch.Tensor],
        lora_b_stacked: Sequence[torch.Tensor],
        scale: float,
        output_slices: Sequence[int],
        **_: Any,
    ) -> None:
        """y (T, sum of slices) += scale * x (T, in) @ A^T @ B^T, each row with its own slot's A and B."""
        if torch.compiler.is_compiling():
            if scale != 1:
                raise NotImplementedError(f"scale {scale} in a compiled graph; vLLM passes 1")
            torch.ops.crma.add_lora_linear(y, x, lora_b_stacked[0], self.number)
        elif self.tokens.in_use:
            weights = self.weights.of(lora_a_stacked, lora_b_stacked, output_slices)
            self._add(weights, self._tokens(x), y, x, scale)

    def add_known(self, y: torch.Tensor, x: torch.Tensor, b: torch.Tensor) -> None:
        """`add_lora_linear` of a compiled graph, for the present step; `b` is the module's first stacked B.

        A module that no adapter was ever written into adds nothing.
        """
        if self.tokens.in_use and (weights := self.weights.known(b)) is not None:
            self._add(weights, self._tokens(x), y, x, 1.0)

    def _add(
        self, weights: ModuleWeights, rows: StepRows, y: torch.Tensor, x: torch.Tensor, scale: float
    ) -> None:
        if rows.in_use & weights.targeting:
            self._add_products(weights, rows, y, x, scale)

    def touches(
        self,
        lora_a_stacked: Sequence[torch.Tensor],
        lora_b_stacked: Sequence[torch.Tensor],
        output_slices: Sequence[int],
    ) -> bool:
        """Whether any row of the present step has an adapter that targets the module."""
        in_use = self.tokens.in_use
        if not in_use:
            return False
        return bool(in_use & self.weights.of(lora_a_stacked, lora_b_stacked, output_slices).targeting)

    def add_lora_logits(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        scale: float,
        **_: Any,
    ) -> None:
        """y (N, vocab) += scale * x (N, d) @ A^T @ B^T, over the rows whose logits are computed."""
        if not self.tokens.in_use:
            return
        weights = self.weights.of((lora_a_stacked,), (lora_b_stacked,), (y.size(-1),))
        self._add(weights, self._logits_rows(x), y, x, scale)

    def add_lora_embedding(
        self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, **_: Any
    ) -> None:
        """y (T, d) += x (T, rank) @ B^T; x is what the embedding layer itself looked up in A."""
        if torch.compiler.is_compiling():
            torch.ops.crma.add_lora_embedding(y, x, lora_b_stacked, self.number)
            return
        self.add_expand(y, (x,), (lora_b_stacked,), (y.size(-1),))

    def add_shrink(
        self,
        y: Sequence[torch.Tensor],
        x: torch.Tensor,
        lora_a_stacked: Sequence[torch.Tensor],
        scale: float,
        **_: Any,
    ) -> None:
        """y[i] (T, rank) += scale * x (T, in) @ A_i^T. Called by fully sharded LoRA layers only."""
        for slot, rows in self._tokens(x).by_slot():
            for out, stacked_a in zip(y, lora_a_stacked, strict=True):
                out[rows] += (scale * linear(x[rows].float(), stacked_a[slot, 0].float())).to(out.dtype)

    def add_expand(
        self,
        y: torch.Tensor,
        x: Sequence[torch.Tensor],
        lora_b_stacked: Sequence[torch.Tensor],
        output_slices: Sequence[int],
        offset_start: int = 0,
        **_: Any,
    ) -> None:
        """y (T, out) += x[i] (T, rank) @ B_i^T, slice by slice from column `offset_start` on."""
        for slot, rows in self._tokens(y).by_slot():
            first = offset_start
            for shrunk, stacked_b, size in zip(x, lora_b_stacked, output_slices, strict=True):
                added = linear(shrunk[rows].float(), stacked_b[slot, 0].float())
                y[rows, first : first + size] += added.to(y.dtype)
                first += size

    def _tokens(self, x: torch.Tensor) -> StepRows:
        if self.tokens.in_use and x.size(0) < self.tokens.count:
            raise RuntimeError(
                f"LoRA got {x.size(0)} rows in a step of {self.tokens.count} tokens; expected a "
                "row for every token: which adapter is whose cannot be told otherwise"
            )
        return self.tokens

    def _logits_rows(self, x: torch.Tensor) -> StepRows:
        """Rows to sample from are gathered into a tensor of their own, in the order of the sampler's indices.

        Prompt log-probabilities instead pass a slice of the step's hidden states, all of one request: its
        place in them says whose. vLLM 0.32's own kernel takes these rows for sampled ones and crashes.
        """
        is_slice = x.untyped_storage().nbytes() != x.numel() * x.element_size()
        if not is_slice and x.size(0) == self.sampled.count:
            return self.sampled
        slot = int(self.token_lora_indices[x.storage_offset() // x.stride(0)])
        return StepRows(np.full(x.size(0), slot, dtype=np.int64))

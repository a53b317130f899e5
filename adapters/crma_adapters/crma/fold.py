"""The CRMA of a block as the two factors of a LoRA on the residual stream.

Owns: the fold, for serving: once trained, M is constant and the block's addition is one rank-n linear map.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from crma_adapters.crma.block import CrmaBlock


@dataclass(frozen=True)
class Fold:
    """A (n, d) and B (d, n), float32 on the CPU: the block adds h A^T B^T to h (..., d). Scaling is in B."""

    a: Tensor
    b: Tensor


@torch.no_grad()
def fold(block: CrmaBlock) -> Fold:
    """The factors of `block` as it stands; training it further does not change them."""
    down, up = block.maps()
    # Safetensors stores row-major tensors only, and a QR factor is not one.
    return Fold(*(factor.cpu().clone(memory_format=torch.contiguous_format) for factor in (down, up)))

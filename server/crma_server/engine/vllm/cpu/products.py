"""y += scale * x A^T B^T, each row with its own slot's A and B, with PyTorch's own operators.

Owns: the arithmetic of a module's packed weights and a plan of rows. All products are in float32; what they
add is rounded to y's dtype first, so that a request's neighbours do not change it. Where the machine has a
compiler, `native` does the same in one call.
"""

from collections.abc import Sequence

import torch

from crma_server.engine.vllm.cpu.slots import Batch, Run, StepRows, plan_rows
from crma_server.engine.vllm.cpu.weights import ModuleWeights


def add_products(
    weights: ModuleWeights, rows: StepRows, y: torch.Tensor, x: torch.Tensor, scale: float
) -> None:
    """Add to y (T, out), in place, what the rows of x (T, in) give. Those without a slot are not touched."""
    plan = rows.lay_out(weights.targeting, plan_rows)
    outputs = weights.outputs(y)
    for run in plan.runs:
        _add_run(weights, run, outputs, x, scale)
    for batch in plan.batches:
        _add_batch(weights, batch, outputs, x, scale)


def _add_run(
    weights: ModuleWeights, run: Run, outputs: Sequence[torch.Tensor], x: torch.Tensor, scale: float
) -> None:
    if run.count != x.size(0):
        x = x.narrow(0, run.first, run.count)
        outputs = [output.narrow(0, run.first, run.count) for output in outputs]
    shrunk = _parts(torch.mm(x.float(), weights.a_of[run.slot]), weights.ranks, 1)
    for output, part, b in zip(outputs, shrunk, weights.b_of[run.slot], strict=True):
        if output.dtype is torch.float32:
            output.addmm_(part, b, alpha=scale)
        else:
            output.add_(torch.mm(part, b).mul_(scale).to(output.dtype))


def _add_batch(
    weights: ModuleWeights, batch: Batch, outputs: Sequence[torch.Tensor], x: torch.Tensor, scale: float
) -> None:
    rows = x.index_select(0, batch.rows).float().view(batch.slots, -1, x.size(1))
    shrunk = torch.bmm(rows, weights.a.narrow(0, batch.first_slot, batch.slots))
    if batch.padding is not None:
        shrunk.masked_fill_(batch.padding, 0)
    if scale != 1:
        shrunk.mul_(scale)
    for output, part, b in zip(outputs, _parts(shrunk, weights.ranks, 2), weights.b, strict=True):
        added = torch.bmm(part, b.narrow(0, batch.first_slot, batch.slots))
        output.index_add_(0, batch.rows, added.view(-1, output.size(1)).to(output.dtype))


def _parts(shrunk: torch.Tensor, ranks: list[int], dim: int) -> Sequence[torch.Tensor]:
    """x A^T of each slice."""
    return shrunk.split_with_sizes(ranks, dim) if len(ranks) > 1 else (shrunk,)

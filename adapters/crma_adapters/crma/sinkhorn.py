"""The doubly stochastic matrix of a logits matrix, and its exact gradient.

Owns: the cap on the logits, the projection and its derivative. Knows nothing of streams, blocks or models.

Sinkhorn's alternating normalisation (arXiv 2512.24880, 20 iterations) is finished by Newton steps, in
float64. Measured over thousands of random 4 x 4 logits within a range of 8: 20 iterations alone leave row
sums off by up to 3e-2 in any precision, and 2000 iterations by 2e-5, because the rate is the square of M's
second singular value, which tends to 1 near a permutation. Newton on the same problem reaches 1e-15 in
five steps more.
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

TOLERANCE = 1e-9
MAX_NEWTON_STEPS = 30
_LINEAR_SHARE = 0.75


def cap_logits(logits: Tensor, logit_range: float) -> Tensor:
    """Logits (..., n, n) centred by row and column and bounded to an open interval of width `logit_range`.

    The cap is the identity up to three quarters of half the range and then nears the bound as 1/x, so its
    derivative falls as 1/x^2 and is never zero: a hard clamp, or tanh, would freeze a logit for good.
    Centring changes nothing in the projection, which does not see offsets of rows and columns.
    """
    centred = logits - logits.mean(-1, keepdim=True)
    centred = centred - centred.mean(-2, keepdim=True)
    half = logit_range / 2
    knee = _LINEAR_SHARE * half
    excess = (centred.abs() - knee).clamp(min=0)
    bounded = knee + excess * (half - knee) / (excess + half - knee)
    return torch.where(centred.abs() <= knee, centred, centred.sign() * bounded)


@torch.no_grad()
def solve_sinkhorn(logits: Tensor, *, iterations: int = 20) -> Tensor:
    """The doubly stochastic diag(r) exp(logits) diag(c) of logits (..., n, n), float64, without gradient.

    All matrices of a batch are solved together. For logits within a range of 8, rows and columns sum to 1
    within `TOLERANCE`; logits that are not finite give a result that is not finite.
    """
    log_mixing = logits.double()
    for _ in range(iterations):
        log_mixing = _normalise(log_mixing)
    for _ in range(MAX_NEWTON_STEPS):
        if not _worst_error(log_mixing) > TOLERANCE:
            break
        log_mixing = _normalise(_newton_step(log_mixing))
    return log_mixing.exp()


def sinkhorn(logits: Tensor, *, iterations: int = 20, solution: Tensor | None = None) -> Tensor:
    """`solve_sinkhorn` as float32, with the exact gradient for `logits` (..., n, n).

    `solution` is the result of `solve_sinkhorn` for these very logits, when the caller has it already.
    """
    if solution is None:
        solution = solve_sinkhorn(logits, iterations=iterations)
    projected: Tensor = _Projection.apply(logits, solution)  # type: ignore[no-untyped-call]
    return projected


class _Projection(torch.autograd.Function):
    """The solved projection with its derivative from the implicit function theorem.

    Differentiating the solution instead of the iterations is exact whatever their number, and keeps only M.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, logits: Tensor, solution: Tensor) -> Tensor:
        ctx.save_for_backward(solution)
        ctx.logits_dtype = logits.dtype  # type: ignore[attr-defined]
        return solution.float()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        (mixing,) = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient = gradient.double()
        weighted = mixing * gradient
        rows, columns = weighted.sum(-1, keepdim=True), weighted.sum(-2, keepdim=True).mT
        row_offset = torch.linalg.solve(_schur(mixing), rows - mixing @ columns)
        column_offset = columns - mixing.mT @ row_offset
        result = mixing * (gradient - row_offset - column_offset.mT)
        return result.to(ctx.logits_dtype), None  # type: ignore[attr-defined]


def _normalise(log_mixing: Tensor) -> Tensor:
    log_mixing = log_mixing - log_mixing.logsumexp(-1, keepdim=True)
    return log_mixing - log_mixing.logsumexp(-2, keepdim=True)


def _worst_error(log_mixing: Tensor) -> float:
    mixing = log_mixing.exp()
    rows, columns = mixing.sum(-1) - 1, mixing.sum(-2) - 1
    return float(torch.maximum(rows.abs().max(), columns.abs().max()))


def _newton_step(log_mixing: Tensor) -> Tensor:
    """One Newton step on the log scalings, from a matrix whose columns sum to 1."""
    mixing = log_mixing.exp()
    rows = mixing.sum(-1, keepdim=True)
    row_step = torch.linalg.solve(_schur(mixing, rows), 1 - rows)
    column_step = -(mixing.mT @ row_step)
    stepped: Tensor = log_mixing + row_step + column_step.mT
    return stepped


def _schur(mixing: Tensor, rows: Tensor | None = None) -> Tensor:
    """Row block of the problem's Hessian with the columns eliminated, regular on its null vector, ones."""
    size = mixing.shape[-1]
    diagonal = torch.eye(size, dtype=mixing.dtype, device=mixing.device)
    if rows is not None:
        diagonal = diagonal * rows
    return diagonal - mixing @ mixing.mT + 1 / size

"""What every test of an evaluation shares."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from crma_eval.learning.scores import DomainScores, MethodRun, RowScore

Matrix = Sequence[Sequence[float]]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small gain nothing from a second thread, and lose much to it on a busy machine."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield


def _scores(loss: float, accuracy: float | None = None, rows: int = 4) -> DomainScores:
    """A domain of equal rows of 2 tokens with that mean loss; 10 short answers with that accuracy."""
    holdout = tuple(RowScore(2 * loss, 2, False) for _ in range(rows))
    right = 0 if accuracy is None else round(10 * accuracy)
    short = tuple(RowScore(1.0, 1, k < right) for k in range(0 if accuracy is None else 10))
    return DomainScores(holdout, short)


class RunMaker:
    """Made-up runs of the forgetting protocol: from matrices, or as noisy as real ones."""

    def run(
        self,
        losses: Matrix,
        accuracies: Matrix | None = None,
        method: str = "modular",
        seed: int = 0,
        base: Sequence[float] | None = None,
        base_accuracies: Sequence[float] | None = None,
    ) -> MethodRun:
        """A run with these matrices; an empty row is a stage that the method does not have."""
        size = len(losses[-1])

        def stage(row: int) -> tuple[DomainScores, ...]:
            return tuple(
                _scores(loss, accuracies[row][j] if accuracies else None)
                for j, loss in enumerate(losses[row])
            )

        first = tuple(
            _scores(loss, base_accuracies[j] if base_accuracies else (0.0 if accuracies else None))
            for j, loss in enumerate(base or [4.0] * size)
        )
        domains = tuple("abcdefgh"[:size])
        return MethodRun(method, seed, domains, first, tuple(stage(i) for i in range(len(losses))))

    def noisy(
        self,
        method: str,
        seed: int,
        forgets: float,
        domains: Sequence[str] = ("medical", "legal", "financial", "code", "science"),
        rows: int = 60,
        learnt: float = 2.4,
        stages: bool = True,
    ) -> MethodRun:
        """A run as real ones look: rows of several lengths, shared between methods and seeds.

        Later stages add up to 2.5 `forgets` of its loss to a learnt domain.
        """
        shared = np.random.default_rng(7)
        tokens = shared.integers(4, 40, size=(len(domains), rows))
        hard = shared.lognormal(0, 0.4, size=(len(domains), rows))
        own = np.random.default_rng([seed, *method.encode()])
        shift = 1 + 0.15 * own.normal()

        def domain(j: int, after: int | None) -> DomainScores:
            if after is None or after < j:
                level = 3.6 + 0.1 * j
            else:
                gone = 1 - 0.6 ** (after - j)
                level = learnt * (1 + 0.1 * j) * (1 + 2.5 * forgets * shift * gone)
            loss = level * hard[j] * tokens[j] * (1 + 0.02 * own.normal(size=rows))
            right = own.random(40) < max(0.02, 1.1 - level / 4)
            return DomainScores(
                tuple(RowScore(float(x), int(n), False) for x, n in zip(loss, tokens[j], strict=True)),
                tuple(RowScore(1.0, 3, bool(x)) for x in right),
            )

        every = range(len(domains))
        last = len(domains) - 1
        matrix = tuple(tuple(domain(j, i) for j in every) if stages or i == last else () for i in every)
        return MethodRun(method, seed, tuple(domains), tuple(domain(j, None) for j in every), matrix)


@pytest.fixture(scope="session")
def maker() -> RunMaker:
    """Makes runs of methods that were never trained."""
    return RunMaker()

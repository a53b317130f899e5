"""How sure the counts are: Wilson's interval of a share, McNemar's exact test between two arms."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """`right` of `asked`."""

    right: int
    asked: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval of the share of right answers, 0 to 1 (Wilson 1927)."""
        test = binomtest(self.right, self.asked)
        low, high = test.proportion_ci(confidence_level=CONFIDENCE, method="wilson")
        return float(low), float(high)


@dataclass(frozen=True)
class Paired:
    """Two arms on the same questions: right in the one alone, right in the other alone."""

    asked: int
    only_first: int
    only_second: int

    @property
    def lead(self) -> int:
        """How many more the first arm has right."""
        return self.only_first - self.only_second

    @property
    def p(self) -> float:
        """McNemar's exact p, two-sided: were both equally good, how often would they differ this much?"""
        differing = self.only_first + self.only_second
        return float(binomtest(self.only_first, differing, 0.5).pvalue) if differing else 1.0


def share(right: Sequence[bool]) -> Share:
    """Counts one arm's answers."""
    return Share(sum(right), len(right))


def paired(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Counts two arms' answers to the same questions, in the same order."""
    both = list(zip(first, second, strict=True))
    return Paired(len(both), both.count((True, False)), both.count((False, True)))

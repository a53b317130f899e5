"""How a router does on questions whose domain is known."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from crma_router.cli.question_files import Labelled
from crma_router.router import Router

NONE = "none"


@dataclass(frozen=True)
class DomainScore:
    """`elsewhere`: how many questions went where they do not belong, by where."""

    questions: int
    right: int
    elsewhere: dict[str, int]


@dataclass(frozen=True)
class Scores:
    """`domains`: by the domain a question belongs to, `none` for none."""

    questions: int
    right: int
    domains: dict[str, DomainScore]


def score(rows: Sequence[Labelled], router: Router) -> Scores:
    """Route every question by itself."""
    decided = router.route_many([row.text for row in rows])
    pairs = [(row.domain or NONE, one.domain or NONE) for row, one in zip(rows, decided, strict=True)]
    domains = {}
    for name in sorted({wanted for wanted, _ in pairs}):
        went = Counter(given for wanted, given in pairs if wanted == name)
        right = went.pop(name, 0)
        domains[name] = DomainScore(right + went.total(), right, dict(went.most_common()))
    return Scores(len(pairs), sum(one.right for one in domains.values()), domains)

"""The rows asked, the states that answer them, and what the router's choice costs against the right one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from crma_adapters.errors import ConfigError
from crma_eval.learning.scores import DomainScores, RowScore
from crma_eval.learning.setup import Exam
from crma_router.conversation.messages import conversation_text
from crma_router.policy import RoutingDecision
from crma_training.data.dataset import load_dataset
from crma_training.data.rows import Row
from crma_training.data.sources import read_rows
from crma_training.data.tokens import Example, encode
from crma_training.methods.method import Serving
from crma_training.workbench import Workbench


class Routes(Protocol):
    """The router, as far as it is needed here."""

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        """A decision for each text."""
        ...


Score = Callable[[Serving, Exam], DomainScores]
"""How a model state is measured, as `Measurer.scores`."""


@dataclass(frozen=True)
class Asked:
    """A domain's rows: the questions as the router reads them, and the same rows as token ids."""

    domain: str
    holdout_questions: tuple[str, ...]
    short_answer_questions: tuple[str, ...]
    exam: Exam


@dataclass(frozen=True)
class RoutedDomain:
    """One domain's rows, oracle and routed. The choices are domain names, None for the backbone alone."""

    domain: str
    holdout_choices: tuple[str | None, ...]
    short_answer_choices: tuple[str | None, ...]
    oracle: DomainScores
    routed: DomainScores

    @property
    def choices(self) -> tuple[str | None, ...]:
        """Of all rows, holdout first."""
        return self.holdout_choices + self.short_answer_choices

    @property
    def regret(self) -> float:
        """Routed loss - oracle loss, nats per answer token of the holdout rows."""
        return self.routed.loss - self.oracle.loss


@dataclass(frozen=True)
class Servers:
    """What answers: for each domain its own model state, and one for what the router sends nowhere."""

    own: Mapping[str, Serving]
    fallback: Serving

    def chosen(self, choice: str | None) -> Serving:
        """The state that a choice of the router means."""
        if choice is None:
            return self.fallback
        if choice not in self.own:
            raise ConfigError(
                f"the router sends a question to {choice!r}, which nothing serves here "
                f"({', '.join(self.own)}); give the router that was fitted on these domains"
            )
        return self.own[choice]


def routed_matrix(
    asked: Sequence[Asked],
    servers: Servers,
    router: Routes,
    score: Score,
    progress: Callable[[int, int], None] | None = None,
) -> list[RoutedDomain]:
    """Every domain, oracle and routed. `score` is called once for a domain's own state on all its rows, and
    once for each other state that the router chose, on the rows that it chose it for. `progress` hears how
    many rows are scored, and how many there are to score.

    Raises:
        ConfigError: the router names a domain that `servers` has not.
    """
    routed = [_Paper(domain, *_choices(router, domain), servers) for domain in asked]
    total, done = sum(paper.rows for paper in routed), 0
    domains = []
    for paper in routed:
        domains.append(paper.scored(score))
        done += paper.rows
        if progress is not None:
            progress(done, total)
    return domains


def _choices(router: Routes, asked: Asked) -> tuple[tuple[str | None, ...], tuple[str | None, ...]]:
    holdout, short = (
        tuple(decision.domain for decision in router.route_many(list(questions)))
        for questions in (asked.holdout_questions, asked.short_answer_questions)
    )
    return holdout, short


@dataclass(frozen=True)
class _Detour:
    """Rows that the router sends to another state than their domain's own, by index."""

    serving: Serving
    holdout: tuple[int, ...]
    short_answer: tuple[int, ...]


class _Paper:
    """A domain's rows and where the router sends them."""

    def __init__(
        self,
        asked: Asked,
        holdout: tuple[str | None, ...],
        short_answer: tuple[str | None, ...],
        servers: Servers,
    ) -> None:
        self._asked, self._holdout, self._short, self._servers = asked, holdout, short_answer, servers
        elsewhere = [choice for choice in dict.fromkeys(holdout + short_answer) if choice != asked.domain]
        self._detours = [
            _Detour(servers.chosen(choice), _where(holdout, choice), _where(short_answer, choice))
            for choice in elsewhere
        ]
        sent = sum(len(detour.holdout) + len(detour.short_answer) for detour in self._detours)
        self.rows = len(holdout) + len(short_answer) + sent

    def scored(self, score: Score) -> RoutedDomain:
        """The domain with its own state on all rows, then the detours in place of the rows they took."""
        exam = self._asked.exam
        oracle = score(self._servers.own[self._asked.domain], exam)
        losses, answers = list(oracle.holdout), list(oracle.short_answer)
        for detour in self._detours:
            part = Exam(_rows(exam.holdout, detour.holdout), _rows(exam.short_answer, detour.short_answer))
            found = score(detour.serving, part)
            _put(losses, detour.holdout, found.holdout)
            _put(answers, detour.short_answer, found.short_answer)
        routed = DomainScores(tuple(losses), tuple(answers))
        return RoutedDomain(self._asked.domain, self._holdout, self._short, oracle, routed)


def _where(choices: Sequence[str | None], choice: str | None) -> tuple[int, ...]:
    return tuple(index for index, made in enumerate(choices) if made == choice)


def _rows(rows: Sequence[Example], indices: Sequence[int]) -> tuple[Example, ...]:
    return tuple(rows[index] for index in indices)


def _put(rows: list[RowScore], indices: Sequence[int], scores: Sequence[RowScore]) -> None:
    for index, score in zip(indices, scores, strict=True):
        rows[index] = score


SHORT_ANSWERS = "short_answer.jsonl"


def load_asked(bench: Workbench, data: Path, served: Sequence[str], limit: int) -> list[Asked]:
    """Domains of `data` that are `served`, in the data's order; `limit` rows of each kind (0: all).

    Raises:
        ConfigError: none of the domains is served.
        DataError: as `load_dataset`, `read_rows` and `encode`.
    """
    domains = [domain for domain in load_dataset(data).domains if domain.name in served]
    if not domains:
        raise ConfigError(
            f"{data} has none of the release's domains ({', '.join(served)}); "
            "pass the data they were trained on"
        )
    found = []
    for domain in domains:
        path = data / domain.name / SHORT_ANSWERS
        short = read_rows(path) if path.is_file() else ()
        found.append(_asked(bench, domain.name, domain.holdout[: limit or None], short[: limit or None]))
    return found


def _asked(bench: Workbench, name: str, holdout: Sequence[Row], short: Sequence[Row]) -> Asked:
    exam = Exam(
        tuple(encode(row, bench.tokenizer, bench.config.max_length, chat=bench.chat) for row in holdout),
        tuple(encode(row, bench.tokenizer, bench.config.max_length, chat=bench.chat) for row in short),
    )
    return Asked(name, tuple(map(routed_text, holdout)), tuple(map(routed_text, short)), exam)


def routed_text(row: Row) -> str:
    """What the server would route: of a conversation, the last user turns."""
    return conversation_text([{"role": m.role, "content": m.content} for m in row.prompt])

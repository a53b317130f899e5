"""The forgetting protocol on a field's sub-domains.

field -> sub-domains -> a dataset folder of them -> forgetting protocol -> probes, right and wrong
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from crma_adapters.io.durable import write_durably
from crma_eval.learning.protocol import Cell, Experiment
from crma_eval.learning.scores import MethodRun
from crma_eval.learning.setup import Protocol, Sizes
from crma_eval.learning.subdomains.split import Size, SubDomain, probe_rows, training_rows
from crma_training.config import TrainConfig
from crma_training.data.rows import Row
from crma_training.methods.method import Method

DATA = "data"


@dataclass(frozen=True)
class Probe:
    """One question about a fact learnt in `sub_domain`; whether each stage of a run answers it exactly, from
    the stage that learnt it to the last.
    """

    sub_domain: str
    question: str
    answer: str
    before: bool
    exact: tuple[bool, ...]

    @property
    def learnt(self) -> bool:
        """Right as soon as its sub-domain was learnt."""
        return self.exact[0]

    @property
    def final(self) -> bool:
        """Right after the last sub-domain."""
        return self.exact[-1]


@dataclass(frozen=True)
class Retention:
    """One method's probes of the sub-domains that others followed."""

    method: str
    probes: tuple[Probe, ...]

    @property
    def learnt(self) -> int:
        """Probes right when learnt."""
        return sum(probe.learnt for probe in self.probes)

    @property
    def retained(self) -> int:
        """Probes right both times."""
        return sum(probe.learnt and probe.final for probe in self.probes)

    @property
    def final(self) -> int:
        """Probes right at the end, whether or not they were when learnt."""
        return sum(probe.final for probe in self.probes)


def run_methods(
    parts: Sequence[SubDomain],
    size: Size,
    config: TrainConfig,
    methods: Sequence[Method],
    work: Path,
    *,
    learnt: Callable[[str, str], None],
    say: Callable[[str], None] = print,
    journal: Path | None = None,
) -> list[Retention]:
    """Trains what is not trained in `work` yet; `learnt` is called with method and sub-domain."""
    write_dataset(parts, size, work / DATA)
    names = tuple(part.name for part in parts)
    # The protocol wants holdout rows too; nothing is read off them here, so one does.
    sizes = Sizes(train=size.facts * size.phrasings, holdout=1, short_answer=size.probes)
    experiment = Experiment(Protocol(work / DATA, config, sizes, names), work, say, journal)
    found = []
    for method in methods:
        run = experiment.result(Cell(method, config.seed), partial(learnt, method.name)).run
        found.append(retention(run, parts, size))
    return found


def retention(run: MethodRun, parts: Sequence[SubDomain], size: Size) -> Retention:
    """The probes of every sub-domain but the last, which nothing follows."""
    probes = []
    for index, part in enumerate(parts[:-1]):
        for number, row in enumerate(probe_rows(part, size)):
            exact = tuple(stage[index].short_answer[number].exact for stage in run.matrix[index:])
            before = run.base[index].short_answer[number].exact
            probes.append(Probe(part.name, row.question, row.messages[-1].content, before, exact))
    return Retention(run.method, tuple(probes))


def write_dataset(parts: Sequence[SubDomain], size: Size, folder: Path) -> None:
    """A dataset folder, one domain per sub-domain: the same parts give the same bytes."""
    for part in parts:
        probes = list(probe_rows(part, size))
        _write(folder / part.name, "train.jsonl", training_rows(part, size))
        _write(folder / part.name, "holdout.jsonl", probes)
        _write(folder / part.name, "short_answer.jsonl", probes)


def _write(folder: Path, name: str, rows: Iterable[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(_json(row), ensure_ascii=False) + "\n" for row in rows]
    write_durably(folder, folder / name, "".join(lines).encode())


def _json(row: Row) -> dict[str, Any]:
    messages = [{"role": message.role, "content": message.content} for message in row.messages]
    return {"messages": messages, "source": row.source, "entry": row.entry, "licence": row.licence}

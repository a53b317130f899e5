"""The same runs with the router choosing: forgetting is conditional on routing, so both stand side by side.

Every domain is measured right after it was learnt and after the last stage, each row answered by what the
router chooses among all domains; a domain that is not learnt yet is answered as the method answers it then.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crma_adapters.io.durable import move_folder_durably, temporary_path
from crma_eval.learning.protocol import Cell, Experiment
from crma_eval.learning.retention.matrix import (
    Asked,
    RoutedDomain,
    Routes,
    Servers,
    routed_matrix,
    routed_text,
)
from crma_eval.learning.spread import spread
from crma_eval.learning.table import cell
from crma_eval.report import Section
from crma_router.router import Router
from crma_training.methods.method import Serving
from crma_training.routing import fit_release_router

ROUTER = "router"


@dataclass(frozen=True)
class RoutedRun:
    """One cell: each domain when it was learnt, and each after the last stage."""

    method: str
    seed: int
    learnt: tuple[RoutedDomain, ...]
    final: tuple[RoutedDomain, ...]

    def drift(self, *, routed: bool) -> float:
        """Mean relative change of loss of the earlier domains, as the design's drift."""
        pairs = [
            (_loss(now, routed), _loss(then, routed))
            for now, then in zip(self.final[:-1], self.learnt, strict=False)
        ]
        return sum((now - then) / then for now, then in pairs) / len(pairs)

    def final_loss(self, *, routed: bool) -> float:
        """Mean over domains after the last stage, nats per answer token."""
        return sum(_loss(domain, routed) for domain in self.final) / len(self.final)

    def accuracy(self, *, routed: bool) -> float:
        """AP: mean exact match over domains after the last stage, 0 to 1."""
        scores = [domain.routed if routed else domain.oracle for domain in self.final]
        return sum(found.accuracy for found in scores) / len(scores)

    @property
    def share(self) -> float:
        """Of the final routed loss, what is due to routing."""
        return 1 - self.final_loss(routed=False) / self.final_loss(routed=True)

    @property
    def right(self) -> float:
        """Share of rows that the router sends to their own domain."""
        rows = [choice == domain.domain for domain in self.final for choice in domain.choices]
        return sum(rows) / len(rows)


def routes_matter(experiment: Experiment, found: Cell) -> bool:
    """Whether the method answers domains with different states, so that a router has something to choose."""
    return len(set(experiment.servings(found))) > 1


def experiment_router(experiment: Experiment) -> Router:
    """The router of the experiment's data, fitted as crma-train does, once per work folder and data."""
    folder = experiment.work / ROUTER / experiment.data.sha256[:12]
    if not folder.exists():
        draft = temporary_path(experiment.work)
        draft.mkdir(parents=True)
        fit_release_router(experiment.data.domains, experiment.data.out_of_domain, 0, draft)
        move_folder_durably(experiment.work, draft, folder)
    return Router.load(folder)


def routed_run(
    experiment: Experiment, found: Cell, router: Routes, fallback: Serving | None = None
) -> RoutedRun:
    """Measures a complete cell through the router; `fallback` answers what is routed nowhere, None: what the
    method itself has for it.
    """
    asked = _asked(experiment)
    final = routed_matrix(asked, _servers(experiment, found, len(asked), fallback), router, experiment.scores)
    learnt = [
        routed_matrix([domain], _servers(experiment, found, stage, fallback), router, experiment.scores)[0]
        for stage, domain in enumerate(asked, start=1)
    ]
    return RoutedRun(found.method.name, found.seed, tuple(learnt), tuple(final))


def routed_figures(run: RoutedRun) -> dict[str, Any]:
    """One cell's figures, as plain JSON."""
    return {
        "method": run.method,
        "seed": run.seed,
        "routed_right": run.right,
        "share_due_to_routing": run.share,
        **{
            f"{name}_{way}": figure(run, way == "routed")
            for name, figure in _FIGURES.items()
            for way in ("oracle", "routed")
        },
    }


_FIGURES: dict[str, Callable[[RoutedRun, bool], float]] = {
    "drift": lambda run, routed: run.drift(routed=routed),
    "final_loss": lambda run, routed: run.final_loss(routed=routed),
    "average_accuracy": lambda run, routed: run.accuracy(routed=routed),
}
# Title, figure, scale and digits of each column.
_COLUMNS = (
    ("rows routed right, %", "routed_right", 100, 1),
    ("drift, % (oracle)", "drift_oracle", 100, 2),
    ("drift, % (routed)", "drift_routed", 100, 2),
    ("final loss (oracle)", "final_loss_oracle", 1, 3),
    ("final loss (routed)", "final_loss_routed", 1, 3),
    ("share of loss due to routing, %", "share_due_to_routing", 100, 1),
    ("AP, % (oracle)", "average_accuracy_oracle", 100, 1),
    ("AP, % (routed)", "average_accuracy_routed", 100, 1),
)


def routed_section(found: Sequence[Mapping[str, Any]]) -> Section:
    """Oracle and routed figures (`routed_figures`) by method, mean over seeds."""
    methods = dict.fromkeys(figures["method"] for figures in found)
    rows = tuple(
        (
            name,
            *(
                cell(spread(each[key] for each in found if each["method"] == name), scale, digits)
                for _, key, scale, digits in _COLUMNS
            ),
        )
        for name in methods
    )
    remarks = (
        "Oracle: each row is answered by its own domain's adapter. Routed: by what a router chooses that was "
        "fitted on the same domains' questions and saw none of these rows. Loss in nats per answer token.",
    )
    header = ("method", *(title for title, *_ in _COLUMNS))
    return Section("Through the router", header, rows, remarks)


def _servers(experiment: Experiment, found: Cell, stages: int, fallback: Serving | None) -> Servers:
    done = experiment.stages(found)[:stages]
    states = [found.method.serving(done, index) or Serving() for index in range(len(experiment.domains) + 1)]
    return Servers(dict(zip(experiment.domains, states, strict=False)), fallback=fallback or states[-1])


def _asked(experiment: Experiment) -> list[Asked]:
    return [
        Asked(
            domain.name,
            tuple(routed_text(row) for row in domain.holdout),
            tuple(routed_text(row) for row in experiment.protocol.short_answers(domain)),
            paper,
        )
        for domain, paper in zip(experiment.data.domains, experiment.exams, strict=True)
    ]


def _loss(domain: RoutedDomain, routed: bool) -> float:
    return (domain.routed if routed else domain.oracle).loss

"""How `crma-route` prints a decision and a score."""

from collections.abc import Sequence

from crma_router.cli.change import LiveRouter, Neighbour
from crma_router.cli.scores import Scores
from crma_router.policy import RoutingDecision

_MOST_CHARACTERS = 70


def decision_lines(
    live: LiveRouter,
    decision: RoutingDecision,
    neighbours: Sequence[Neighbour] | None,
    *,
    read: str | None = None,
) -> list[str]:
    """One fact a line. `neighbours` None: the router's examples are not known. `read`: what of the text was
    read as the question, where that is not all of it."""
    ranked = sorted(decision.scores.items(), key=lambda item: -item[1])
    side = "outside" if decision.ood_distance > decision.ood_threshold else "inside"
    return [
        f"adapter     {decision.domain or 'none: the backbone alone answers'} ({decision.path})",
        f"confidence  {decision.confidence:.3f}",
        f"because     {decision.reason}",
        "scores      " + ", ".join(f"{name} {score:.3f}" for name, score in ranked),
        f"distance    {decision.ood_distance:.2f}, {side} (threshold {decision.ood_threshold:.2f})",
        f"router      {live.version} of release {live.release}, embedder {live.router.model.embedder}",
        *([f"read as     {_shown(read)}"] if read is not None else ()),
        *(_neighbour_line(one) for one in neighbours or ()),
    ]


def score_lines(scores: Scores) -> list[str]:
    """A line for each domain, then all of them."""
    lines = [
        f"{name:12} {one.right} of {one.questions} right"
        + "".join(f", {count} to {other}" for other, count in one.elsewhere.items())
        for name, one in scores.domains.items()
    ]
    return [
        *lines,
        f"{'all':12} {scores.right} of {scores.questions} right ({scores.right / scores.questions:.3f})",
    ]


def _neighbour_line(one: Neighbour) -> str:
    return f"like        {one.similarity:.2f} {one.domain or 'none'}: {_shown(one.text)}"


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 1]}…"

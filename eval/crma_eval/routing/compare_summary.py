"""The report of `crma-eval routing --compare`.

Owns: tables and words. Knows nothing of how the figures were made.
"""

from dataclasses import asdict

from crma_eval.report import Report, Section
from crma_eval.routing.compare import TIE, Comparison, Scored

_TESTED = (
    "in-domain",
    "natural",
    "typos",
    "short",
    "multi-turn",
    "mentions",
    "near",
    "far",
    "everyday",
    "other languages",
)


def designs_report(comparison: Comparison) -> Report:
    """All designs on validation and on the sets of the routing report."""
    tested = [name for name in _TESTED if name in comparison.kept.test]
    return Report(
        name="routing-designs",
        title="Routing: which design",
        header=("embedding", "design", "in-domain", "typos", "far", "near", "score"),
        rows=tuple(_row(one, kept=one is comparison.kept) for one in comparison.scored),
        figures={
            "kept": {"embedding": comparison.kept.embedding, "design": comparison.kept.design},
            "designs": [{**asdict(one), "score": one.score} for one in comparison.scored],
            "outside_readings": [asdict(one) for one in comparison.readings],
            "history": dict(comparison.history),
        },
        remarks=(
            "On a validation part of the training side, near-duplicates apart: macro-F1 of the domains' "
            "questions and of the same mistyped, AUROC of everyday questions (far) and of three neighbouring "
            "fields not fitted on (near). *Score* is the mean of the four. Rule: the highest score, and "
            f"of designs within {TIE} of it, the simplest, which is the first. **Kept** in bold.",
        ),
        sections=(
            Section(
                "The same designs on the sets of the routing report",
                ("embedding", "design", *tested),
                tuple(
                    (one.embedding, one.design, *(f"{one.test[name]:.3f}" for name in tested))
                    for one in comparison.scored
                ),
                ("Macro-F1, and AUROC of the sets that are of no domain. Nothing was chosen by these.",),
            ),
            Section(
                "Which reading says that a text is outside",
                ("reading", "far: AUROC", "FPR@95TPR", "near: AUROC", "FPR@95TPR"),
                tuple(
                    (one.name, *(f"{v:.3f}" for v in (one.far, one.far_fpr, one.near, one.near_fpr)))
                    for one in comparison.readings
                ),
                ("On the validation part. What needs neighbours needs every example kept.",),
            ),
            Section(
                "Which text of a conversation",
                ("read", "macro-F1"),
                tuple((way, f"{value:.3f}") for way, value in comparison.history.items()),
                ("The multi-turn set: follow-ups, questions after a greeting, changes of topic.",),
            ),
        ),
    )


def _row(one: Scored, *, kept: bool) -> tuple[str, ...]:
    cells = (
        one.embedding,
        one.design,
        *(f"{v:.3f}" for v in (one.in_domain, one.typos, one.far, one.near, one.score)),
    )
    return tuple(f"**{cell}**" for cell in cells) if kept else cells

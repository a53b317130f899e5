"""The report of `crma-eval soak`.

Owns: what is said. Knows nothing of how a figure came about.
"""

import dataclasses

from crma_eval.report import Report
from crma_eval.serving.soak.figures import GOAL_FILES, GOAL_GROWTH, GOAL_LATENCY, WARM_UP, Figures


def soak_report(found: Figures, workers: int) -> Report:
    """One row a figure, with its goal."""
    faults = sum(found.faults.values())
    mean_mib = found.memory_mean_bytes / 2**20
    rows = (
        ("requests", str(found.requests), ""),
        ("wrong answers", str(faults), "0"),
        ("resident memory, mean", f"{mean_mib:.0f} MiB", ""),
        ("its slope", f"{found.slope_bytes_per_h / 2**20:+.1f} MiB/h", ""),
        ("its growth while measured", f"{found.growth:+.2%}", f"at most {GOAL_GROWTH:.0%}"),
        (
            "open files, first and last",
            f"{found.files_first}, {found.files_last}",
            f"at most {GOAL_FILES} more",
        ),
        ("p99 of an answer, first minute", f"{found.p99_first_s:.2f} s", ""),
        ("p99 of an answer, last minute", f"{found.p99_last_s:.2f} s", f"at most {GOAL_LATENCY:g} times"),
    )
    return Report(
        name="soak",
        title="A server under mixed load for a long while",
        header=("figure", "found", "goal"),
        rows=rows,
        figures=dataclasses.asdict(found) | {"reached": found.reached, "workers": workers},
        remarks=_remarks(found, workers),
    )


def _remarks(found: Figures, workers: int) -> tuple[str, ...]:
    wrong = "; ".join(f"{count} times: {what}" for what, count in sorted(found.faults.items()))
    return (
        f"{workers} clients asked without pause for {found.duration_s / 60:.1f} minutes: streams and whole "
        "answers, routed and by name, clients that left, bad requests, lists and metrics. Memory is of all "
        f"processes of the server together; its trend leaves out the first {WARM_UP:.0%} of the time.",
        f"Goal: {'met' if found.reached else 'missed'}." + (f" Wrong: {wrong}." if wrong else ""),
    )

"""The spectral report: tables, plots, and what the invariant does and does not show, in words.

Owns: the report. Knows nothing of how logs are read or matrices measured.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

from crma_eval.learning.spectral.plot import draw
from crma_eval.learning.spectral.recompute import FLOAT32_RESOLUTION, BackboneSpectrum, MixingErrors
from crma_eval.learning.spectral.trajectory import Stage, Trajectory
from crma_eval.report import Image, Report, Section

SERIES_POINTS = 80
_HEADER = ("domain", "steps", "max abs(‖M‖₂ − 1)", "max row error", "max column error")
_GATES = ("α at the end: min / mean / max", "‖Δh‖/‖h‖ first → last step")


def spectral_report(
    trajectories: Sequence[Trajectory],
    backbones: dict[str, BackboneSpectrum],
    untrained: MixingErrors,
    untrained_count: int,
) -> Report:
    """`backbones` by what they are called; `untrained`: errors of `untrained_count` random projections."""
    several = len(trajectories) > 1
    rows = [row for trajectory in trajectories for row in _stage_rows(trajectory, several)]
    sections = [_backbone_section(backbones)] if backbones else []
    sections.append(_plots(trajectories))
    return Report(
        name="spectral",
        title="CRMA's mixing matrices over the sequence of domains",
        header=(*(("sequence",) if several else ()), *_HEADER, *_GATES),
        rows=tuple(rows),
        figures={
            "sequences": [_trajectory_figures(trajectory) for trajectory in trajectories],
            "backbones": {name: dataclasses.asdict(spectrum) for name, spectrum in backbones.items()},
            "untrained": {"matrices": untrained_count, **dataclasses.asdict(untrained)},
        },
        remarks=_words(trajectories, backbones, untrained, untrained_count),
        sections=tuple(sections),
    )


def _stage_rows(trajectory: Trajectory, several: bool) -> list[tuple[str, ...]]:
    return [
        (*((trajectory.name,) if several else ()), *_stage_row(stage))
        for stage in trajectory.stages
        if stage.readings
    ]


def _stage_row(stage: Stage) -> tuple[str, ...]:
    readings = stage.readings
    first, last = readings[0], readings[-1]
    return (
        stage.domain,
        str(len(readings)),
        f"{max(r.mixing_norm_error for r in readings):.1e}",
        f"{max(r.row_error for r in readings):.1e}",
        f"{max(r.column_error for r in readings):.1e}",
        f"{last.alpha_min:.4f} / {last.alpha_mean:.4f} / {last.alpha_max:.4f}",
        f"{100 * first.relative_change:.2f} % → {100 * last.relative_change:.2f} %",
    )


def _backbone_section(backbones: dict[str, BackboneSpectrum]) -> Section:
    header = (
        "backbone",
        "mode",
        "abs(‖M‖₂ − 1), M float32 as used",
        "the same, M in float64",
        "row / column error, float64",
        "α min / mean / max",
        "max ‖M − I‖₂",
        "max ‖α U M V‖₂",
        "max ‖I + α U M V‖₂",
    )
    rows = tuple(_backbone_row(name, spectrum) for name, spectrum in backbones.items())
    remark = (
        "Every figure computed in float64 from the saved parameters, worst over blocks; modes without a "
        "projection have no float64 M. The last two columns are the maps that act on the model: what CRMA "
        "adds to a block's output, and the block's whole CRMA map (mode `nonexpansive`: with M - I for M)."
    )
    return Section("Saved backbones, measured again", header, rows, (remark,))


def _backbone_row(name: str, spectrum: BackboneSpectrum) -> tuple[str, ...]:
    exact, alphas = spectrum.exact, spectrum.alphas
    return (
        name,
        spectrum.mode,
        f"{spectrum.used.norm:.1e}",
        f"{exact.norm:.1e}" if exact else "-",
        f"{exact.row:.1e} / {exact.column:.1e}" if exact else "-",
        f"{min(alphas):.4f} / {sum(alphas) / len(alphas):.4f} / {max(alphas):.4f}",
        f"{max(spectrum.off_identity):.3f}",
        f"{max(spectrum.branch_norms):.3f}",
        f"{max(spectrum.map_norms):.3f}",
    )


def _plots(trajectories: Sequence[Trajectory]) -> Section:
    images = tuple(
        Image(
            file=f"spectral-{trajectory.name}.png" if trajectory.name else "spectral.png",
            caption=f"Errors of M, gates and relative change of the residual stream at each of "
            f"{len(trajectory.readings)} optimizer steps{', ' + trajectory.name if trajectory.name else ''}",
            draw=partial(draw, trajectory),
        )
        for trajectory in trajectories
    )
    return Section("Step by step", images=images)


def _words(
    trajectories: Sequence[Trajectory],
    backbones: dict[str, BackboneSpectrum],
    untrained: MixingErrors,
    untrained_count: int,
) -> tuple[str, ...]:
    readings = [reading for trajectory in trajectories for reading in trajectory.readings]
    worst = max(reading.mixing_norm_error for reading in readings)
    changes = [reading.relative_change for reading in readings]
    maps = [norm for spectrum in backbones.values() for norm in spectrum.map_norms]
    open_norm = f" (here up to {max(maps):.3f})" if maps else ""
    low, high = 100 * min(changes), 100 * max(changes)
    return (
        f"**What this shows.** Over {len(readings)} optimizer steps the spectral norm of every mixing matrix "
        f"in use differed from 1 by at most {worst:.1e} (float32's resolution at 1 is "
        f"{FLOAT32_RESOLUTION:.1e}). CRMA changed the residual stream by {low:.2f} % to {high:.2f} % per "
        "block.",
        "**What it does not show.** Anything about forgetting. A doubly stochastic matrix has spectral norm "
        "1 whatever it was trained on: it fixes the vector of ones, so its norm is at least 1, and "
        "‖M‖₂² ≤ ‖M‖₁ ‖M‖∞ = 1. Where M is projected by Sinkhorn the log says that the projection converged, "
        f"and no more: {untrained_count} projections of random logits, which saw no data, give "
        f"{untrained.norm:.1e}. Nor does it bound the block's whole map I + α U M V{open_norm}: in mode "
        "`residual` U, V and α are free and keep changing with every domain. What earlier domains lose by "
        "that is measured as drift (`crma-eval forgetting`, `crma-eval routed`).",
    )


def _trajectory_figures(trajectory: Trajectory) -> dict[str, Any]:
    readings = trajectory.readings
    every = -(-len(readings) // SERIES_POINTS)
    return {
        "name": trajectory.name,
        "stages": [
            {"domain": stage.domain, "first_step": start, "steps": len(stage.readings)}
            for stage, start in zip(trajectory.stages, trajectory.starts, strict=True)
        ],
        "worst": {
            name: max(getattr(reading, name) for reading in readings)
            for name in ("mixing_norm_error", "row_error", "column_error")
        },
        "every_nth_step": every,
        "series": {
            field.name: [float(f"{getattr(r, field.name):.6g}") for r in readings[::every]]
            for field in dataclasses.fields(readings[0])
        },
    }

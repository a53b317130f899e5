"""`crma-eval spectral`: the mixing matrices over training, and what their norm does and does not show.

Owns: the command line and the order of things. Knows nothing of how a figure is made.
"""

import argparse
from pathlib import Path
from typing import Any

from crma_adapters.crma.backbone import load_backbone
from crma_adapters.crma.config import CrmaConfig
from crma_adapters.crma.crma import Crma
from crma_adapters.errors import ConfigError
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release
from crma_eval.learning.spectral.recompute import backbone_spectrum, untrained_errors
from crma_eval.learning.spectral.trajectory import Trajectory, read_trajectories

UNTRAINED = 1000
LIMIT = 1e-6
"""Errors of a projected M that counts as converged; docs/crma.md."""


def add_command(commands: Any) -> None:
    """Add `spectral` to the subcommands of `crma-eval`."""
    parser = commands.add_parser("spectral", help="norms, gates and changes of CRMA, from logs and a release")
    parser.add_argument(
        "--run",
        type=Path,
        required=True,
        dest="run_folder",
        help="run folder of crma-train, or --work folder of crma-eval forgetting",
    )
    parser.add_argument("--adapters", type=Path, help="store whose live release's backbone is measured too")
    parser.add_argument("--report", type=Path, help="folder to write spectral.{json,md} and plots into")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read, measure, print, write; status 1 if a projected M was ever off its constraint by over 1e-6."""
    from crma_eval.learning.spectral.summary import spectral_report

    trajectories = read_trajectories(args.run_folder)
    left = [(trajectory, _last_backbone(trajectory)) for trajectory in trajectories]
    backbones = {_called(trajectory): crma for trajectory, crma in left if crma is not None}
    if args.adapters is not None:
        number, crma = _released(args.adapters)
        backbones[f"release {number}"] = crma
    spectra = {name: backbone_spectrum(crma) for name, crma in backbones.items()}
    form = next((crma.config for crma in backbones.values()), CrmaConfig(1, 1, rank=1))
    untrained = untrained_errors(UNTRAINED, form.rank, form.logit_range)
    report = spectral_report(trajectories, spectra, untrained, UNTRAINED)
    print(report.markdown())
    if args.report is not None:
        report.write(args.report)
    logged = [_worst_logged(trajectory) for trajectory, crma in left if crma is None or _projected(crma)]
    measured = [max(vars(s.exact).values()) for s in spectra.values() if s.exact is not None]
    return 0 if all(error <= LIMIT for error in (*logged, *measured)) else 1


def _called(trajectory: Trajectory) -> str:
    return trajectory.name or "end of the run"


def _last_backbone(trajectory: Trajectory) -> Crma | None:
    saved = trajectory.stages[-1].backbone
    return None if saved is None else load_backbone(saved)


def _projected(crma: Crma) -> bool:
    return crma.config.mode in ("residual", "nonexpansive")


def _worst_logged(trajectory: Trajectory) -> float:
    return max(max(r.mixing_norm_error, r.row_error, r.column_error) for r in trajectory.readings)


def _released(root: Path) -> tuple[int, Crma]:
    store = Store(root)
    release = store.live()
    verify_release(store, release)
    if release.backbone is None:
        raise ConfigError(f"{root}: release {release.number} has no backbone; leave out --adapters")
    return release.number, load_backbone(store.backbone_dir(release.backbone.version))

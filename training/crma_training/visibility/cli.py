"""`crma-train report RUN`: makes a run's report again, and the event files that are missing."""

import argparse
from pathlib import Path

from crma_adapters.cli.command import run_command


def main(argv: list[str]) -> int:
    """Runs the command; 0 when the report stands, 2 after a clear error."""
    parser = argparse.ArgumentParser(
        prog="crma-train report",
        description="Write RUN/report.html from a run's logs, and TensorBoard's event files of finished "
        "domains that have none. Works while the run is training, too.",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="run folder of crma-train")
    run: Path = parser.parse_args(argv).run
    return run_command(lambda: _report(run))


def _report(run: Path) -> int:
    # Imported after the flags are known to be good: torch and matplotlib take seconds to load.
    from crma_training.visibility.html_report import write_report
    from crma_training.visibility.read import read_run
    from crma_training.visibility.tensorboard import EVENTS, write_events

    for domain in read_run(run).domains:
        if not (run / EVENTS / domain.name).is_dir():
            write_events(run / domain.name, run / EVENTS / domain.name)
    print(f"{write_report(run)}; live curves: tensorboard --logdir {run}")
    return 0

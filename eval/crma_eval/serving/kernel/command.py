"""`crma-eval kernel`: the CPU engine's LoRA kernel against vLLM's own and one read of the weights.

Owns: the command line, starting the benchmark, the report. Knows nothing of how a figure is made:
`crma_server.engine.vllm.cpu.benchmark` measures, in a process of its own.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from crma_adapters.errors import ConfigError
from crma_eval.report import Report, Section

LAYERS, REPEATS = 30, 5
CASE = ("step", "rows", "slots", "rank")
TIMES = ("no adapter, ms", "one read, ms", "ours, ms", "vLLM's, ms")
RATIOS = ("ours / read", "vLLM's / ours")
READING = ("rank", "in C, ms", "PyTorch's operators, ms")
REMARKS = (
    "Milliseconds of CPU time per step, one thread, float32: all LoRA work of the shapes of SmolLM2-135M "
    "(qkv, o, gate and up, down and residual mixer of every layer), every module targeted; medians of "
    "repeats in which the ways take turns.",
    "`one read` sums every number of the adapters in use once. Decode deals rows out to slots in turn, "
    "prefill in equal stretches.",
)


def add_command(commands: Any) -> None:
    """Add `kernel` to the subcommands of `crma-eval`."""
    parser = commands.add_parser(
        "kernel", help="the CPU engine's LoRA kernel against vLLM's own and a read", allow_abbrev=False
    )
    parser.add_argument("--layers", type=int, default=LAYERS, help=f"layers of a step (default: {LAYERS})")
    parser.add_argument(
        "--repeats", type=int, default=REPEATS, help=f"timed turns of each way (default: {REPEATS})"
    )
    parser.add_argument("--report", type=Path, help="folder to write kernel.json and kernel.md into")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    for flag, value in (("--layers", args.layers), ("--repeats", args.repeats)):
        if value < 1:
            raise ConfigError(f"{flag} is {value}; give a number that is at least 1")
    report = kernel_report(_measured(args.layers, args.repeats), args.layers, args.repeats)
    print(report.markdown())
    if args.report is not None:
        report.write(args.report)
    return 0


def kernel_report(measured: dict[str, Any], layers: int, repeats: int) -> Report:
    """A row per step, in the order measured; then what reading a slot takes."""
    rows = tuple(_row(timing["case"], timing["ms"]) for timing in measured["steps"])
    figures = {"layers": layers, "repeats": repeats} | measured
    title = "The CPU engine's LoRA kernel"
    sections = (_reading_section(measured["reading"]),)
    return Report("kernel", title, (*CASE, *TIMES, *RATIOS), rows, figures, REMARKS, sections)


def _reading_section(reading: list[dict[str, Any]]) -> Section:
    rows = tuple(
        (str(row["rank"]), *(f"{row['ms'][way]:.1f}" if way in row["ms"] else "-" for way in ("c", "torch")))
        for row in reading
    )
    return Section("Reading a slot", READING, rows, (
        "What vLLM wrote into a slot is read once, before the first step that uses it: all modules as above.",
    ))  # fmt: skip


def _row(case: dict[str, Any], ms: dict[str, float]) -> tuple[str, ...]:
    times = (f"{ms[way]:.2f}" for way in ("idle", "bound", "crma", "vllm"))
    ratios = (f"{ms['crma'] / ms['bound']:.1f}", f"{ms['vllm'] / ms['crma']:.1f}")
    return case["phase"], str(case["rows"]), str(case["slots"]), str(case["rank"]), *times, *ratios


def _measured(layers: int, repeats: int) -> dict[str, Any]:
    module = "crma_server.engine.vllm.cpu.benchmark"
    command = [sys.executable, "-m", module, "--layers", str(layers), "--repeats", str(repeats)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise ConfigError(f"{module} ended with status {done.returncode}; see its output above")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured

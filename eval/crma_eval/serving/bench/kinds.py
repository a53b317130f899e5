"""A domain served as a mixer beside the same domain as a LoRA: bytes, load time, LoRA calls, decode speed."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_eval.report import Report, Section

LORA, MIXER = "lora", "mixer"
COMMAND = (sys.executable, "-m", "crma_server.engine.vllm.kinds_benchmark")
TIMEOUT_S = 1200
NAMES = {LORA: "LoRA, rank 8 on five linears", MIXER: "mixer, rank 16"}

Found = Mapping[str, Any]


def measure_kinds(model: Path, repeats: int, command: Sequence[str] = COMMAND) -> list[Found]:
    """What each engine found, both kinds in every repeat, in turns; each engine is a process of its own.

    Raises `ConfigError` if one fails.
    """
    found = []
    turns = [kind for repeat in range(repeats) for kind in ((LORA, MIXER), (MIXER, LORA))[repeat % 2]]
    for kind in tqdm(turns, desc="engines", unit="engine", file=sys.stderr):
        with tempfile.TemporaryDirectory() as work:
            asked = [*command, "--model", str(model), "--kind", kind, "--work", work]
            done = subprocess.run(asked, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise ConfigError(f"the engine of kind {kind} failed: {done.stderr.strip()[-500:]}")
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


def kinds_report(model: str, found: Sequence[Found]) -> Report:
    """The figures of both kinds side by side; speeds are medians over engines and rounds, with the
    extremes."""
    lora, mixer = ([each for each in found if each["kind"] == kind] for kind in (LORA, MIXER))
    counts = [step["adapters"] for step in lora[0]["decode"]]
    rows = [
        _row("adapter in the store, kB", lora, mixer, lambda each: [each["adapter_bytes"] / 1e3]),
        _row("bundle with its backbone, kB", lora, mixer, lambda each: [each["bundle_bytes"] / 1e3]),
        _row("load into the engine, ms", lora, mixer, lambda each: [each["load_ms"]["median"]]),
        _row("LoRA calls per decode step", lora, mixer, lambda each: [each["decode"][0]["calls_per_step"]]),
    ]
    for place, count in enumerate(counts):
        rows.append(
            _row(
                f"decode tokens/s, {count} requests on {count} adapters",
                lora,
                mixer,
                partial(_speeds, place),
            )
        )
    return Report(
        name="bench-kinds",
        title=f"A domain as a LoRA and as a mixer, served: {model}",
        header=("", NAMES[LORA], NAMES[MIXER], "mixer / LoRA"),
        rows=tuple(rows),
        figures={"engines": [dict(each) for each in found]},
        remarks=(
            "Every bundle carries a folded backbone of rank 16 besides: the LoRA's stands alone on the "
            "residual stream, the mixer's ranks stand beside it (32 in all). The engine has LoRA on what the "
            "kind uses alone, as crma-serve asks of vLLM (--lora-target-modules).",
            "The adapters are random: this is about speed and size, not about answers. A decode step's time "
            "is what an answer of 40 tokens takes beyond one of 8, all requests in one batch, one thread, "
            "float32, nothing compiled, no server around the engine.",
            f"Medians over {len(lora)} engines of each kind in turns, extremes in brackets.",
        ),
        sections=(_engines(found),),
    )


def _row(
    what: str, lora: Sequence[Found], mixer: Sequence[Found], figures: Callable[[Found], list[float]]
) -> tuple[str, ...]:
    values = [[value for each in kind for value in figures(each)] for kind in (lora, mixer)]
    middle = [median(each) for each in values]
    return (what, *(_text(each) for each in values), f"{middle[1] / middle[0]:.2f}")


def _speeds(place: int, each: Found) -> list[float]:
    speeds: list[float] = each["decode"][place]["tokens_per_s"]
    return speeds


def _text(values: Sequence[float]) -> str:
    if min(values) == max(values):
        return f"{values[0]:,.0f}"
    return f"{median(values):,.1f} ({min(values):,.1f} to {max(values):,.1f})"


def _engines(found: Sequence[Found]) -> Section:
    rows = tuple(
        (
            each["kind"],
            ", ".join(each["modules"]),
            *(f"{median(step['tokens_per_s']):.1f}" for step in each["decode"]),
        )
        for each in found
    )
    header = ("engine", "LoRA on", *(f"tokens/s at {step['adapters']}" for step in found[0]["decode"]))
    return Section("Engine by engine, in their order", header, rows)

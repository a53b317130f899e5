import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from vllm import ModelRegistry
from vllm.platforms import current_platform

from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import resolve_base_model
from crma_adapters.models.chat_template import DEFAULT_CHAT_TEMPLATE
from crma_server.engine.vllm.serve import Needs, parse_flags
from crma_server.releases.snapshot import Demand

DEMAND = Demand(4, frozenset({"v_proj", "residual_mixer"}))

pytestmark = pytest.mark.skipif(not current_platform.is_cpu(), reason="these defaults are for the CPU engine")


@pytest.fixture
def needs() -> Needs:
    return Needs(resolve_base_model("smollm2-135m-instruct"), adapters=5, demand=DEMAND)


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
    assert not args.hf_overrides
    served = ModelRegistry.models["LlamaForCausalLM"]
    assert (served.module_name, served.class_name) == (
        "crma_server.engine.vllm.models",
        "CrmaLlamaForCausalLM",
    )
    assert Path(args.model) == needs.base.path


def test_more_slots_than_the_store_needs_bring_as_many_adapters_in_memory(needs: Needs) -> None:
    assert parse_flags([], needs).max_cpu_loras == 22
    assert parse_flags(["--max-loras", "32"], needs).max_cpu_loras == 32
    assert parse_flags(["--max-cpu-loras", "9"], needs).max_cpu_loras == 9


def test_lora_goes_where_the_adapters_are_and_the_user_may_say_otherwise(needs: Needs) -> None:
    assert parse_flags([], needs).lora_target_modules == ["residual_mixer", "v_proj"]
    more = ["residual_mixer", "v_proj", "q_proj"]
    assert parse_flags(["--lora-target-modules", *more], needs).lora_target_modules == more
    assert parse_flags(["--lora-target-modules", "all"], needs).lora_target_modules is None
    with pytest.raises(
        ConfigError, match="--lora-target-modules q_proj v_proj leaves out residual_mixer, which"
    ):
        parse_flags(["--lora-target-modules", "q_proj", "v_proj"], needs)


def test_a_store_without_crma_is_served_by_vllms_own_model(needs: Needs) -> None:
    plain = replace(needs, demand=Demand(16, frozenset({"v_proj"})))
    args = parse_flags([], plain)
    assert not args.hf_overrides and (args.max_lora_rank, args.lora_target_modules) == (16, ["v_proj"])
    assert parse_flags([], replace(needs, demand=Demand(17, DEMAND.modules))).max_lora_rank == 32
    with pytest.raises(ConfigError, match="--max-lora-rank 16 is below the store's largest rank 17"):
        parse_flags(["--max-lora-rank", "16"], replace(needs, demand=Demand(17)))


def test_a_base_without_a_chat_template_is_served_with_the_default_one(needs: Needs, tmp_path: Path) -> None:
    assert parse_flags([], needs).chat_template is None
    folder = tmp_path / "bare"
    folder.mkdir()
    for path in needs.base.path.iterdir():
        if "template" not in path.name and path.name != "tokenizer_config.json":
            (folder / path.name).symlink_to(path)
    config = json.loads((needs.base.path / "tokenizer_config.json").read_bytes())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    bare = replace(needs, base=replace(needs.base, path=folder))
    assert parse_flags([], bare).chat_template == DEFAULT_CHAT_TEMPLATE
    assert parse_flags(["--chat-template", "{{ x }}"], bare).chat_template == "{{ x }}"

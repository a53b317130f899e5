"""What is used of vLLM, held against the version that is installed and against one that lacks it."""

from pathlib import Path

import pytest
from vllm.platforms import current_platform

from crma_adapters.errors import ConfigError
from crma_server.engine.vllm import compat
from crma_server.engine.vllm.compat import Use

DOCS = Path(__file__).parents[3] / "docs" / "engine.md"


def test_the_installed_version_has_everything() -> None:
    assert list(compat.faults(compat.EVERYTHING)) == []
    assert compat.installed_version().startswith(compat.TESTED)


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (Use("vllm.nowhere:Thing", ""), "vllm.nowhere:Thing is not there"),
        (Use("vllm.lora.model_manager:LoRAModelManager.enable_adapter", ""), "enable_adapter is not there"),
        (
            Use("vllm.lora.model_manager:LoRAModelManager.activate_adapter", "", ("lora_id", "slot")),
            "activate_adapter takes no slot",
        ),
        (
            Use("vllm.lora.model_manager:LoRAModelManager", "", fields=("modules", "slot_to_id")),
            "LoRAModelManager has no slot_to_id",
        ),
    ],
)
def test_what_is_missing_is_one_sentence_at_the_start(
    monkeypatch: pytest.MonkeyPatch, use: Use, said: str
) -> None:
    monkeypatch.setattr(compat, "SERVER", (*compat.SERVER, use))
    with pytest.raises(ConfigError) as error:
        compat.check("LlamaForCausalLM", cpu=current_platform.is_cpu())
    assert said in str(error.value)
    assert "\n" not in str(error.value) and "expected 0.32" in str(error.value)


def test_a_version_nobody_tried_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compat.check("LlamaForCausalLM", cpu=current_platform.is_cpu())
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(compat, "installed_version", lambda: "0.33.1")
    compat.check("LlamaForCausalLM", cpu=current_platform.is_cpu())
    assert "vLLM 0.33.1 has all that is used of it, but was not tested" in capsys.readouterr().err


def test_the_documentation_lists_it() -> None:
    assert compat.table() in DOCS.read_text(encoding="utf-8")

"""Compiling the model on a CPU with LoRA on, which vLLM 0.32 rules out.

vLLM does so because its own CPU kernel cannot be traced; this project's can (`op`). Compiling
takes minutes, so it happens only where it is asked for.

Owns: the switch, and undoing vLLM's ban. Knows nothing of the kernel.
"""

import os
from typing import Any

VARIABLE = "CRMA_CPU_COMPILE"
# vLLM 0.32 keeps a whole compiled model but cannot load it again on a CPU (no attribute 'finalize_loading');
# without that it takes the parts that inductor keeps, in a third of the time.
ENVIRONMENT = {VARIABLE: "1", "VLLM_USE_AOT_COMPILE": "0"}


def ask_for_compiling() -> None:
    """Have the engines that this process starts compile their models, in every process of theirs."""
    os.environ.update(ENVIRONMENT | os.environ)


def allow_compiling(platform: Any) -> None:
    """Let vLLM's CPU platform class compile with LoRA where that is asked for. Idempotent.

    `--enforce-eager` still holds: the platform is asked what it would do without LoRA.
    """
    update: Any = platform.check_and_update_config.__func__
    if hasattr(update, "compiles_lora"):
        return

    def check_and_update_config(cls: Any, vllm_config: Any) -> None:
        lora_config = vllm_config.lora_config
        if lora_config is None or os.environ.get(VARIABLE) != "1":
            update(cls, vllm_config)
            return
        vllm_config.lora_config = None
        try:
            update(cls, vllm_config)
        finally:
            vllm_config.lora_config = lora_config

    check_and_update_config.compiles_lora = True  # type: ignore[attr-defined]
    platform.check_and_update_config = classmethod(check_and_update_config)

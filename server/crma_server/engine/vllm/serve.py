"""Starting vLLM's own server with this project's defaults and endpoints: its flags (ours are only other
defaults), its environment, and the call into its `serve` command."""

import importlib.metadata
import json
import os
import secrets
from argparse import Namespace
from dataclasses import dataclass
from typing import Any

import torch
from vllm import envs
from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.entrypoints.launchers.api_server import entry
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
from vllm.logger import configure_logging_from_args
from vllm.platforms import current_platform
from vllm.utils.argparse_utils import FlexibleArgumentParser

from crma_adapters.errors import ConfigError
from crma_adapters.lora.lora_files import MIXER
from crma_adapters.models.base_model import BaseModel
from crma_adapters.models.chat_template import DEFAULT_CHAT_TEMPLATE
from crma_server.engine.vllm import compat
from crma_server.engine.vllm.cpu.compile import ask_for_compiling
from crma_server.engine.vllm.plugin import (
    CRMA_MODELS,
    VARIABLE,
    crma_architecture,
    hush_chatter,
    register,
    stoppable,
)
from crma_server.releases.plan import ReleasePlan
from crma_server.releases.snapshot import Demand
from crma_server.settings import Settings

PLUGIN = "crma"
# For --lora-target-modules: what vLLM does without that flag.
ALL_MODULES = "all"
# vllm.config.lora.MaxLoRARanks
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# More slots cost memory for every adapted layer; vLLM swaps adapters through them.
MAX_SLOTS = 8
# Adapters kept loaded beyond the slots; the others load when they are asked for.
MAX_RESIDENT = 64
CPU_MAX_MODEL_LEN = 8192
CPU_KV_CACHE_BYTES = 2 * 2**30
# vLLM's own default cuts every answer off when the server is told to stop.
SHUTDOWN_TIMEOUT_S = 30


@dataclass(frozen=True)
class Needs:
    """What the store asks of the engine."""

    base: BaseModel
    adapters: int
    demand: Demand


def parse_flags(argv: list[str], needs: Needs) -> Namespace:
    """vLLM's flags, with defaults that suit the store; what the user gives wins. Unknown ones exit with 2."""
    architectures = _config(needs.base).get("architectures") or [""]
    compat.check(str(architectures[0]), cpu=current_platform.is_cpu())
    cli_env_setup()
    parser = make_arg_parser(
        FlexibleArgumentParser(prog="crma-serve", usage="crma-serve --adapters DIR [any vllm serve flag]")
    )
    parser.set_defaults(**_defaults(needs))
    args: Namespace = parser.parse_args(["--model", str(needs.base.path), *argv])
    if args.model_tag is not None:
        raise ConfigError(f"unexpected argument {args.model_tag!r}: pass the base model as --model")
    if args.max_cpu_loras is None:
        args.max_cpu_loras = max(args.max_loras, _resident(needs))
    if args.lora_target_modules == [ALL_MODULES]:
        args.lora_target_modules = None
    _check(args, needs)
    _serve_crma_models(args, needs)
    configure_logging_from_args(args)
    validate_parsed_serve_args(args)
    return args


def serve(args: Namespace, plan: ReleasePlan, settings: Settings) -> None:
    """Run vLLM's server until it is stopped."""
    allow_plugin()
    if settings.compile:
        ask_for_compiling()
    # vLLM hands its arguments to every API server process it starts, and so these get there too.
    args.crma = plan
    args.crma_settings = settings
    # Our guard takes this back. If it were ever missing (vLLM passes over a plugin that it cannot import),
    # vLLM's own would ask for a key that nobody has.
    args.api_key = [secrets.token_urlsafe()]
    os.environ[VARIABLE] = "1"
    hush_chatter()
    entry.build_async_engine_client = stoppable(entry.build_async_engine_client)
    ServeSubcommand.cmd(args)


def allow_plugin() -> None:
    """Let vLLM load our endpoints: it loads only endpoint plugins named in VLLM_PLUGINS.

    Naming one shuts out every plugin not named, of any kind, so all it would have loaded are named with it.
    """
    names = envs.VLLM_PLUGINS
    if names is None:
        points = importlib.metadata.entry_points()
        groups = [g for g in points.groups if g.startswith("vllm.") and g != "vllm.endpoint_plugins"]
        names = [point.name for group in groups for point in points.select(group=group)]
    os.environ["VLLM_PLUGINS"] = ",".join(dict.fromkeys([*names, PLUGIN]))


def _defaults(needs: Needs) -> dict[str, Any]:
    # The backbone alone too; and while a release replaces another, the old version beside the new one that is
    # warmed up, which would otherwise wait for the old one's answers to end.
    slots = min(needs.adapters + 1 + 2, MAX_SLOTS)
    defaults: dict[str, Any] = {
        "host": "127.0.0.1",
        "served_model_name": [needs.base.name],
        "enable_lora": True,
        "max_loras": slots,
        "max_lora_rank": next(rank for rank in LORA_RANKS if rank >= needs.demand.rank),
        "lora_target_modules": sorted(needs.demand.modules) or None,
        "uvicorn_log_level": "warning",
        "shutdown_timeout": SHUTDOWN_TIMEOUT_S,
        "use_tqdm_on_load": False,
    }
    if not _has_chat_template(needs.base):
        defaults["chat_template"] = DEFAULT_CHAT_TEMPLATE
    if current_platform.is_cpu():
        defaults["dtype"] = _cpu_dtype()
        defaults["max_model_len"] = min(CPU_MAX_MODEL_LEN, _context_length(needs.base))
        if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
            defaults["kv_cache_memory_bytes"] = CPU_KV_CACHE_BYTES
    return defaults


def _has_chat_template(base: BaseModel) -> bool:
    if any((base.path / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    config = base.path / "tokenizer_config.json"
    return config.is_file() and bool(json.loads(config.read_bytes()).get("chat_template"))


def _resident(needs: Needs) -> int:
    """Each adapter with and without CRMA, and the backbone alone; twice, for the old and the new release."""
    return min(2 * (2 * needs.adapters + 1), MAX_RESIDENT)


def _cpu_dtype() -> str:
    """float32 where the CPU would emulate bfloat16, several times as slowly; else the model's own."""
    return "auto" if "AVX512" in torch.backends.cpu.get_cpu_capability() else "float32"


def _check(args: Namespace, needs: Needs) -> None:
    if not args.enable_lora:
        raise ConfigError("--no-enable-lora leaves no adapters to serve: expected LoRA on; remove the flag")
    if args.max_lora_rank < needs.demand.rank:
        raise ConfigError(
            f"--max-lora-rank {args.max_lora_rank} is below the store's largest rank {needs.demand.rank}: "
            f"expected "
            "at least that; raise or remove the flag"
        )
    given = args.lora_target_modules
    if given is not None and (missing := sorted(needs.demand.modules - set(given))):
        raise ConfigError(
            f"--lora-target-modules {' '.join(given)} leaves out {', '.join(missing)}, which the store's "
            f"adapters "
            f"adapt: expected those too; add them, give {ALL_MODULES!r}, or remove the flag"
        )
    if args.lora_modules:
        raise ConfigError(
            "--lora-modules would serve adapters beside the store: expected every adapter in it; put the "
            "folder into the store instead"
        )
    if envs.VLLM_ALLOW_RUNTIME_LORA_UPDATING:
        raise ConfigError(
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING lets clients load any folder of this machine: expected "
            "adapters from the store alone; unset it"
        )
    if args.grpc or envs.VLLM_USE_RUST_FRONTEND:
        raise ConfigError(
            "--grpc and VLLM_USE_RUST_FRONTEND serve without routing: expected vLLM's HTTP server; drop them"
        )


def _serve_crma_models(args: Namespace, needs: Needs) -> None:
    """Have every process of the engine serve the model's own architecture with the class that has CRMA's
    modules, unless the user named another. Its name stays: vLLM compares names of architectures."""
    given = args.hf_overrides
    if MIXER in needs.demand.modules and not (isinstance(given, dict) and "architectures" in given):
        crma_architecture(_config(needs.base).get("architectures") or [])
        os.environ[CRMA_MODELS] = "1"
        register()  # vLLM may have run it in this process before this was known


def _context_length(base: BaseModel) -> int:
    config = _config(base)
    text = config.get("text_config", {})
    return int(config.get("max_position_embeddings", text.get("max_position_embeddings", CPU_MAX_MODEL_LEN)))


def _config(base: BaseModel) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((base.path / "config.json").read_bytes())
    return document

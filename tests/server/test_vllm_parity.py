"""The engine answers what training computed: vLLM against transformers, PEFT and CRMA's own modules, in float32.

Per family one engine and one batch with base, LoRA, LoRA + CRMA and CRMA requests, every LoRA slot in use.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from crma_adapters.attach import attach
from crma_adapters.backbone import save_backbone
from crma_adapters.base_model import resolve_base_model
from crma_adapters.bundle import compose_bundle
from crma_adapters.config import Mode
from crma_adapters.crma import Crma
from crma_server.architectures import crma_architecture

pytestmark = pytest.mark.engine

RANK = 8
PROMPT_LENGTHS = (5, 12, 23)
MAX_TOKENS = 16
TOLERANCE = 1e-3

SIZES: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 256,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GEMMA = {"head_dim": 64, "query_pre_attn_scalar": 64, "sliding_window": 16}
TINY = {
    "llama": LlamaConfig(**SIZES),
    "mistral": MistralConfig(**SIZES, head_dim=64, sliding_window=None),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES, head_dim=64),
    "gemma2": Gemma2Config(**SIZES, **GEMMA),
    "gemma3": Gemma3TextConfig(**SIZES, **GEMMA),
}
"""Small, but with what sets each family apart: biases, head norms, windows shorter than the text."""


@dataclass(frozen=True)
class Kind:
    """A kind of request, by what is on."""

    lora: bool
    crma: bool


KINDS = {
    "base": Kind(lora=False, crma=False),
    "lora": Kind(lora=True, crma=False),
    "both": Kind(lora=True, crma=True),
    "crma": Kind(lora=False, crma=True),
}


@dataclass(frozen=True)
class Trained:
    """A model with a LoRA and a CRMA as training leaves them, and the folders that the engine reads."""

    folder: Path
    architecture: str
    model: Any
    crma: Crma
    adapters: dict[str, Path | None]

    def log_probabilities(self, kind: str, tokens: list[int]) -> torch.Tensor:
        """(T, vocab) float32, from transformers with the modules used in training."""
        with torch.inference_mode(), ExitStack() as stack:
            if not KINDS[kind].lora:
                stack.enter_context(self.model.disable_adapter())
            if KINDS[kind].crma:
                stack.enter_context(attach(self.model, self.crma))
            logits: torch.Tensor = self.model(torch.tensor([tokens])).logits[0]
            return logits.log_softmax(-1)

    def prompts(self) -> list[list[int]]:
        generator = torch.Generator().manual_seed(3)
        vocabulary = min(self.model.config.vocab_size, 4096)
        return [torch.randint(3, vocabulary, (n,), generator=generator).tolist() for n in PROMPT_LENGTHS]


def tiny_model(family: str, folder: Path) -> Path:
    """A random model of the family, its weights large enough that its predictions are far from uniform."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(TINY[family])
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.08)
    model.save_pretrained(folder)
    return folder


def train_nothing(base: Path, folder: Path, mode: Mode) -> Trained:
    """A LoRA on every linear layer and a CRMA, random, and large enough for every kind to answer differently."""
    torch.manual_seed(1)
    base_model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    architecture = crma_architecture(base_model.config.architectures)
    crma = Crma.from_model(base_model, mode=mode)
    for name, parameter in crma.named_parameters():
        if name.endswith("log_alpha"):
            torch.nn.init.constant_(parameter, math.log(0.3))
        elif name.endswith("logits"):
            torch.nn.init.normal_(parameter, std=2.0)
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base_model, config).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5 / base_model.config.hidden_size)
    model.save_pretrained(folder / "peft")
    save_backbone(crma, folder / "backbone", base_model=base.name, base_fingerprint="0" * 64)
    adapters: dict[str, Path | None] = {"base": None, "lora": folder / "peft"}
    for kind, lora in (("both", folder / "peft"), ("crma", None)):
        compose_bundle(lora=lora, backbone=folder / "backbone", out=folder / kind)
        adapters[kind] = folder / kind
    return Trained(base, architecture, model, crma, adapters)


def run_engine(folder: Path, job: dict[str, Any]) -> Any:
    job_path, answers_path = folder / "job.json", folder / "answers.json"
    job_path.write_text(json.dumps(job))
    script = Path(__file__).with_name("engine_run.py")
    subprocess.run([sys.executable, script, job_path, answers_path], check=True, timeout=600)
    return json.loads(answers_path.read_text())


def engine(trained: Trained, **changes: Any) -> dict[str, Any]:
    return {
        "model": str(trained.folder),
        "hf_overrides": {"architectures": [trained.architecture]},
        "dtype": "float32",
        "enforce_eager": True,
        "max_model_len": 128,
        "max_num_seqs": 16,
        "max_num_batched_tokens": 128,  # less than the prompts together: prefill and decode share steps
        "enable_lora": True,
        "max_loras": sum(adapter is not None for adapter in trained.adapters.values()),
        "max_lora_rank": RANK,
        **changes,
    }


@pytest.fixture(
    scope="module",
    params=[
        ("smollm2-135m-instruct", "residual"),
        ("gemma-3-270m", "residual"),
        ("mistral", "residual"),
        ("qwen2", "nonexpansive"),
        ("qwen3", "residual"),
        ("gemma2", "nonexpansive"),
    ],
    ids=lambda param: param[0],
)
def parity(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """(trained, [(kind, prompt, answer)]) of one family: all kinds with all prompts in one batch."""
    name, mode = request.param
    folder = tmp_path_factory.mktemp(name)
    base = tiny_model(name, folder / "base") if name in TINY else resolve_base_model(name).path
    trained = train_nothing(base, folder, mode)
    asked = [(kind, prompt) for prompt in trained.prompts() for kind in KINDS]
    batch = [{"prompt": prompt, "adapter": _text(trained.adapters[kind])} for kind, prompt in asked]
    job = {"engine": engine(trained), "batches": [batch], "max_tokens": MAX_TOKENS, "prompt_logprobs": True}
    [answers] = run_engine(folder, job)
    yield trained, [(kind, prompt, answer) for (kind, prompt), answer in zip(asked, answers, strict=True)]


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def test_engine_answers_what_transformers_computes(parity: Any, record_property: Any) -> None:
    trained, answers = parity
    worst = dict.fromkeys(KINDS, 0.0)
    for kind, prompt, answer in answers:
        expected = trained.log_probabilities(kind, prompt + answer["tokens"])
        given = [*answer["prompt_logprobs"]]
        wanted = [expected[i, token].item() for i, token in enumerate(prompt[1:])]
        for step, (token, logprobs) in enumerate(zip(answer["tokens"], answer["logprobs"], strict=True)):
            position = len(prompt) - 1 + step
            assert expected[position].argmax() == token, f"{kind}: token {step}"
            given += logprobs.values()
            wanted += [expected[position, int(likely)].item() for likely in logprobs]
        worst[kind] = max(worst[kind], (torch.tensor(given) - torch.tensor(wanted)).abs().max().item())
    print({kind: f"{difference:.1e}" for kind, difference in worst.items()})
    assert max(worst.values()) < TOLERANCE, worst


def test_kinds_answer_differently(parity: Any) -> None:
    trained, answers = parity
    prompt = answers[0][1]
    expected = {kind: trained.log_probabilities(kind, prompt)[-1] for kind in KINDS}
    for one, other in combinations(KINDS, 2):
        assert (expected[one] - expected[other]).abs().max() > 100 * TOLERANCE, (one, other)

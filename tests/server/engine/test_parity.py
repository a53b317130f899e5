"""The engine answers what training computed: vLLM against transformers with PEFT and CRMA, in float32.

Per family one engine and one batch with requests for the base, a LoRA, a mixer, backbones of two versions and
forms, and for sums of them, every LoRA slot in use.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from crma_adapters.crma.attach import attach
from crma_adapters.crma.backbone import save_backbone, save_mixer
from crma_adapters.crma.crma import Crma
from crma_adapters.lora.bundle import compose_bundle
from crma_adapters.models.base_model import resolve_base_model
from crma_server.engine.vllm.cpu.compile import VARIABLE
from crma_server.engine.vllm.plugin import crma_architecture

pytestmark = pytest.mark.engine

RANK = 8
PROMPT_LENGTHS = (5, 12, 23)
MAX_TOKENS = 16
TOLERANCE = 1e-3
# What each kind of request runs on; `older` is a backbone of form 1, `newest` one of form 2.
KINDS: dict[str, tuple[str, ...]] = {
    "base": (),
    "lora": ("lora",),
    "newest": ("newest",),
    "lora on newest": ("lora", "newest"),
    "mixer": ("mixer",),
    "mixer on older": ("mixer", "older"),
    "lora and mixer on older": ("lora", "mixer", "older"),
    "lora and mixer on newest": ("lora", "mixer", "newest"),
}
MIXING_RANKS = {"older": 4, "newest": 6, "mixer": 5}

SIZES: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 256,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
# Small, but with what sets each family apart: biases, head norms, a window shorter than the text.
TINY: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"head_dim": 64, "sliding_window": None},
    "qwen2": {},
    "qwen3": {"head_dim": 64},
    "gemma2": {"head_dim": 64, "query_pre_attn_scalar": 64, "sliding_window": 16},
}


@dataclass(frozen=True)
class Trained:
    """A model with a LoRA and CRMAs as training leaves them, and the folders that the engine reads."""

    folder: Path
    model: Any
    crmas: dict[str, Crma]
    adapters: dict[str, Path | None]

    def log_probabilities(self, kind: str, tokens: list[int]) -> torch.Tensor:
        """(T, vocab) float32, from transformers with the modules used in training."""
        with torch.inference_mode(), ExitStack() as stack:
            if "lora" not in KINDS[kind]:
                stack.enter_context(self.model.disable_adapter())
            if crmas := [self.crmas[part] for part in KINDS[kind] if part in self.crmas]:
                stack.enter_context(attach(self.model, *crmas))
            logits: torch.Tensor = self.model(torch.tensor([tokens])).logits[0]
            return logits.log_softmax(-1)

    def prompts(self) -> list[list[int]]:
        generator = torch.Generator().manual_seed(3)
        vocabulary = min(self.model.config.vocab_size, 4096)
        return [torch.randint(3, vocabulary, (n,), generator=generator).tolist() for n in PROMPT_LENGTHS]


def tiny_model(family: str, folder: Path) -> Path:
    """A random model of the family, its weights large enough that its predictions are far from uniform."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SIZES, **TINY[family]))
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.08)
    model.save_pretrained(folder)
    return folder


def train_nothing(base: Path, folder: Path) -> Trained:
    """A LoRA on every linear layer and CRMAs, random, large enough for each kind to answer differently."""
    torch.manual_seed(1)
    # Eager attention: the only one to cap Gemma-2's attention logits.
    base_model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    crmas = {part: random_crma(base_model, part) for part in MIXING_RANKS}
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base_model, config).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=3 / base_model.config.hidden_size)
    adapter, backbones = folder / "adapter", folder / "backbones"
    model.save_pretrained(adapter)
    facts = {"base_model": base.name, "base_fingerprint": "0" * 64}
    save_mixer(crmas["mixer"], adapter, **facts)
    for version in ("older", "newest"):
        save_backbone(crmas[version], backbones / version, **facts)
    adapters: dict[str, Path | None] = {"base": None}
    for kind, parts in KINDS.items():
        if parts:
            adapters[kind] = folder / "bundles" / kind
            compose_bundle(
                lora=adapter if "lora" in parts else None,
                mixer=adapter if "mixer" in parts else None,
                backbone=next((backbones / part for part in ("older", "newest") if part in parts), None),
                out=folder / "bundles" / kind,
            )
    return Trained(base, model, crmas, adapters)


def random_crma(model: Any, part: str) -> Crma:
    """A CRMA as far from its start as training would take it."""
    rank = MIXING_RANKS[part]
    crma = Crma.from_model(model, rank=rank, seed=rank)
    if part == "older":
        config = replace(crma.config, form=1)
        crma = Crma(config, [crma.block(i).maps()[0].mT.contiguous() for i in range(config.num_layers)])
    for name, parameter in crma.named_parameters():
        if name.endswith("log_alpha"):
            torch.nn.init.constant_(parameter, math.log(0.3))
        elif name.endswith("logits"):
            torch.nn.init.normal_(parameter, std=2.0)
        elif name.endswith("write") and part != "older":
            torch.nn.init.normal_(parameter, std=0.3 * parameter.shape[0] ** -0.5)
    return crma


@dataclass(frozen=True)
class Answer:
    """What the engine answered to one request; log-probabilities as in engine_run.py."""

    kind: str
    prompt: list[int]
    tokens: list[int]
    logprobs: list[dict[str, float]]
    prompt_logprobs: list[float]


def ask(
    trained: Trained, folder: Path, batches: list[list[tuple[str, list[int]]]], **engine: Any
) -> list[list[Answer]]:
    """Start an engine for the model, give it each batch of (kind, prompt), return its answers."""
    job = {
        "engine": {
            "model": str(trained.folder),
            "hf_overrides": {"architectures": [crma_architecture(trained.model.config.architectures)]},
            "dtype": "float32",
            "enforce_eager": True,
            "max_model_len": 128,
            "max_num_seqs": 16,
            "max_num_batched_tokens": 128,  # less than the prompts together: prefill and decode share steps
            "enable_lora": True,
            "max_loras": len(KINDS) - 1,
            "max_lora_rank": 16,  # of sums of ranks: 5 + 6
        }
        | engine,
        "batches": [
            [{"prompt": prompt, "adapter": trained.adapters[kind]} for kind, prompt in batch]
            for batch in batches
        ],
        "max_tokens": MAX_TOKENS,
        "prompt_logprobs": True,
    }
    (folder / "job.json").write_text(json.dumps(job, default=str))
    script = Path(__file__).with_name("engine_run.py")
    subprocess.run(
        [sys.executable, script, folder / "job.json", folder / "answers.json"], check=True, timeout=800
    )
    answers = json.loads((folder / "answers.json").read_text())
    return [
        [Answer(kind, prompt, **fields) for (kind, prompt), fields in zip(batch, given, strict=True)]
        for batch, given in zip(batches, answers, strict=True)
    ]


def worst_difference(trained: Trained, answers: list[Answer]) -> float:
    """The largest difference of a log-probability. Asserts that every token is the likeliest."""
    worst = dict.fromkeys(KINDS, 0.0)
    for answer in answers:
        expected = trained.log_probabilities(answer.kind, answer.prompt + answer.tokens)
        given = list(answer.prompt_logprobs)
        wanted = [expected[i, token].item() for i, token in enumerate(answer.prompt[1:])]
        for step, (token, likeliest) in enumerate(zip(answer.tokens, answer.logprobs, strict=True)):
            row = expected[len(answer.prompt) - 1 + step]
            assert row.argmax() == token, f"{answer.kind}: token {step}"
            given += likeliest.values()
            wanted += [row[int(other)].item() for other in likeliest]
        difference = (torch.tensor(given) - torch.tensor(wanted)).abs().max().item()
        worst[answer.kind] = max(worst[answer.kind], difference)
    print({kind: f"{difference:.1e}" for kind, difference in worst.items()})
    return max(worst.values())


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the engine: these products are small, and the cores may be shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Parity:
    """One family's answers: to all kinds with all prompts in one batch, and to the base requests alone."""

    trained: Trained
    mixed: list[Answer]
    base_alone: list[Answer]


@pytest.fixture(
    scope="module", params=["smollm2-135m-instruct", "gemma-3-270m", "mistral", "qwen2", "qwen3", "gemma2"]
)
def parity(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Parity:
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    base = tiny_model(name, folder / "base") if name in TINY else resolve_base_model(name).path
    trained = train_nothing(base, folder)
    mixed = [(kind, prompt) for prompt in trained.prompts() for kind in KINDS]
    alone = [("base", prompt) for prompt in trained.prompts()]
    return Parity(trained, *ask(trained, folder, [mixed, alone]))


def test_engine_answers_what_transformers_computes(parity: Parity) -> None:
    assert worst_difference(parity.trained, parity.mixed) < TOLERANCE


def test_kinds_answer_differently(parity: Parity) -> None:
    prompt = parity.mixed[0].prompt
    expected = {kind: parity.trained.log_probabilities(kind, prompt)[-1] for kind in KINDS}
    for one, other in combinations(KINDS, 2):
        assert (expected[one] - expected[other]).abs().max() > 100 * TOLERANCE, (one, other)


def test_base_requests_do_not_notice_the_adapters(parity: Parity) -> None:
    beside_adapters = [answer for answer in parity.mixed if answer.kind == "base"]
    for alone, beside in zip(parity.base_alone, beside_adapters, strict=True):
        assert alone.tokens == beside.tokens
        for one, other in zip(alone.logprobs, beside.logprobs, strict=True):
            # Not exact: products of other shapes sum in another order.
            assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize("modules", [["residual_mixer"], ["q_proj", "up_proj", "residual_mixer"]])
def test_an_engine_with_lora_on_some_modules_alone(tmp_path: Path, modules: list[str]) -> None:
    """What crma-serve asks of vLLM where a store's adapters are mixers, or leave most linear layers alone."""
    trained = train_nothing(tiny_model("llama", tmp_path / "base"), tmp_path)
    kinds = [kind for kind, parts in KINDS.items() if "lora" not in parts]
    batch = [(kind, prompt) for prompt in trained.prompts() for kind in kinds]
    [answers] = ask(trained, tmp_path, [batch], lora_target_modules=modules)
    assert worst_difference(trained, answers) < TOLERANCE


def test_adapters_that_take_turns_in_one_slot_leave_nothing_behind(tmp_path: Path) -> None:
    trained = train_nothing(tiny_model("llama", tmp_path / "base"), tmp_path)
    prompt = trained.prompts()[0]
    turns = [
        [(kind, prompt)]
        for kind in ("lora and mixer on older", "lora", "newest", "base", "mixer on older", "newest", "lora")
    ]
    answers = ask(trained, tmp_path, turns, max_loras=1, max_cpu_loras=2)
    assert worst_difference(trained, [answer for [answer] in answers]) < TOLERANCE


@pytest.mark.parametrize(
    ("family", "backend"),
    [("llama", "inductor"), ("gemma2", "eager")],
)
def test_engine_answers_the_same_compiled(
    family: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced whole by vLLM; one family through C++, which takes long, one as the traced graph is."""
    monkeypatch.setenv(VARIABLE, "1")
    if backend == "eager":
        monkeypatch.setenv("VLLM_CPU_CI_ENV", "1")
    trained = train_nothing(tiny_model(family, tmp_path / "base"), tmp_path)
    mixed = [(kind, prompt) for prompt in trained.prompts() for kind in KINDS]
    # The engine's second batch meets adapters in other slots than those it was traced with.
    answers = ask(trained, tmp_path, [mixed, mixed[1:]], enforce_eager=False)
    assert worst_difference(trained, [answer for batch in answers for answer in batch]) < TOLERANCE

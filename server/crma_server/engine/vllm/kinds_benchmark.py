"""What a domain costs to serve as a mixer and as a LoRA: bytes, load time, LoRA calls and speed of a
decode step.

    python -m crma_server.engine.vllm.kinds_benchmark --model FOLDER --kind mixer --work DIR

One engine, the same for either kind but for what the bundles are; writes one JSON object to standard output.
The adapters are random, which changes no figure: nothing here depends on what the numbers are.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # so that calls can be counted

import torch
from safetensors.torch import save_file

from crma_adapters.crma.backbone import save_backbone, save_mixer
from crma_adapters.crma.config import CrmaConfig
from crma_adapters.crma.crma import Crma
from crma_adapters.lora.bundle import compose_bundle
from crma_adapters.lora.lora_files import CONFIG_FILE, MIXER, WEIGHTS_FILE
from crma_server.engine.vllm.cpu.punica import GroupedPunicaWrapper
from crma_server.engine.vllm.plugin import crma_architecture

KINDS = ("lora", "mixer")
LORA_RANK, MIXING_RANK = 8, 16
LORA_MODULES = ("q_proj", "v_proj", "gate_proj", "up_proj", "down_proj")
COUNTS = (8, 32)
SHORT, LONG = 8, 40
PROMPT_TOKENS = 16


class Maker:
    """Random adapters for the model in `folder`, and their bundles with one random backbone."""

    def __init__(self, folder: Path, work: Path) -> None:
        config = json.loads((folder / "config.json").read_bytes())
        self._config, self._work = config.get("text_config", config), work
        self._backbone = work / "backbone"
        save_backbone(self._crma(0), self._backbone, base_model="benchmark", base_fingerprint="0" * 64)

    def bundle(self, kind: str, seed: int) -> tuple[Path, Path]:
        """The adapter's folder, and that of its bundle with the backbone."""
        adapter = self._work / f"{kind}-{seed}" / "adapter"
        adapter.mkdir(parents=True)
        if kind == "mixer":
            save_mixer(self._crma(seed), adapter, base_model="benchmark", base_fingerprint="0" * 64)
        else:
            self._lora(seed, adapter)
        out = adapter.with_name("bundle")
        parts = {"lora" if kind == "lora" else "mixer": adapter, "backbone": self._backbone}
        compose_bundle(**parts, out=out)
        return adapter, out

    def _crma(self, seed: int) -> Crma:
        sizes = CrmaConfig(self._config["hidden_size"], self._config["num_hidden_layers"], rank=MIXING_RANK)
        draw = torch.Generator().manual_seed(seed)
        starts = [torch.randn(sizes.hidden_size, sizes.rank, generator=draw) for _ in range(sizes.num_layers)]
        crma = Crma(sizes, [torch.linalg.qr(start).Q for start in starts])
        with torch.no_grad():
            for name, parameter in crma.named_parameters():
                if name.endswith("write"):
                    parameter.copy_(1e-3 * torch.randn(parameter.shape, generator=draw))
        return crma

    def _lora(self, seed: int, folder: Path) -> None:
        draw = torch.Generator().manual_seed(seed)
        tensors = {}
        for stem, (inputs, outputs) in self._linears():
            tensors[f"{stem}.lora_A.weight"] = 1e-3 * torch.randn(LORA_RANK, inputs, generator=draw)
            tensors[f"{stem}.lora_B.weight"] = 1e-3 * torch.randn(outputs, LORA_RANK, generator=draw)
        save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        facts = {"peft_type": "LORA", "r": LORA_RANK, "lora_alpha": LORA_RANK, "bias": "none"}
        (folder / CONFIG_FILE).write_text(json.dumps(facts | {"target_modules": LORA_MODULES}))

    def _linears(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Each adapted linear layer with its width in and out."""
        config = self._config
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        heads = config["num_attention_heads"]
        head = config.get("head_dim") or hidden // heads
        key_value = head * config.get("num_key_value_heads", heads)
        widths = {"q_proj": (hidden, head * heads), "v_proj": (hidden, key_value)}
        widths |= {"gate_proj": (hidden, inner), "up_proj": (hidden, inner), "down_proj": (inner, hidden)}
        for layer in range(config["num_hidden_layers"]):
            for module, sizes in widths.items():
                block = "self_attn" if module in ("q_proj", "v_proj") else "mlp"
                yield f"base_model.model.model.layers.{layer}.{block}.{module}", sizes


class Calls:
    """Counts the products that the engine's LoRA layers ask for."""

    def __init__(self) -> None:
        self.count = 0
        asked = GroupedPunicaWrapper.add_lora_linear

        def counted(wrapper: Any, *given: Any, **options: Any) -> None:
            self.count += 1
            asked(wrapper, *given, **options)

        GroupedPunicaWrapper.add_lora_linear = counted  # type: ignore[assignment,method-assign]


def measure(model: Path, kind: str, work: Path, rounds: int) -> dict[str, Any]:
    """Every figure of one kind."""
    from vllm import LLM
    from vllm.lora.request import LoRARequest

    maker = Maker(model, work)
    made = [maker.bundle(kind, seed) for seed in range(1, max(COUNTS) + 1)]
    calls = Calls()
    architectures = json.loads((model / "config.json").read_bytes())["architectures"]
    modules = [MIXER] if kind == "mixer" else [*LORA_MODULES, MIXER]
    llm = LLM(
        model=str(model), hf_overrides={"architectures": [crma_architecture(architectures)]}, dtype="float32",
        enforce_eager=True, max_model_len=256, max_num_seqs=max(COUNTS), enable_lora=True,
        max_loras=max(COUNTS), max_cpu_loras=max(COUNTS), max_lora_rank=2 * MIXING_RANK,
        lora_target_modules=modules, enable_prefix_caching=False, seed=0, skip_tokenizer_init=True,
    )  # fmt: skip
    requests = [LoRARequest(f"{kind}-{n}", n, str(bundle)) for n, (_, bundle) in enumerate(made, start=1)]
    load_ms = [1000 * _seconds(partial(llm.llm_engine.add_lora, request)) for request in requests]
    steps = []
    for count in COUNTS:
        _run(llm, requests[:count], SHORT)  # the slots are filled and the caches warm
        taken = [_decode(llm, requests[:count], calls) for _ in range(rounds)]
        steps.append(
            {
                "adapters": count,
                "calls_per_step": taken[0][1],
                "tokens_per_s": [count / seconds for seconds, _ in taken],
            }
        )
    return {
        "kind": kind,
        "adapter_bytes": _size(made[0][0]),
        "bundle_bytes": _size(made[0][1]),
        "load_ms": {"median": median(load_ms), "worst": max(load_ms)},
        "modules": modules,
        "decode": steps,
    }


def _decode(llm: Any, requests: Sequence[Any], calls: Calls) -> tuple[float, float]:
    """Seconds and LoRA calls of one decode step: what a longer answer takes beyond a shorter one."""
    found = []
    for tokens in (SHORT, LONG):
        before = calls.count
        found.append((_run(llm, requests, tokens), calls.count - before))
    (short_s, few), (long_s, many) = found
    return (long_s - short_s) / (LONG - SHORT), (many - few) / (LONG - SHORT)


def _run(llm: Any, requests: Sequence[Any], tokens: int) -> float:
    """Seconds for answers of `tokens` tokens, one request with each adapter, all in one batch."""
    from vllm import SamplingParams

    starts = range(10, 10 + len(requests))
    prompts = [{"prompt_token_ids": list(range(start, start + PROMPT_TOKENS))} for start in starts]
    sampling = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False)
    return _seconds(lambda: llm.generate(prompts, sampling, lora_request=list(requests), use_tqdm=False))


def _seconds(work: Any) -> float:
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder for the adapters")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(json.dumps(measure(args.model, args.kind, args.work, args.rounds)))


if __name__ == "__main__":
    main()

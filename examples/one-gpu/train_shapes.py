"""Peak memory and tokens per second of training models of 7 and 9 billion random weights on one GPU.

    python examples/one-gpu/train_shapes.py --work /tmp/shapes --out shapes.json

Twenty steps of one row of 2,048 tokens each, in bfloat16 and in 4 bits: a LoRA and a mixer by `crma-train`'s
own loop, and the same LoRA by TRL's SFTTrainer where TRL is installed. Planned for ten minutes on one 80 GB
card; it has not been run on a GPU yet. `--shape tiny` runs on a CPU in a minute and only shows that the
script works.
"""

import argparse
import gc
import importlib.util
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
)

from crma_adapters.models.base_model import BaseModel
from crma_training.adapter import in_training
from crma_training.config import TrainConfig
from crma_training.data.tokens import Example
from crma_training.fit import fit
from crma_training.trainer.metrics import MetricsLog, read_steps
from crma_training.workbench import load_workbench

STEPS, WARM, RANK = 20, 4, 16
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
GEMMA_2_9B = {
    "hidden_size": 3584,
    "num_hidden_layers": 42,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
    "intermediate_size": 14336,
}
SHAPES: dict[str, Any] = {
    "mistral-7b": lambda: MistralConfig(),
    "gemma-2-9b": lambda: Gemma2Config(**GEMMA_2_9B),
    "tiny": lambda: LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    ),
}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def write_model(shape: str, folder: Path) -> None:
    """A model of random weights in bfloat16, with a byte-level tokenizer and a chat template."""
    config = SHAPES[shape]()
    torch.manual_seed(0)
    with torch.device(DEVICE):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>")
    wrapped.chat_template = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    wrapped.save_pretrained(folder)


def rows(vocabulary: int, length: int) -> list[list[int]]:
    """Random token ids; a quarter of each row is prompt."""
    generator = random.Random(0)
    return [[generator.randrange(vocabulary) for _ in range(length)] for _ in range(STEPS)]


def ours(folder: Path, kind: str, four_bits: bool, ids: list[list[int]]) -> dict[str, float]:
    """Training by crma-train's loop."""
    config = TrainConfig(
        adapter=kind,  # type: ignore[arg-type]
        dtype="bfloat16" if DEVICE == "cuda" else "float32",
        load_in_4bit=four_bits,
        rank=RANK,
        lora_alpha=2 * RANK,
        target_modules=LINEARS,
        mixing_rank=RANK,
        batch_size=1,
        max_length=len(ids[0]),
        gradient_checkpointing=True,
        save_steps=0,
    )
    bench = load_workbench(BaseModel(folder.name, folder, "-"), config)
    batches = [[Example.with_answer(row, len(row) // 4)] for row in ids]
    with tempfile.TemporaryDirectory() as logs, in_training(bench, 0) as adapter:
        _reset_peak()
        with MetricsLog(Path(logs), f"{folder.name}, {kind}", len(batches)) as log:
            fit(bench, adapter.groups(config), batches, log, attachment=adapter.attachment)
        steps = read_steps(Path(logs))[WARM:]
        speed = sum(step.tokens for step in steps) / sum(step.tokens / step.tokens_per_s for step in steps)
        return {"tokens_per_s": round(speed, 1), "peak_gib": _peak()}


def theirs(folder: Path, four_bits: bool, ids: list[list[int]]) -> dict[str, float]:
    """The same LoRA by TRL's SFTTrainer."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import BitsAndBytesConfig, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    settings: dict[str, Any] = {"dtype": torch.bfloat16}
    if four_bits:
        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    model = AutoModelForCausalLM.from_pretrained(folder, device_map={"": DEVICE}, **settings)
    masks = [[0] * (len(row) // 4) + [1] * (len(row) - len(row) // 4) for row in ids]
    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if DEVICE == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model,
            args=SFTConfig(
                output_dir=scratch,
                max_steps=len(ids),
                per_device_train_batch_size=1,
                gradient_checkpointing=True,
                bf16=DEVICE == "cuda",
                report_to="none",
                save_strategy="no",
                max_length=len(ids[0]),
                dataset_kwargs={"skip_prepare_dataset": True},
            ),
            train_dataset=Dataset.from_dict({"input_ids": ids, "completion_mask": masks}),
            peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=list(LINEARS)),
            callbacks=[Clock()],
        )
        _reset_peak()
        trainer.train()
    speed = len(ids[0]) * (len(times) - WARM) / (times[-1] - times[WARM - 1])
    return {"tokens_per_s": round(speed, 1), "peak_gib": _peak()}


def _reset_peak() -> None:
    gc.collect()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak() -> float:
    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if DEVICE == "cuda" else 0.0


def cases_of(folder: Path, ids: list[list[int]]) -> dict[str, Callable[[], dict[str, float]]]:
    """What is measured on one model, by name."""
    cases: dict[str, Callable[[], dict[str, float]]] = {}
    for four_bits, name in ((False, "bfloat16"), (True, "4 bits")):
        if four_bits and importlib.util.find_spec("bitsandbytes") is None:
            continue
        for kind in ("lora", "mixer"):
            cases[f"crma-train, {kind}, {name}"] = partial(ours, folder, kind, four_bits, ids)
        if importlib.util.find_spec("trl") is not None:
            cases[f"SFTTrainer, lora, {name}"] = partial(theirs, folder, four_bits, ids)
    return cases


def main() -> None:
    """Runs every case, one after another; a case that fails says why and does not stop the others."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", action="append", choices=list(SHAPES), help="default: the two large ones")
    parser.add_argument("--length", type=int, default=2048, help="tokens per row")
    parser.add_argument("--work", type=Path, required=True, help="where models are written, one at a time")
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    args = parser.parse_args()
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
    found: dict[str, Any] = {"device": device, "steps": STEPS, "tokens": args.length, "cases": {}}
    for shape in args.shape or ["mistral-7b", "gemma-2-9b"]:
        folder = args.work / shape
        write_model(shape, folder)
        ids = rows(AutoConfig.from_pretrained(folder).vocab_size, args.length)
        for name, run in cases_of(folder, ids).items():
            try:
                result: dict[str, Any] = run()
            except Exception as error:  # whatever it is, the other cases are measured
                result = {"error": f"{type(error).__name__}: {error}"[:300]}
            found["cases"][f"{shape}, {name}"] = result
            print(f"{shape}, {name}: {result}", flush=True)
            args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

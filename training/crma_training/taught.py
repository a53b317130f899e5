"""Rows that a teacher answered: its greedy answer, and the probabilities it gave at every token of it."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from crma_adapters.models.cache import cache_dir, make_once
from crma_training.adapter import at_work
from crma_training.data.tokens import Batch, Example, answered, collate, end_ids
from crma_training.trainer.losses import answer_logits
from crma_training.workbench import Workbench

ROWS = "rows.safetensors"
TOP = 16  # tokens of a teacher's distribution that are kept; the rest has a few thousandths of the mass
MOST_NEW_TOKENS = 64
BATCH_ROWS = 16


@dataclass(frozen=True)
class Teacher:
    """What answers a domain's questions: a saved adapter and backbone; neither: the bare base model.

    `prompts` are its questions as token ids, up to where the answer begins.
    """

    name: str
    adapter: Path | None
    backbone: Path | None
    prompts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Taught:
    """An answered row. `top` (answer tokens, TOP) int64 are the teacher's likeliest tokens, `log_p` (answer
    tokens, TOP) float32 their log probabilities, made to add up to 1.
    """

    example: Example
    top: Tensor
    log_p: Tensor


def ask(bench: Workbench, teacher: Teacher, end_ids: Sequence[int]) -> tuple[Taught, ...]:
    """Every prompt with the teacher's own answer; answers without an end within 64 tokens stay cut."""
    with at_work(bench.model, teacher.adapter, teacher.backbone):
        examples = _answers(bench, teacher, end_ids)
        return tuple(row for batch in _batched(examples) for row in _described(bench, batch))


def kept_answers(bench: Workbench, teacher: Teacher) -> tuple[Taught, ...]:
    """As `ask`; kept by content in the cache, so that a teacher is asked once whoever learns from it."""
    content = hashlib.sha256(json.dumps([bench.base.fingerprint, teacher.prompts]).encode())
    for part in filter(None, (teacher.adapter, teacher.backbone)):
        for path in sorted(part.iterdir()):
            content.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    folder = make_once(
        cache_dir("taught", content.hexdigest()),
        lambda draft: write_taught(ask(bench, teacher, end_ids(bench.chat)), draft / ROWS),
    )
    return read_taught(folder / ROWS)


def write_taught(rows: Sequence[Taught], path: Path) -> None:
    """Writes all rows into one safetensors file."""
    tensors: dict[str, Tensor] = {}
    for index, row in enumerate(rows):
        tensors[f"{index}.ids"] = torch.tensor(row.example.token_ids)
        tensors[f"{index}.start"] = torch.tensor(row.example.answer_start)
        tensors[f"{index}.top"], tensors[f"{index}.log_p"] = row.top.int(), row.log_p
    save_file(tensors, str(path))


def read_taught(path: Path) -> tuple[Taught, ...]:
    """What `write_taught` wrote."""
    tensors = load_file(str(path))
    rows = []
    for index in range(len(tensors) // 4):
        ids, start = tensors[f"{index}.ids"].tolist(), int(tensors[f"{index}.start"])
        example = answered(ids[:start], ids[start:])
        rows.append(Taught(example, tensors[f"{index}.top"].long(), tensors[f"{index}.log_p"]))
    return tuple(rows)


def taught_loss(model: Any, rows: Sequence[Taught], batch: Batch) -> Tensor:
    """Cross-entropy of the model with the teachers' distributions, nats per answer token, a scalar: their
    Kullback-Leibler divergence up to the teachers' own entropy.
    """
    logits, _ = answer_logits(model, batch)
    top = torch.cat([row.top for row in rows]).to(logits.device)
    log_p = torch.cat([row.log_p for row in rows]).to(logits.device)
    return -(log_p.exp() * logits.log_softmax(-1).gather(1, top)).sum(-1).mean()


def divergence(bench: Workbench, rows: Sequence[Taught]) -> float:
    """Mean Kullback-Leibler divergence (nats per answer token) of the model from the rows' teachers."""
    bench.model.eval()
    total, tokens = 0.0, 0
    with torch.no_grad():
        for batch in _batched(rows):
            found = collate([row.example for row in batch], bench.pad_id)
            crossed = float(taught_loss(bench.model, batch, found)) * found.answer_tokens
            entropy = -sum(float((row.log_p.exp() * row.log_p).sum()) for row in batch)
            total, tokens = total + crossed - entropy, tokens + found.answer_tokens
    return total / tokens


def epochs_of(rows: Sequence[Taught], batch_size: int, steps: int, seed: str) -> Iterator[list[Taught]]:
    """`steps` batches; every row once an epoch, in a new order each."""
    generator = random.Random(seed)
    waiting: list[Taught] = []
    for _ in range(steps):
        if len(waiting) < min(batch_size, len(rows)):
            waiting += generator.sample(list(rows), len(rows))
        yield [waiting.pop(0) for _ in range(min(batch_size, len(rows)))]


def _answers(bench: Workbench, teacher: Teacher, end_ids: Sequence[int]) -> list[Example]:
    bench.model.eval()
    prompts = sorted(set(teacher.prompts), key=lambda ids: (len(ids), ids))
    found = []
    starts = range(0, len(prompts), BATCH_ROWS)
    for start in tqdm(
        starts, desc=f"{teacher.name} answers", unit="batch", dynamic_ncols=True, mininterval=5
    ):
        batch = prompts[start : start + BATCH_ROWS]
        width = max(map(len, batch))
        ids = torch.full((len(batch), width), bench.pad_id, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(batch):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        device = bench.model.device
        with torch.no_grad():
            out = bench.model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=MOST_NEW_TOKENS,
                do_sample=False,
                eos_token_id=list(end_ids),
                pad_token_id=bench.pad_id,
            )
        for prompt, row in zip(batch, out[:, width:].tolist(), strict=True):
            found.append(answered(prompt, _up_to_end(row, end_ids)))
    return found


def _up_to_end(ids: list[int], end_ids: Sequence[int]) -> list[int]:
    ends = [index for index, token in enumerate(ids) if token in end_ids]
    return ids[: ends[0] + 1] if ends else ids


def _described(bench: Workbench, examples: Sequence[Example]) -> Iterator[Taught]:
    batch = collate(list(examples), bench.pad_id)
    with torch.no_grad():
        logits, targets = answer_logits(bench.model, batch)
        log_p, top = logits.log_softmax(-1).topk(TOP)
    log_p = log_p - log_p.logsumexp(-1, keepdim=True)
    counts = (targets != -100).sum(-1).tolist()
    parts = torch.split(top.cpu(), counts), torch.split(log_p.cpu(), counts)
    for example, tokens, values in zip(examples, *parts, strict=True):
        yield Taught(example, tokens.clone(), values.clone())


def _batched(rows: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(rows), BATCH_ROWS):
        yield list(rows[start : start + BATCH_ROWS])


def sampled(prompts: Sequence[tuple[int, ...]], most: int, seed: str) -> tuple[tuple[int, ...], ...]:
    """At most `most` of the prompts, drawn from the seed."""
    distinct = sorted(set(prompts))
    if len(distinct) <= most:
        return tuple(distinct)
    order = np.random.default_rng(list(seed.encode())).permutation(len(distinct))[:most]
    return tuple(distinct[index] for index in sorted(order))

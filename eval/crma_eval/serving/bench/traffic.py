"""What is asked, and under which names."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crma_adapters.errors import DataError

# Held out first; speed does not depend on what an adapter was trained on, so the others may follow.
FILES = ("holdout.jsonl", "router_eval.jsonl", "train.jsonl", "router_train.jsonl")
LEAST_WORDS = 4  # the client leaves out prompts under 4 tokens
ZIPF_EXPONENT = 1.0


def read_questions(data: Path, domain: str) -> list[str]:
    """Every question of the domain, each once.

    Raises:
        DataError: `data` was not made by crma-train demo-data, or has no such domain.
    """
    try:
        rows = [
            json.loads(line)["question"]
            for name in FILES
            if (path := data / domain / name).is_file() or name == FILES[0]
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"cannot read the questions of {domain!r} in {data} ({error}); expected a folder made by "
            "crma-train demo-data with that domain"
        ) from error
    found = list(dict.fromkeys(row for row in rows if len(row.split()) >= LEAST_WORDS))
    if not found:
        raise DataError(f"{data / domain}: no question of {LEAST_WORDS} words or more; give another --domain")
    return found


def deal(questions: Sequence[str], start: int, count: int) -> tuple[str, ...]:
    """`count` questions from the `start`-th on, from the first again after the last."""
    return tuple(questions[(start + place) % len(questions)] for place in range(count))


def rotate(names: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` names in turn."""
    return tuple(names[place % len(names)] for place in range(count))


def zipf(names: Sequence[str], count: int, seed: Sequence[int]) -> tuple[str, ...]:
    """`count` names drawn: the k-th of `names` with a probability in proportion to 1 / k."""
    weights = 1 / np.arange(1, len(names) + 1) ** ZIPF_EXPONENT
    drawn = np.random.default_rng(seed).choice(len(names), size=count, p=weights / weights.sum())
    return tuple(names[int(place)] for place in drawn)

"""What the forgetting protocol trains and measures on: sizes, configuration, and rows cut to size."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from crma_adapters.errors import ConfigError, DataError
from crma_training.config import TrainConfig
from crma_training.data.dataset import Dataset, DomainData, load_dataset
from crma_training.data.rows import Row
from crma_training.data.sources import read_rows
from crma_training.data.split import split_phrasings
from crma_training.data.tokens import Example, encode
from crma_training.workbench import Task, Workbench, resolved

SEEDS = (0, 42, 1234)
# Settings of crma-train that decide nothing here: the method has its own, or they are of its reports.
BESIDE = ("mode", "freeze_backbone", "router", "keep_examples", "note", "holdout_every", "holdout_rows")
Split = Literal["holdout", "validation"]


@dataclass(frozen=True)
class Sizes:
    """Rows per domain. 500 and 100 are the size of a GPU run. `validation` of the training rows are taken out
    for methods that choose by them.
    """

    train: int = 500
    holdout: int = 100
    short_answer: int = 100
    validation: int = 0

    def __post_init__(self) -> None:
        for name, least in (("train", 1), ("holdout", 1), ("short_answer", 0), ("validation", 0)):
            value = getattr(self, name)
            if value < least:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag}-rows is {value}; give a number that is at least {least}")


@dataclass(frozen=True)
class Protocol:
    """One experiment: data, order of domains, sizes and hyperparameters; seeds and methods vary inside it.

    `split` "validation" measures on rows taken out of the training rows, for tuning: other phrasings of facts
    that stay trained (`split_phrasings`) where there are any, else the last ones, or the domain's own
    validation rows. The report of a tuned method comes from "holdout". `exact_on_holdout`: the rows that are
    measured have short answers themselves.
    """

    data: Path
    config: TrainConfig
    sizes: Sizes
    domains: tuple[str, ...] | None = None
    split: Split = "holdout"
    exact_on_holdout: bool = False

    def config_for(self, seed: int, rate: float | None = None) -> TrainConfig:
        """The configuration of one run; `rate` is the learning rate of LoRAs and CRMA alike."""
        config = dataclasses.replace(self.config, seed=seed, router=False)
        if rate is None:
            return config
        return dataclasses.replace(config, learning_rate=rate, crma_learning_rate=rate)

    def dataset(self) -> Dataset:
        """The domains cut to size. Raises `DataError` if one has too few rows."""
        found = load_dataset(self.data, self.domains)
        if len(found.domains) < 2:
            raise DataError(f"{self.data} gives one domain; forgetting needs two or more: --domains a,b")
        return dataclasses.replace(found, domains=tuple(self._cut(domain) for domain in found.domains))

    def short_answers(self, domain: DomainData) -> tuple[Row, ...]:
        """Held-out phrasings, with short answers, of questions about facts that the training rows hold (where
        rows say by `entry` what they are about); the validation rows themselves where those are measured.
        Raises `DataError` if there are too few.
        """
        if not self.sizes.short_answer:
            return ()
        if self.split == "validation" or self.exact_on_holdout:
            return domain.holdout
        path = self.data / domain.name / "short_answer.jsonl"
        facts = {row.entry for row in domain.train}
        rows = tuple(row for row in read_rows(path) if row.entry in facts)
        return _first(rows, self.sizes.short_answer, path, "--short-answer-rows")

    def describe(self) -> dict[str, Any]:
        """What the report says of it."""
        return {
            "config": {k: v for k, v in self.config.to_json().items() if k not in (*BESIDE, "seed")},
            "rows": self._sizes(),
            "split": self.split,
        }

    def cut(self) -> dict[str, Any]:
        """What rows a cell was trained and measured on, for its identity."""
        return self._sizes() | {"split": self.split}

    def _sizes(self) -> dict[str, int]:
        sizes = dataclasses.asdict(self.sizes)
        return sizes if self.sizes.validation else {k: v for k, v in sizes.items() if k != "validation"}

    def _cut(self, domain: DomainData) -> DomainData:
        path, sizes = self.data / domain.name, self.sizes
        train = _first(domain.train, sizes.train, path / "train.jsonl", "--train-rows")
        validation = domain.validation
        if sizes.validation and not validation:
            train, validation = _taken_out(train, sizes.validation)
        if self.split == "validation" and domain.validation:
            holdout = domain.validation[: sizes.holdout]
        elif self.split == "validation":
            train, holdout = _taken_out(train, sizes.holdout)
        else:
            holdout = _first(domain.holdout, sizes.holdout, path / "holdout.jsonl", "--holdout-rows")
        return dataclasses.replace(domain, train=train, holdout=holdout, validation=validation)


def _taken_out(rows: tuple[Row, ...], count: int) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Training rows that stay, and those taken out: phrasings if there are any, else the last ones."""
    try:
        return split_phrasings(rows, count, "the training rows")
    except DataError:
        if len(rows) < 2 * count:
            raise
        return rows[:-count], rows[-count:]


def recipe(config: TrainConfig) -> dict[str, Any]:
    """What decides a cell's training beside method, data, base model and seed; defaults of options that are
    added later do not change it.
    """
    return {
        "epochs": config.epochs,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "max_length": config.max_length,
        "overlong": config.overlong,
        "learn": config.learn,
        "rank": config.rank,
        "lora_alpha": config.lora_alpha,
        "target_modules": list(config.target_modules),
        "learning_rate": config.learning_rate,
        "crma_learning_rate": config.crma_learning_rate,
        "logits_learning_rate": config.logits_learning_rate,
        "weight_decay": config.weight_decay,
        "crma_weight_decay": config.crma_weight_decay,
        "crma_dropout": config.crma_dropout,
        "schedule": config.schedule,
        "warmup": config.warmup,
        "zclip_threshold": config.zclip_threshold,
        "mixing_rank": config.mixing_rank,
        "dtype": resolved(config).dtype,
    }


@dataclass(frozen=True)
class Exam:
    """What a domain is measured on, as token ids."""

    holdout: tuple[Example, ...]
    short_answer: tuple[Example, ...]


def exam(bench: Workbench, protocol: Protocol, task: Task) -> Exam:
    """The exam of one domain. Raises `DataError` as `encode`."""
    rows = protocol.short_answers(task.domain)
    short = tuple(encode(row, bench.tokenizer, bench.config.max_length, chat=bench.chat) for row in rows)
    return Exam(task.holdout, short)


def _first(rows: tuple[Row, ...], count: int, path: Path, flag: str) -> tuple[Row, ...]:
    if len(rows) < count:
        raise DataError(f"{path} has {len(rows)} fitting rows, {count} are asked for; lower {flag}")
    return rows[:count]


def rates(text: str) -> tuple[float, ...]:
    """A grid of learning rates, as `1e-3,2e-3`. Raises `ConfigError` on anything else."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"learning rates {text!r}; give numbers separated by commas, as 1e-3,2e-3,4e-3"
        ) from error
    if len(set(found)) != len(found) or not all(0 < rate < 1 for rate in found):
        raise ConfigError(f"learning rates {text!r}; give each once, between 0 and 1")
    return found

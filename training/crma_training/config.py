"""Everything that decides what a training run produces, in one frozen dataclass."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from crma_adapters.crma.config import MODES, Mode
from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import DEFAULT_BASE_MODEL
from crma_training.data.formats import parse_columns
from crma_training.data.rows import LEARN, OVERLONG, Learn, Overlong

KINDS = ("lora", "mixer", "both")
BACKBONES = ("consolidated", "shared", "none")
STARTS = ("fresh", "previous", "mean", "nearest")


def _option(default: Any, meaning: str, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"help": meaning, "choices": choices})


@dataclass(frozen=True)
class TrainConfig:
    """Hyperparameters of one sequence of domains. Two runs with equal configs and data give equal bytes."""

    model: str = _option(DEFAULT_BASE_MODEL, "base model: packaged name, Hugging Face folder or hub id")
    epochs: int = _option(2, "passes over each domain's training rows")
    steps: int = _option(0, "optimizer steps per domain, instead of --epochs (0: by epochs)")
    batch_size: int = _option(8, "rows per optimizer step")
    max_length: int = _option(256, "tokens per row; --overlong says what becomes of longer ones")
    overlong: Overlong = _option(  # noqa: RUF009
        "truncate", "rows that are too long: lose their tail, are dropped, or end the run", OVERLONG
    )
    learn: Learn = _option(  # noqa: RUF009
        "all", "assistant turns of a conversation that are learnt", LEARN
    )
    columns: str = _option("", "names of your columns, as in question=Frage,answer=Antwort")
    checks: str = _option(
        "error",
        "checks of the data first: not made, said, or said with leaks refused",
        ("off", "warn", "error"),
    )
    adapter: Literal["lora", "mixer", "both"] = _option(
        "mixer", "what is trained for a domain: a LoRA, a mixer (a CRMA of its own) or both", KINDS
    )
    start: Literal["fresh", "previous", "mean", "nearest"] = _option(
        "fresh", "what a domain's adapter starts from: nothing, or earlier domains' adapters", STARTS
    )
    rank: int = _option(4, "LoRA rank")
    lora_alpha: int = _option(8, "LoRA alpha; the update is scaled by alpha / rank")
    target_modules: tuple[str, ...] = _option(
        ("q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"), "linear layers that get a LoRA"
    )
    learning_rate: float = _option(1e-3, "peak learning rate of the LoRA")
    crma_learning_rate: float = _option(2e-3, "peak learning rate of CRMA's read and write projections")
    logits_learning_rate: float = _option(1e-2, "peak learning rate of CRMA's mixing logits")
    weight_decay: float = _option(0.01, "AdamW weight decay of the LoRA")
    crma_weight_decay: float = _option(0.0, "AdamW weight decay of CRMA's projections; its logits have none")
    crma_dropout: float = _option(0.0, "share of what CRMA reads that is dropped in training")
    schedule: str = _option("cosine", "learning rate after the warm-up", ("cosine", "linear"))
    warmup: float = _option(0.05, "share of the steps over which the learning rate rises")
    zclip_threshold: float = _option(2.5, "z-score of a group's gradient norm above which it is clipped")
    backbone: Literal["consolidated", "shared", "none"] = _option(
        "consolidated",
        "the CRMA of the release: distilled from all domains' answers once they are learnt, trained along "
        "under every domain's adapter, or none",
        BACKBONES,
    )
    consolidation_epochs: int = _option(3, "passes over the teachers' answers")
    consolidation_questions: int = _option(300, "questions that each domain's teacher answers, at most")
    mode: Mode = _option("residual", "form of CRMA", MODES)  # noqa: RUF009
    mixing_rank: int = _option(16, "rank of CRMA's map in every block")
    freeze_backbone: bool = _option(False, "with --backbone shared: CRMA stays as it is, only adapters train")
    holdout_every: int = _option(
        40, "steps between two measurements of the holdout in training (0: before and after only)"
    )
    holdout_rows: int = _option(12, "holdout rows measured then; before, after and drift take all")
    patience: int = _option(3, "measurements of the validation loss without a gain that end training")
    validate_every: int = _option(0, "steps between two of them (0: half an epoch)")
    validation_share: float = _option(
        0.0, "share of each domain's training questions kept for validation, without a validation.jsonl"
    )
    seed: int = _option(0, "seed of every random choice")
    dtype: str = _option("float32", "compute precision of the base model", ("float32", "bfloat16"))
    gradient_checkpointing: bool = _option(False, "recompute activations in the backward pass to save memory")
    router: bool = _option(True, "fit the router on the same data at the end")
    keep_examples: bool = _option(
        True, "keep the router's questions in the release, so that crma-route can fit it again"
    )
    note: str = _option("", "free text kept in the release")

    def __post_init__(self) -> None:
        at_least_one = (
            "epochs",
            "batch_size",
            "max_length",
            "rank",
            "lora_alpha",
            "mixing_rank",
            "holdout_rows",
            "patience",
            "consolidation_epochs",
            "consolidation_questions",
        )
        for name in at_least_one:
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("steps", "holdout_every", "validate_every"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        self._require("warmup", 0 <= self.warmup < 1, "in [0, 1)")
        self._require("crma_dropout", 0 <= self.crma_dropout < 1, "in [0, 1)")
        parse_columns(self.columns)
        self._require("validation_share", 0 <= self.validation_share < 1, "in [0, 1)")
        self._require("zclip_threshold", self.zclip_threshold > 0, "above 0")
        self._require("target_modules", len(self.target_modules) > 0, "at least one layer name")
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name.endswith("learning_rate"):
                self._require(item.name, value > 0, "above 0")
            choices = item.metadata["choices"]
            self._require(item.name, not choices or value in choices, "one of " + ", ".join(choices))

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"{flag} is {getattr(self, name)!r}; give a value that is {expected}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, tuples as lists."""
        values = dataclasses.asdict(self)
        values["target_modules"] = list(self.target_modules)
        return values


def digest(values: dict[str, Any]) -> str:
    """sha256 hex of JSON values, independent of key order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

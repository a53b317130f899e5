"""Everything that decides what a training run produces, in one frozen dataclass."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from crma_adapters.crma.config import MODES, Mode
from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import DEFAULT_BASE_MODEL
from crma_training import processes
from crma_training.data.formats import parse_columns
from crma_training.data.rows import LEARN, OVERLONG, Learn, Overlong
from crma_training.data.split import VALIDATION_SPLITS, ValidationSplit

KINDS = ("lora", "mixer", "both")
BACKBONES = ("consolidated", "shared", "none")
OPTIMIZERS = ("adamw_torch_fused", "adamw_torch", "adamw_bnb_8bit", "paged_adamw_8bit")
SCHEDULES = ("cosine", "linear", "constant", "constant_with_warmup", "inverse_sqrt")
HOW = (
    "batch_size",
    "gradient_accumulation_steps",
    "gradient_checkpointing",
    "attn_implementation",
    "save_steps",
    "report_to",
)
STARTS = ("fresh", "previous", "mean", "nearest")


def _option(default: Any, meaning: str, choices: tuple[str, ...] = (), *, flag: str = "") -> Any:
    """`flag`: what the field is called on the command line, where transformers has a name for it."""
    return field(default=default, metadata={"help": meaning, "choices": choices, "flag": flag})


@dataclass(frozen=True)
class TrainConfig:
    """Hyperparameters of one sequence of domains. Two runs with equal configs and data give equal bytes."""

    model: str = _option(DEFAULT_BASE_MODEL, "base model: packaged name, Hugging Face folder or hub id")
    epochs: int = _option(2, "passes over each domain's training rows", flag="num-train-epochs")
    steps: int = _option(0, "optimizer steps per domain, instead of epochs (0: by epochs)", flag="max-steps")
    batch_size: int = _option(
        8, "rows that a process sends through the model at once", flag="per-device-train-batch-size"
    )
    gradient_accumulation_steps: int = _option(1, "such batches to an optimizer step")
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
    lora_dropout: float = _option(0.0, "share of the LoRA's inputs that is dropped in training")
    use_rslora: bool = _option(False, "scale the LoRA by alpha / sqrt(rank) (rsLoRA)")
    use_dora: bool = _option(False, "not possible: the engine serves no DoRA")
    target_modules: tuple[str, ...] = _option(
        ("q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"),
        "linear layers that get a LoRA: names, all-linear, or one regular expression of full names",
    )
    learning_rate: float = _option(1e-3, "peak learning rate of the LoRA")
    crma_learning_rate: float = _option(2e-3, "peak learning rate of CRMA's read and write projections")
    logits_learning_rate: float = _option(1e-2, "peak learning rate of CRMA's mixing logits")
    weight_decay: float = _option(0.01, "AdamW weight decay of the LoRA")
    crma_weight_decay: float = _option(0.0, "AdamW weight decay of CRMA's projections; its logits have none")
    crma_dropout: float = _option(0.0, "share of what CRMA reads that is dropped in training")
    schedule: str = _option("cosine", "learning rate after the warm-up", SCHEDULES, flag="lr-scheduler-type")
    warmup: float = _option(
        0.05, "share of the steps over which the learning rate rises", flag="warmup-ratio"
    )
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
    backbone_rank: int = _option(0, "rank of the release's own CRMA, which all domains share (0: as mixing)")
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
    validation_split: ValidationSplit = _option(  # noqa: RUF009
        "phrasings",
        "what these are: other phrasings of facts that stay trained (where rows say by entry what they are "
        "about), or facts that are not trained",
        VALIDATION_SPLITS,
    )
    seed: int = _option(0, "seed of every random choice")
    dtype: str = _option(
        "auto",
        "compute precision of the base model; auto: bfloat16 on a GPU that has it, else float32",
        ("auto", "float32", "bfloat16"),
    )
    load_in_4bit: bool = _option(False, "base model in 4 bits (NF4) by bitsandbytes; adapters stay float32")
    attn_implementation: str = _option(
        "auto", "attention, by its Hugging Face name", ("auto", "eager", "sdpa", "flash_attention_2")
    )
    gradient_checkpointing: bool = _option(False, "recompute activations in the backward pass to save memory")
    optim: str = _option("adamw_torch_fused", "optimizer, by its Hugging Face name", OPTIMIZERS)
    save_steps: int = _option(50, "steps between two checkpoints inside a domain (0: none)")
    report_to: tuple[str, ...] = _option(("none",), "trackers that are told of every step: wandb, mlflow")
    router: bool = _option(True, "fit the router on the same data at the end")
    keep_examples: bool = _option(
        True, "keep the router's questions in the release, so that crma-route can fit it again"
    )
    note: str = _option("", "free text kept in the release")

    def __post_init__(self) -> None:
        at_least_one = (
            "epochs",
            "batch_size",
            "gradient_accumulation_steps",
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
        for name in ("steps", "holdout_every", "validate_every", "save_steps", "backbone_rank"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        self._require("warmup", 0 <= self.warmup < 1, "in [0, 1)")
        self._require("crma_dropout", 0 <= self.crma_dropout < 1, "in [0, 1)")
        parse_columns(self.columns)
        self._require("validation_share", 0 <= self.validation_share < 1, "in [0, 1)")
        self._require("zclip_threshold", self.zclip_threshold > 0, "above 0")
        self._require("lora_dropout", 0 <= self.lora_dropout < 1, "in [0, 1)")
        not_served = "off: the engine serves no DoRA; use --use-rslora or a higher --rank"
        trackers = {"none", "wandb", "mlflow"}
        self._require("report_to", set(self.report_to) <= trackers, "of wandb, mlflow, or none")
        self._require("use_dora", not self.use_dora, not_served)
        self._require("target_modules", len(self.target_modules) > 0, "at least one layer name")
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name.endswith("learning_rate"):
                self._require(item.name, value > 0, "above 0")
            choices = item.metadata["choices"]
            self._require(item.name, not choices or value in choices, "one of " + ", ".join(choices))

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            flag = flag_of(next(item for item in dataclasses.fields(self) if item.name == name))
            raise ConfigError(f"{flag} is {getattr(self, name)!r}; give a value that is {expected}")

    @property
    def step_rows(self) -> int:
        """Rows per optimizer step, over all processes."""
        return self.batch_size * self.gradient_accumulation_steps * processes.count()

    def identity(self) -> dict[str, Any]:
        """What decides a run's outcome: `to_json` without what only decides how it gets there, so that a run
        that ran out of memory goes on with other values of these.
        """
        values = {name: value for name, value in self.to_json().items() if name not in HOW}
        return values | {"step_rows": self.step_rows}

    def with_rank(self, rank: int) -> "TrainConfig":
        """With LoRAs of that rank; alpha / rank stays, as near as whole numbers allow."""
        alpha = max(1, round(self.lora_alpha * rank / self.rank))
        return dataclasses.replace(self, rank=rank, lora_alpha=alpha)

    @property
    def rank_of_backbone(self) -> int:
        """Rank of the release's own CRMA."""
        return self.backbone_rank or self.mixing_rank

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, tuples as lists."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def flag_of(option: dataclasses.Field[Any]) -> str:
    """What a field is called on the command line."""
    return "--" + (option.metadata["flag"] or option.name.replace("_", "-"))


def digest(values: dict[str, Any]) -> str:
    """sha256 hex of JSON values, independent of key order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

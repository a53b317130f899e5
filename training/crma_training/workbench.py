"""The frozen base model at work: loaded once, measured on rows, proven unchanged."""

import dataclasses
import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from crma_adapters.errors import ConfigError, DataError
from crma_adapters.models.base_model import BaseModel
from crma_training import processes
from crma_training.config import TrainConfig
from crma_training.data.dataset import DomainData
from crma_training.data.rows import Row
from crma_training.data.templates import ChatFormat, load_chat_format
from crma_training.data.tokens import Encoded, Example, encode_rows
from crma_training.trainer.losses import mean_answer_loss


@dataclass(frozen=True)
class Task:
    """A domain's rows as token ids; `dropped` counts the training rows that are left out as too long."""

    domain: DomainData
    train: tuple[Example, ...]
    holdout: tuple[Example, ...]
    validation: tuple[Example, ...] = ()
    dropped: int = 0

    @property
    def name(self) -> str:
        """The domain's name."""
        return self.domain.name

    @property
    def cut(self) -> int:
        """How many training rows have an answer that did not fit into `max_length`."""
        return sum(example.cut for example in self.train)


@dataclass(frozen=True)
class Workbench:
    """A base model whose own parameters never get gradients, and its chat format, both Hugging Face's."""

    base: BaseModel
    model: Any
    chat: ChatFormat
    config: TrainConfig

    @property
    def tokenizer(self) -> Any:
        """The chat format's."""
        return self.chat.tokenizer

    def task(self, domain: DomainData) -> Task:
        """Token ids by the model's chat template. Raises `DataError` as `tokens.encode_rows`, or if no
        training or holdout row is left.
        """
        train, holdout = self._encoded(domain.train), self._encoded(domain.holdout)
        for part, rows in (("training", train), ("holdout", holdout)):
            if not rows.examples:
                raise DataError(
                    f"{domain.name}: every {part} row has more than {self.config.max_length} tokens; "
                    "raise --max-length"
                )
        validation = self._encoded(domain.validation).examples
        return Task(domain, train.examples, holdout.examples, validation, train.dropped)

    def _encoded(self, rows: Sequence[Row]) -> Encoded:
        config = self.config
        return encode_rows(rows, self.chat, config.max_length, learn=config.learn, overlong=config.overlong)

    def loss(self, examples: Sequence[Example]) -> float:
        """Mean answer loss (nats per token) with whatever is attached to the model now."""
        return mean_answer_loss(self.model, examples, 2 * self.config.batch_size, self.pad_id)

    @property
    def pad_id(self) -> int:
        """Any id does: padding stands behind every real token and is never looked at."""
        return int(self.tokenizer.pad_token_id or 0)

    def weights_digest(self) -> str:
        """sha256 hex over the base model's parameters and buffers; call it with no LoRA attached."""
        content = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            content.update(name.encode())
            content.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return content.hexdigest()


def load_workbench(base: BaseModel, config: TrainConfig) -> Workbench:
    """Loads the base model in the configured precision, on this process's GPU if there is one.

    Raises:
        ConfigError: as `check_packages`.
    """
    check_packages(config)
    transformers_logging.disable_progress_bar()
    config, device = resolved(config), processes.device()
    chat = load_chat_format(base.path)
    model = AutoModelForCausalLM.from_pretrained(
        base.path,
        dtype=getattr(torch, config.dtype),
        attn_implementation=_attention(base, config),
        **(_in_4_bits(config, device) if config.load_in_4bit else {}),
    )
    model.requires_grad_(False)
    if not config.load_in_4bit:
        model.to(device)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return Workbench(base, model, chat, config)


def resolved(config: TrainConfig) -> TrainConfig:
    """The configuration with the precision that `auto` means on this machine."""
    if config.dtype != "auto":
        return config
    fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return dataclasses.replace(config, dtype="bfloat16" if fast else "float32")


def check_packages(config: TrainConfig) -> None:
    """Raises `ConfigError` for an option that needs a package that is not installed."""
    needed = {f"--report-to {name}": name for name in config.report_to if name != "none"}
    if config.load_in_4bit:
        needed["--load-in-4bit"] = "bitsandbytes"
    if "8bit" in config.optim:
        needed[f"--optim {config.optim}"] = "bitsandbytes"
    if config.attn_implementation == "flash_attention_2":
        needed["--attn-implementation flash_attention_2"] = "flash_attn"
    for option, package in needed.items():
        if importlib.util.find_spec(package) is None:
            pip = package.replace("_", "-")
            raise ConfigError(
                f"{option} needs {package}, which is not installed; pip install {pip}, or leave it out"
            )


def _in_4_bits(config: TrainConfig, device: torch.device) -> dict[str, Any]:
    """What transformers needs to load a model in QLoRA's way (arXiv 2305.14314)."""
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, config.dtype),
    )
    return {"quantization_config": settings, "device_map": {"": device}}


def _attention(base: BaseModel, config: TrainConfig) -> str | None:
    """What was asked for; `auto` is None (transformers' own) unless attention logits are capped (Gemma-2):
    only "eager" honours that.
    """
    if config.attn_implementation != "auto":
        return config.attn_implementation
    model = AutoConfig.from_pretrained(base.path).get_text_config()
    return "eager" if getattr(model, "attn_logit_softcapping", None) else None

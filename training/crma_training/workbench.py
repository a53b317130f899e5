"""The frozen base model at work: loaded once, measured on rows, proven unchanged."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from crma_adapters.errors import DataError
from crma_adapters.models.base_model import BaseModel
from crma_training.config import TrainConfig
from crma_training.data.dataset import DomainData
from crma_training.data.rows import Row
from crma_training.data.templates import ChatFormat, load_chat_format
from crma_training.data.tokens import Encoded, Example, encode_rows
from crma_training.losses import mean_answer_loss


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
    """Loads the base model in the configured precision, on the GPU if there is one."""
    transformers_logging.disable_progress_bar()
    chat = load_chat_format(base.path)
    model = AutoModelForCausalLM.from_pretrained(
        base.path, dtype=getattr(torch, config.dtype), attn_implementation=_attention(base)
    )
    model.requires_grad_(False)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return Workbench(base, model, chat, config)


def _attention(base: BaseModel) -> str | None:
    """None (transformers' own) unless attention logits are capped (Gemma-2): only "eager" honours that."""
    config = AutoConfig.from_pretrained(base.path).get_text_config()
    return "eager" if getattr(config, "attn_logit_softcapping", None) else None

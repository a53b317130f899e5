"""The answer loss against the model's own, and its shortcuts against doing without."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
)

from crma_training.data.tokens import Batch, Example, collate
from crma_training.trainer.losses import answer_loss, mean_answer_loss

PREFIX = (5, 9, 11, 6, 7)
EXAMPLES = [
    Example.with_answer((*PREFIX, 1, 2, 3, 4), 7),
    Example.with_answer((*PREFIX, 8, 2, 20), 6),
    Example.with_answer((*PREFIX, 4, 4, 4, 30, 31, 32), 8),
]


def gemma_2() -> Any:
    return Gemma2ForCausalLM(Gemma2Config(**SIZES, final_logit_softcapping=2.0, sliding_window=4))


def gemma_3() -> Any:
    return Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, sliding_window=4))


SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "attn_implementation": "eager",
    "layer_types": ["sliding_attention", "full_attention"],
}


def own_loss(model: Any, batch: Batch) -> torch.Tensor:
    """transformers' loss, with labels in its convention: not shifted."""
    labels = torch.full_like(batch.token_ids, -100)
    labels[:, 1:] = batch.targets[:, :-1]
    mask = torch.zeros_like(batch.token_ids)
    for index, example in enumerate(EXAMPLES):
        mask[index, : len(example.token_ids)] = 1
    loss: torch.Tensor = model(input_ids=batch.token_ids, attention_mask=mask, labels=labels).loss
    return loss


@pytest.mark.parametrize("family", [None, gemma_2, gemma_3])
def test_loss_and_gradients_are_the_models_own(base_model: Path, family: Callable[[], Any] | None) -> None:
    torch.manual_seed(0)
    model: Any = family() if family else AutoModelForCausalLM.from_pretrained(base_model)
    batch = collate(EXAMPLES, pad_id=0)
    assert batch.shared == 5
    gradients = []
    for loss in (
        answer_loss(model, batch),
        answer_loss(model, replace(batch, shared=0)),
        own_loss(model, batch),
    ):
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        gradients.append([loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    for shared, plain, own in zip(*gradients, strict=True):
        torch.testing.assert_close(shared, own, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(plain, own, atol=1e-6, rtol=1e-4)


def test_checkpointing_changes_no_gradient(base_model: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(base_model).train()
    batch = collate(EXAMPLES, pad_id=0)
    answer_loss(model, batch).backward()  # type: ignore[no-untyped-call]
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    answer_loss(model, batch).backward()  # type: ignore[no-untyped-call]
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-6, rtol=1e-4)


def test_the_mean_is_over_tokens_whatever_the_batches(base_model: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(base_model)
    single = [answer_loss(model, collate([example], 0), reduction="sum") for example in EXAMPLES]
    expected = sum(float(loss.detach()) for loss in single) / sum(
        len(e.token_ids) - e.answer_start for e in EXAMPLES
    )
    for batch_size in (1, 2, 3):
        assert mean_answer_loss(model, EXAMPLES, batch_size, 0) == pytest.approx(expected, rel=1e-5)

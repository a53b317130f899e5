"""The answer loss of a causal language model, for training and for measuring: logits at answers only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from crma_adapters.crma.decoder import is_checkpointed
from crma_training.data.tokens import Batch, Example, collate


def answer_loss(model: Any, batch: Batch, reduction: str = "mean") -> Tensor:
    """Cross-entropy (nats per answer token), a scalar in float32."""
    logits, targets = answer_logits(model, batch)
    return cross_entropy(logits, targets[targets != -100], reduction=reduction)


def answer_logits(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (N, vocabulary) float32 of the N answer tokens, row by row, and the targets (B, t) they predict.

    The vocabulary projection is a fifth of a small model's work, so it runs on the (N, d) states that predict
    an answer token and on no others.
    """
    states, targets = _states(model, batch)
    logits = model.get_output_embeddings()(states[targets != -100]).float()
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)  # Gemma-2
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    return logits, targets


def _states(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Last hidden states (B, t, d) and their targets (B, t).

    The rows' shared prefix (the template's system prompt, a third of a short row) is computed once and its
    keys and values repeated; autograd adds up what the rows send back through them, so loss and gradients are
    the same.
    """
    token_ids, targets = batch.token_ids.to(model.device), batch.targets.to(model.device)
    decoder, shared = model.get_decoder(), batch.shared
    # Checkpointed layers cannot fill a cache: they run twice.
    if len(token_ids) == 1 or shared == 0 or any(is_checkpointed(layer) for layer in decoder.layers):
        return decoder(input_ids=token_ids, use_cache=False).last_hidden_state, targets
    cache = decoder(input_ids=token_ids[:1, :shared], use_cache=True).past_key_values
    cache.batch_repeat_interleave(len(token_ids))
    rest = decoder(input_ids=token_ids[:, shared:], past_key_values=cache, use_cache=True)
    return rest.last_hidden_state, targets[:, shared:]


@torch.no_grad()
def mean_answer_loss(model: Any, examples: Sequence[Example], batch_size: int, pad_id: int) -> float:
    """Mean over all answer tokens of all rows (nats per token), in evaluation mode."""
    model.eval()
    by_length = sorted(examples, key=lambda example: len(example.token_ids))
    total, tokens = 0.0, 0
    for start in range(0, len(by_length), batch_size):
        batch = collate(by_length[start : start + batch_size], pad_id)
        total += float(answer_loss(model, batch, reduction="sum"))
        tokens += batch.answer_tokens
    return total / tokens


def row_losses(model: Any, examples: Sequence[Example], batch_size: int, pad_id: int) -> tuple[float, ...]:
    """Every row's loss (nats per answer token), in the order given, in evaluation mode."""
    return tuple(score.loss / score.tokens for score in answer_scores(model, examples, batch_size, pad_id))


@dataclass(frozen=True)
class AnswerScore:
    """One row: its summed loss (nats), its answer tokens, and whether each of them was the most likely one.

    The last is what greedy decoding would show: it gives exactly the reference's tokens if and only if every
    answer token is the arg max given the reference before it.
    """

    loss: float
    tokens: int
    exact: bool


@torch.no_grad()
def answer_scores(
    model: Any, examples: Sequence[Example], batch_size: int, pad_id: int
) -> tuple[AnswerScore, ...]:
    """Every row's score, in the order given, in evaluation mode."""
    model.eval()
    order = sorted(range(len(examples)), key=lambda index: len(examples[index].token_ids))
    scores: dict[int, AnswerScore] = {}
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        logits, targets = answer_logits(model, collate([examples[index] for index in indices], pad_id))
        expected = targets[targets != -100]
        losses = cross_entropy(logits, expected, reduction="none").double().cpu()
        right = (logits.argmax(-1) == expected).cpu()
        counts = (targets != -100).sum(-1).tolist()
        parts = torch.split(losses, counts), torch.split(right, counts)
        for index, loss, hits in zip(indices, *parts, strict=True):
            scores[index] = AnswerScore(float(loss.sum()), len(loss), bool(hits.all()))
    return tuple(scores[index] for index in range(len(examples)))

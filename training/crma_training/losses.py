"""The answer loss of a causal language model, for training and for measuring.

Owns: cross-entropy over answer tokens with logits computed at those positions only. Knows nothing of LoRA or
CRMA.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from crma_training.tokens import Batch, Example, collate


def answer_loss(model: Any, batch: Batch, reduction: str = "mean") -> Tensor:
    """Cross-entropy (nats per answer token), a scalar in float32.

    The vocabulary projection is a fifth of a small model's work, so it runs on the (N, d) states that predict
    an answer token and on no others.
    """
    states, targets = _states(model, batch)
    predicting = targets != -100
    logits = model.get_output_embeddings()(states[predicting]).float()
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)  # Gemma-2
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    return cross_entropy(logits, targets[predicting], reduction=reduction)


def _states(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Last hidden states (B, t, d) and their targets (B, t).

    The rows' shared prefix (the template's system prompt, a third of a short row) is computed once and its
    keys and values repeated; autograd adds up what the rows send back through them, so loss and gradients are
    the same.
    """
    token_ids, targets = batch.token_ids.to(model.device), batch.targets.to(model.device)
    decoder, shared = model.get_decoder(), batch.shared
    # Checkpointed layers cannot fill a cache: they run twice.
    if len(token_ids) == 1 or shared == 0 or model.is_gradient_checkpointing:
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

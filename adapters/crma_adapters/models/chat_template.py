"""Chat templates for models that bring none, and which tokens such a model knows to end an answer with."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from crma_adapters.models.fingerprint import weight_files

# For base models: plain words, since their turn tokens are untrained, and the end-of-sequence token after an
# answer, which every model knows. The space after "Assistant:" belongs to the answer: it is part of its first
# token.
DEFAULT_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] | trim + '\n\n' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ 'Assistant: ' + message['content'] | trim + eos_token + '\n\n' }}"
    "{% else %}{{ message['role'] | capitalize + ': ' + message['content'] | trim + '\n\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_ALIKE = 0.98  # cosine of a token's embedding with another special token's; trained ones stay below 0.97
_SAMPLED = 512  # rows of the embedding


def give_template(tokenizer: Any) -> bool:
    """Gives a tokenizer without a chat template the default one; says whether it did."""
    if tokenizer.chat_template is not None:
        return False
    tokenizer.chat_template = DEFAULT_CHAT_TEMPLATE
    return True


def stop_ids(path: Path, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer in the engine: those of both configurations and the tokenizer."""
    found = [tokenizer.eos_token_id]
    for name in ("generation_config.json", "config.json"):
        if (path / name).is_file():
            config = json.loads((path / name).read_text(encoding="utf-8"))
            value = config.get("eos_token_id", (config.get("text_config") or {}).get("eos_token_id"))
            found += value if isinstance(value, list) else [value]
    return frozenset(int(token_id) for token_id in found if token_id is not None)


def untrained(path: Path, tokenizer: Any, token_ids: Iterable[int]) -> frozenset[int]:
    """Those of `token_ids` whose embedding is that of reserved tokens that no text ever held.

    A base model's vocabulary has the turn tokens of its chat model, but it has not seen them: their
    embeddings have stayed alike, and an adapter on other layers can hardly teach the model to emit one.
    """
    special = sorted(tokenizer.added_tokens_decoder)
    rows = _embeddings(path, [*special, *_spread(len(tokenizer))])
    if rows is None or len(special) < 2:
        return frozenset()
    import torch

    centred = torch.nn.functional.normalize(rows[: len(special)] - rows[len(special) :].mean(0), dim=1)
    found = []
    for token_id in sorted({*token_ids} & {*special}):
        alike = centred @ centred[special.index(token_id)]
        alike[special.index(token_id)] = -1
        if float(alike.max()) > _ALIKE:
            found.append(token_id)
    return frozenset(found)


def _spread(size: int) -> list[int]:
    return sorted({(size - 1) * place // (_SAMPLED - 1) for place in range(_SAMPLED)})


def _embeddings(path: Path, token_ids: list[int]) -> Any:
    """Those rows of the input embedding, float32; None if there is no such matrix."""
    import torch
    from safetensors import safe_open

    for file in weight_files(path):
        with safe_open(str(file), framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                if name.endswith("embed_tokens.weight"):
                    matrix = tensors.get_slice(name)
                    size = matrix.get_shape()[0]
                    return torch.cat(
                        [matrix[min(n, size - 1) : min(n, size - 1) + 1] for n in token_ids]
                    ).float()
    return None

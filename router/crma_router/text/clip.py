"""What of a text the embedder gets to see.

Owns: the length budget, what is no text at all. Knows nothing of embeddings or domains.
"""

# About what the default embedder reads (256 tokens). A long text keeps its two ends: questions stand there.
BUDGET_CHARACTERS = 1000


def clip(text: str) -> str:
    """At most `BUDGET_CHARACTERS` of `text`, half from its head and half from its tail, valid as UTF-8."""
    if len(text) > BUDGET_CHARACTERS:
        half = (BUDGET_CHARACTERS - 1) // 2
        text = f"{text[:half]} {text[-half:]}"
    # JSON may carry lone surrogates ("\ud800"), which tokenizers refuse.
    return text.encode("utf-8", "replace").decode("utf-8").strip()


def has_words(text: str) -> bool:
    """Whether there is a letter or digit at all, in any script."""
    return any(character.isalnum() for character in text)


def cut_tokens(ids: list[int], budget: int) -> list[int]:
    """At most `budget` of a text's token ids: as many from the head as from the tail, or one more."""
    if len(ids) <= budget:
        return ids
    head = (budget + 1) // 2
    return ids[:head] + ids[len(ids) - (budget - head) :]

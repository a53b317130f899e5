"""How much of a text is read, and what is no text at all."""

# About 400 tokens. A long text keeps its two ends: questions stand there.
BUDGET_CHARACTERS = 1600


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

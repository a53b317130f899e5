"""Which tokens of a text are worth the encoder's time: those of its rarest words, each once.

Owns: how telling a token is. Knows nothing of tokenizers, sessions or domains.

BERT's vocabulary is sorted by frequency, so a late id is a rare word; a word in several pieces is as rare as
its rarest piece, and its pieces go together as long as there is room. Every layer costs the same for each
token, "of" and "the" included, and these say least of a question's domain. PoWER-BERT (Goyal et al. 2020,
arXiv 2001.08950) learns to leave out tokens between the layers; here it is done before them, by a rule.
"""

from collections.abc import Mapping

_CONTINUES = "##"  # WordPiece: this piece goes on with the word before


class TellingTokens:
    """Chooses among the token ids of a text. Threads may share one."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        """`vocabulary`: token -> id."""
        self._continuing = frozenset(at for token, at in vocabulary.items() if token.startswith(_CONTINUES))

    def of(self, ids: list[int], budget: int) -> list[int]:
        """At most `budget` >= 2 of `ids`, in their order; the first and the last, [CLS] and [SEP], always."""
        if len(ids) <= budget:
            return ids
        telling = self._telling(ids)
        inner = sorted(range(1, len(ids) - 1), key=lambda at: (telling[at], -at), reverse=True)
        return [ids[at] for at in sorted([0, *inner[: budget - 2], len(ids) - 1])]

    def _telling(self, ids: list[int]) -> list[int]:
        """Of each token the highest id in its word; below 0 if the word stood before."""
        words: list[tuple[int, ...]] = []
        for token in ids:
            if words and token in self._continuing:
                words[-1] += (token,)
            else:
                words.append((token,))
        first = {word: at for at, word in reversed([*enumerate(words)])}
        telling = [max(word) if first[word] == at else -1 for at, word in enumerate(words)]
        return [one for one, word in zip(telling, words, strict=True) for _ in word]

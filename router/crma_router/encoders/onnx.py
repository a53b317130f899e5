"""The fast embedder: all-MiniLM-L6-v2 in int8 on one core, of a text's two ends, beside all of its words.

Owns: tokens, how many of them are read, the ONNX Runtime session. Knows nothing of domains or decisions.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crma_adapters.errors import RouterError
from crma_adapters.models.packaged import embedder_path
from crma_router.encoders.sentence_transformers import DEFAULT_EMBEDDER, Embeddings
from crma_router.encoders.telling_tokens import TellingTokens
from crma_router.encoders.word_vectors import WordVectors
from crma_router.text.clip import cut_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# A token takes 0.25 ms on one AVX2 core. Of a text's two ends, ENDS_TOKENS together, the encoder reads the
# TELLING_TOKENS that are of the rarest words, [CLS] and [SEP] counted: as good as all of 24 from the ends, in
# 70% of the time; 14 cost 0.004 in-domain. The ends alone, cut to 16, lose 16 points where a question opens
# with another domain's name. Figures: docs/router.md.
ENDS_TOKENS = 32
TELLING_TOKENS = 16

_NAME = re.compile(re.escape(DEFAULT_EMBEDDER) + r"/int8/([1-9][0-9]{0,2})(?:/([1-9][0-9]{0,2}))?(\+words)?")
_SPECIAL_TOKENS = 1  # at each end: [CLS], [SEP]
_FEWEST_TOKENS, _MOST_TOKENS = 4, 256

_FEW_TEXTS = 16  # more than these, as in fitting, are spread over the cores

_READ_LATELY = 64  # texts whose words were asked for, and which may be embedded whole next


class Int8Embedder:
    """The packaged MiniLM without torch. Its name tells its precision, the tokens of the two ends, how many
    of those are read if not all, and `+words`: `all-MiniLM-L6-v2/int8/32/16+words`.

    With `words`, the sentence vector of the two ends (384) stands beside the mean word vector of the whole
    text (384), the same weight to both: what a text is about shows in its words, also in its middle.

    Texts are embedded one by one: int8 activations share one scale, so a text's vector must not hang on which
    others happened to be asked beside it, and on one core a batch is no faster.
    """

    def __init__(
        self,
        ends_tokens: int = ENDS_TOKENS,
        telling_tokens: int | None = TELLING_TOKENS,
        *,
        words: bool = True,
    ) -> None:
        """Build the graph from the packaged weights, under a second. `telling_tokens` None: all of the ends.

        Raises:
            RouterError: a number is not 4 to 256, the second is not below the first, or a package is missing.
        """
        most = _MOST_TOKENS if telling_tokens is None else ends_tokens - 1
        for tokens, limit in ((ends_tokens, _MOST_TOKENS), (telling_tokens, most)):
            if tokens is not None and not _FEWEST_TOKENS <= tokens <= limit:
                raise RouterError(
                    f"{ends_tokens} tokens of a text's ends, {telling_tokens} of them read; expected "
                    f"{_FEWEST_TOKENS} to {_MOST_TOKENS}, and fewer read than there are: the defaults are "
                    f"{ENDS_TOKENS} and {TELLING_TOKENS}"
                )
        read = "" if telling_tokens is None else f"/{telling_tokens}"
        self.name = f"{DEFAULT_EMBEDDER}/int8/{ends_tokens}{read}" + ("+words" if words else "")
        self._ends_tokens, self._telling_tokens = ends_tokens, telling_tokens
        self._load(embedder_path())
        self._words = WordVectors(embedder_path() / "model.safetensors") if words else None
        # What `encode_words` read is what `encode` reads next: twice 0.8 ms if the text is long.
        self._read = lru_cache(_READ_LATELY)(partial(_tokens_and_words, self._tokenizer, self._words))

    @classmethod
    def named(cls, name: str) -> "Int8Embedder | None":
        """The embedder of that name, or None if the name is of another kind."""
        if (match := _NAME.fullmatch(name)) is None:
            return None
        return cls(int(match[1]), int(match[2]) if match[2] else None, words=match[3] is not None)

    def _load(self, folder: Path) -> None:
        try:  # here, because only who routes should pay for them
            from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions
            from tokenizers import Tokenizer

            from crma_router.encoders.graph import build_graph
        except ImportError as error:
            raise RouterError(
                f"embedder {self.name!r} needs {error.name}, which is not installed: "
                "`pip install onnx onnxruntime tokenizers`"
            ) from error
        # Never set again: a tokenizer whose padding or truncation changes must not be shared by threads.
        # https://github.com/huggingface/tokenizers/issues/537
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._telling = TellingTokens(self._tokenizer.get_vocab())
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the other cores are the engine's
        options.log_severity_level = 3
        # As it is built: the fusion of a layer norm with the addition before it takes three times as long.
        options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
        graph = build_graph(folder / "model.safetensors").SerializeToString()
        self._session = InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def encode_words(self, texts: list[str]) -> Embeddings:
        """(N, 384) float32: the word part of `encode`, of unit norm; (N, 0) without words.

        A tenth of a millisecond a text.
        """
        size = 0 if self._words is None else self._words.size
        return np.array([self._read(text)[1] for text in texts], np.float32).reshape(len(texts), size)

    def encode(self, texts: list[str]) -> Embeddings:
        """(N, 768) float32, unit norm; (N, 384) without words. Threads may call it at once."""
        if len(texts) <= _FEW_TEXTS:
            rows = [self._embed(text) for text in texts]
        else:
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
                rows = list(threads.map(self._embed, texts))
        return np.stack(rows) if rows else self.encode([""])[:0]

    def _embed(self, text: str) -> Embeddings:
        ids, words = self._read(text)
        read = cut_tokens(ids, self._ends_tokens)
        if self._telling_tokens is not None:
            read = self._telling.of(read, self._telling_tokens)
        given = np.array([read], dtype=np.int32)
        sentence = np.asarray(self._session.run(None, {"ids": given})[0][0], dtype=np.float32)
        if self._words is None:
            return sentence
        both = np.concatenate([sentence, words])
        return np.asarray(both / np.linalg.norm(both), dtype=np.float32)


def _tokens_and_words(
    tokenizer: "Tokenizer", words: WordVectors | None, text: str
) -> tuple[list[int], Embeddings]:
    """The ids of `text`, and the mean word vector of all of them: (384,), or (0,) without words."""
    ids: list[int] = tokenizer.encode(text).ids
    if words is None:
        return ids, np.zeros(0, np.float32)
    return ids, words.mean(ids[_SPECIAL_TOKENS:-_SPECIAL_TOKENS])

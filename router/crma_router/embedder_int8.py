"""The fast embedder: all-MiniLM-L6-v2 in int8 on one core, of a text's two ends, beside all of its words.

Owns: tokens, the token budget, the ONNX Runtime session. Knows nothing of domains or decisions.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from crma_adapters.errors import RouterError
from crma_adapters.packaged import embedder_path
from crma_router.embedder import DEFAULT_EMBEDDER, Embeddings
from crma_router.features import cut_tokens
from crma_router.word_vectors import WordVectors

# One text takes 0.2 ms a token on one AVX2 core: these are what 5 ms allow. Beside the words, 48 are no
# better; with 16, questions that open with another domain's name lose 16 points. Figures: docs/router.md.
BUDGET_TOKENS = 24

_NAME = re.compile(re.escape(DEFAULT_EMBEDDER) + r"/int8/([1-9][0-9]{0,2})(\+words)?")
_SPECIAL_TOKENS = 1  # at each end: [CLS], [SEP]
_FEWEST_TOKENS, _MOST_TOKENS = 4, 256

_FEW_TEXTS = 16  # more than these, as in fitting, are spread over the cores


class Int8Embedder:
    """The packaged MiniLM without torch. Its name tells its precision, its budget of tokens, and `+words`.

    With `words`, the sentence vector of the two ends (384) stands beside the mean word vector of the whole
    text (384), the same weight to both: what a text is about shows in its words, also in its middle.

    Texts are embedded one by one: int8 activations share one scale, so a text's vector must not hang on which
    others happened to be asked beside it, and on one core a batch is no faster.
    """

    def __init__(self, budget_tokens: int = BUDGET_TOKENS, *, words: bool = True) -> None:
        """Build the graph from the packaged weights, under a second.

        Raises:
            RouterError: the budget is not 4 to 256, or a package is missing.
        """
        if not _FEWEST_TOKENS <= budget_tokens <= _MOST_TOKENS:
            raise RouterError(
                f"token budget {budget_tokens}; expected {_FEWEST_TOKENS} to {_MOST_TOKENS}: "
                f"the default is {BUDGET_TOKENS}"
            )
        self.name = f"{DEFAULT_EMBEDDER}/int8/{budget_tokens}" + ("+words" if words else "")
        self._budget = budget_tokens
        self._load(embedder_path())
        self._words = WordVectors(embedder_path() / "model.safetensors") if words else None

    @classmethod
    def named(cls, name: str) -> "Int8Embedder | None":
        """The embedder of that name, or None if the name is of another kind."""
        match = _NAME.fullmatch(name)
        return cls(int(match[1]), words=match[2] is not None) if match else None

    def _load(self, folder: Path) -> None:
        try:  # here, because only who routes should pay for them
            from onnxruntime import InferenceSession, SessionOptions
            from tokenizers import Tokenizer

            from crma_router.embedder_graph import build_graph
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
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the other cores are the engine's
        options.log_severity_level = 3
        graph = build_graph(folder / "model.safetensors").SerializeToString()
        self._session = InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def encode(self, texts: list[str]) -> Embeddings:
        """(N, 768) float32, unit norm; (N, 384) without words. Threads may call it at once."""
        if len(texts) <= _FEW_TEXTS:
            rows = [self._embed(text) for text in texts]
        else:
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
                rows = list(threads.map(self._embed, texts))
        return np.stack(rows) if rows else self.encode([""])[:0]

    def _embed(self, text: str) -> Embeddings:
        ids = self._tokenizer.encode(text).ids
        ends = np.array([cut_tokens(ids, self._budget)], dtype=np.int32)
        sentence = np.asarray(self._session.run(None, {"ids": ends})[0][0], dtype=np.float32)
        if self._words is None:
            return sentence
        both = np.concatenate([sentence, self._words.mean(ids[_SPECIAL_TOKENS:-_SPECIAL_TOKENS])])
        return np.asarray(both / np.linalg.norm(both), dtype=np.float32)

"""The router: text in, decision out.

Owns: pairing a fitted model with its embedder. Knows nothing of stores or servers.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from crma_adapters.errors import RouterError
from crma_router.classifier.artifact import load_model, save_model
from crma_router.classifier.data import RouterData, embed_examples
from crma_router.classifier.domain_classifier import Judge
from crma_router.classifier.fit import ACCEPTANCE, fit_model
from crma_router.classifier.model import RouterModel
from crma_router.drift import Usual
from crma_router.encoders.cache import CachedEmbedder
from crma_router.encoders.names import open_embedder
from crma_router.encoders.sentence_transformers import Embedder, Embeddings
from crma_router.policy import Policy, RoutingDecision, decide
from crma_router.text.clip import clip, has_words
from crma_router.text.spelling import spelling

__all__ = ["Router", "RouterData", "RoutingDecision", "fit_router"]

_READ_LATELY = 256  # texts of at most a thousand characters: some conversations, or as many as wait at a time


class Router:
    """A fitted router with its embedder. Threads may share one. Texts asked again are not embedded again."""

    def __init__(self, model: RouterModel, embedder: Embedder) -> None:
        """Raises `RouterError` if `embedder` is not the one `model` was fitted with."""
        self.model = model
        # Another router's embedder comes with its cache; one around the other would grow with every release.
        self._embedder = embedder if isinstance(embedder, CachedEmbedder) else CachedEmbedder(embedder)
        if embedder.name != model.embedder:
            raise RouterError(
                f"embedder {embedder.name!r} given, but the router was fitted with {model.embedder!r}; "
                "give that one, or fit the router again"
            )
        _check_size(embedder.name, embedder.encode(["which size?"]), model.judge)
        if model.first is not None:
            _check_size(embedder.name, self._embedder.encode_words(["which size?"]), model.first.judge)
        # A new text is opened by `route_known` and again by `route_many`: twice 0.5 ms if it is long.
        self._opened = lru_cache(_READ_LATELY)(partial(_open, model, self._embedder, spelling().corrected))

    @property
    def domains(self) -> tuple[str, ...]:
        """The names a text can be routed to."""
        return self.model.judge.domains

    @property
    def policy(self) -> Policy:
        """What it takes to be routed."""
        return self.model.policy

    @property
    def usual(self) -> Usual | None:
        """What its decisions usually look like, if that was kept."""
        return self.model.usual

    @property
    def embedder(self) -> Embedder:
        """The one it was fitted with."""
        return self._embedder

    def route(self, text: str) -> RoutingDecision:
        """Decide for one text of any length; a text without words falls back."""
        return self.route_many([text])[0]

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        """Decide for each text, embedding them in one go."""
        opened = [self._opened(clip(text)) for text in texts]
        rest = [read for read, first in opened if first is None]
        later = iter(self._decide(rest, self._embedder.encode(rest)) if rest else ())
        return [next(later) if first is None else first for _, first in opened]

    def route_known(self, text: str) -> RoutingDecision | None:
        """The decision if the text's words alone decide, or it was embedded lately; else None.

        Takes some tenths of a millisecond.
        """
        read, first = self._opened(clip(text))
        if first is not None:
            return first
        embedding = self._embedder.known(read)
        return None if embedding is None else self._decide([read], embedding)[0]

    def read(self, text: str) -> str:
        """`text` as it is embedded: its two ends if it is long, typing mistakes put right."""
        return self._opened(clip(text))[0]

    def _decide(self, read: list[str], embeddings: Embeddings) -> list[RoutingDecision]:
        return [
            decide(replace(one, has_words=has_words(text)), self.model.policy)
            for one, text in zip(self.model.judge.evidence(embeddings), read, strict=True)
        ]

    def save(self, directory: Path) -> None:
        """Write `router.json` and `router.safetensors` into `directory`: same router, same bytes."""
        save_model(self.model, directory)

    @classmethod
    def load(cls, directory: Path, embedder: Embedder | None = None) -> "Router":
        """Read what `save` wrote; without `embedder`, the one it names is loaded.

        Raises:
            RouterError: the folder holds no sound router, or it was fitted with another embedder.
        """
        model = load_model(directory)
        return cls(model, embedder or open_embedder(model.embedder))


def _open(
    model: RouterModel, embedder: CachedEmbedder, corrected: Callable[[str], str], clipped: str
) -> tuple[str, RoutingDecision | None]:
    """The text as it is embedded, and where its words alone send it, if they do."""
    read = corrected(clipped)
    if model.first is None or not has_words(read):
        return read, None
    (evidence,) = model.first.evidence(embedder.encode_words([read]), model.judge.outside.threshold)
    decision = None if evidence is None else decide(evidence, model.policy)
    # A policy that asks for more than the words give is a question for the whole embedding.
    return read, decision if decision and decision.domain else None


def _check_size(name: str, embeddings: Embeddings, judge: Judge) -> None:
    given, expected = embeddings.shape[1], judge.head.size
    if given != expected:
        raise RouterError(
            f"embedder {name!r} gives {given} dimensions, the router was fitted on {expected}; "
            "another model goes by that name: restore it, or fit the router again"
        )


def fit_router(
    data: RouterData, embedder: Embedder, *, seed: int = 0, acceptance: float = ACCEPTANCE
) -> Router:
    """Fit a router on example questions: the same questions in any order and the same seed, the same router.

    `acceptance`: the share of the domains' held-out questions that must count as inside.

    Raises:
        RouterError: no domain, a name no domain may bear, too few examples, or embeddings not finite.
    """
    model = fit_model(embed_examples(data, embedder, seed=seed), embedder.name, seed, acceptance)
    return Router(model, embedder)

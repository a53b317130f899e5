"""Routers beside ours that need no more than an encoder: classifiers, neighbours, descriptions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from crma_router.classifier.data import RouterData
from crma_router.encoders.base import Embedder

NONE = ""
"""How a peer's classes name what is of no domain."""
DESCRIPTIONS = {
    "medical": "a question about health, diseases, symptoms, medicines and their treatment",
    "legal": "a question about law, courts, contracts, rights and crimes",
    "financial": "a question about money, taxes, loans, banks, stocks and investing",
    "code": "a question about programming, source code, software development and the command line",
    "science": "a question about physics, chemistry, biology, astronomy and the earth",
}


@dataclass(frozen=True)
class Guess:
    """domain: the leading one. score: how sure it is that the text is that domain's; inside: that it is of
    any domain at all. More is surer; neither need be a probability."""

    domain: str
    score: float
    inside: float


class Peer(Protocol):
    """A router that can be fitted."""

    name: str

    @property
    def options(self) -> Sequence[Mapping[str, Any]]:
        """Keywords of `fit` to choose from."""
        ...

    @property
    def fit(self) -> Callable[..., None]:
        """`fit(data, **option)`: on all of `data`, whatever was fitted before."""
        ...

    def guess(self, texts: Sequence[str]) -> list[Guess]:
        """A guess for each text."""
        ...


def rows_of(data: RouterData) -> tuple[list[str], list[str]]:
    """Texts and their classes, what is of none last."""
    texts = [text for own in data.examples.values() for text in own] + list(data.out_of_domain)
    classes = [name for name, own in data.examples.items() for _ in own] + [NONE] * len(data.out_of_domain)
    return texts, classes


class LogisticPeer:
    """Plain multinomial logistic regression on the encoder's vectors, one class for none."""

    options = tuple({"c": c} for c in (0.3, 1.0, 3.0, 10.0, 30.0))

    def __init__(self, name: str, encoder: Embedder) -> None:
        self.name = f"{name} + logistic regression"
        self._encoder = encoder

    def fit(self, data: RouterData, c: float = 1.0) -> None:
        """`c`: scikit-learn's inverse of the L2 penalty."""
        from sklearn.linear_model import LogisticRegression

        texts, classes = rows_of(data)
        self._model = LogisticRegression(C=c, max_iter=2000).fit(self._encoder.encode(texts), classes)

    def guess(self, texts: Sequence[str]) -> list[Guess]:
        """The score is the leading domain's probability, with none a class of its own."""
        shares = self._model.predict_proba(self._encoder.encode(list(texts)))
        return _leading(list(self._model.classes_), shares)


class NeighbourPeer:
    """The classes of the nearest examples by cosine, weighed by likeness."""

    options = tuple({"k": k} for k in (1, 5, 15, 30))

    def __init__(self, name: str, encoder: Embedder) -> None:
        self.name = f"{name} + nearest neighbours"
        self._encoder = encoder

    def fit(self, data: RouterData, k: int = 5) -> None:
        """`k` neighbours are asked."""
        texts, classes = rows_of(data)
        self._k, self._vectors = k, self._encoder.encode(texts)
        self._names = sorted(set(classes))
        self._classes = np.array([self._names.index(name) for name in classes])

    def guess(self, texts: Sequence[str]) -> list[Guess]:
        """The score is the domain's part of the neighbours' likeness."""
        likeness = self._encoder.encode(list(texts)) @ self._vectors.T
        nearest = np.argpartition(-likeness, self._k - 1, axis=1)[:, : self._k]
        weights = np.maximum(np.take_along_axis(likeness, nearest, axis=1), 0.0)
        shares = np.zeros((len(likeness), len(self._names)))
        for at in range(self._k):
            np.add.at(shares, (np.arange(len(shares)), self._classes[nearest[:, at]]), weights[:, at])
        return _leading(self._names, shares / self._k)


class DescriptionPeer:
    """Zero-shot: the domain whose description in a sentence is nearest. Nothing is fitted."""

    options: tuple[Mapping[str, Any], ...] = ({},)

    def __init__(self, name: str, encoder: Embedder) -> None:
        self.name = f"{name} + descriptions, zero-shot"
        self._encoder = encoder

    def fit(self, data: RouterData) -> None:
        """Only the names count."""
        self._names = list(data.examples)
        self._vectors = self._encoder.encode([DESCRIPTIONS[name] for name in self._names])

    def guess(self, texts: Sequence[str]) -> list[Guess]:
        """The score is the cosine."""
        return _leading(self._names, self._encoder.encode(list(texts)) @ self._vectors.T)


def _leading(names: Sequence[str], scores: Any) -> list[Guess]:
    domains = [at for at, name in enumerate(names) if name != NONE]
    own = np.asarray(scores)[:, domains]
    leaders = own.argmax(axis=1)
    return [
        # Shares of the domains sum to how sure it is of any; of cosines the leader's counts.
        Guess(names[domains[at]], float(row[at]), float(row.sum() if NONE in names else row[at]))
        for at, row in zip(leaders, own, strict=True)
    ]

"""The other routers, each behind one method: nearest examples, logistic regression, libraries."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from crma_router.classifier.data import RouterData
from crma_router.encoders.base import MINILM_NAME, USE_NAME, Embedder, Embeddings, open_embedder


class MemorisingEncoder:
    """Texts encoded before are not encoded again: peers share an encoder's vectors."""

    def __init__(self, encoder: Embedder) -> None:
        self.name, self.languages = encoder.name, encoder.languages
        self._encoder = encoder
        self._known: dict[str, Embeddings] = {}

    def encode(self, texts: list[str]) -> Embeddings:
        """(N, D) float32, unit norm."""
        new = sorted({text for text in texts if text not in self._known}, key=len)
        for start in range(0, len(new), 256):
            batch = new[start : start + 256]
            self._known.update(zip(batch, self._encoder.encode(batch), strict=True))
        return np.stack([self._known[text] for text in texts])


def encoders() -> dict[str, MemorisingEncoder]:
    """MiniLM (English) and the multilingual USE."""
    return {
        "MiniLM": MemorisingEncoder(open_embedder(MINILM_NAME)),
        "USE": MemorisingEncoder(open_embedder(USE_NAME)),
    }


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


SEED = 0


def installed(package: str) -> bool:
    """Whether it can be imported; nothing is."""
    return importlib.util.find_spec(package) is not None


class SemanticRouterPeer:
    """semantic-router's IndexedRouter: an utterance for every example, those of none a route of their own."""

    package = "semantic_router"
    options: tuple[Mapping[str, Any], ...] = (
        {"top_k": 5, "aggregation": "mean"},
        {"top_k": 5, "aggregation": "sum"},
        {"top_k": 20, "aggregation": "sum"},
        {"top_k": 20, "aggregation": "max"},
    )

    def __init__(self, name: str, encoder: Embedder) -> None:
        self.name = f"semantic-router, {name}"
        self._encoder = encoder

    def fit(self, data: RouterData, top_k: int = 5, aggregation: str = "mean") -> None:
        """`top_k` utterances are found, their likenesses put together by `aggregation`."""
        from semantic_router import IndexedRouter, Route
        from semantic_router.encoders import DenseEncoder

        encode = self._encoder.encode

        class Ours(DenseEncoder):  # type: ignore[misc]
            def __call__(self, docs: list[Any]) -> list[list[float]]:
                return [vector.tolist() for vector in encode([str(one) for one in docs])]

        routes = [Route(name=name, utterances=list(texts)) for name, texts in data.examples.items()]
        routes.append(Route(name="none-of-them", utterances=list(data.out_of_domain)))
        self._router = IndexedRouter(Ours(name="ours"), routes, top_k=top_k, aggregation=aggregation)

    def guess(self, texts: Sequence[str]) -> list[Guess]:
        """The score is the leading domain's less that of none."""
        from semantic_router.routers.base import run

        found = []
        for scores in run(self._router._scores_many(list(texts))):
            outside = scores.pop("none-of-them", 0.0)
            leader = max(scores, key=scores.__getitem__)
            found.append(Guess(leader, scores[leader] - outside, scores[leader] - outside))
        return found


class SetFitPeer:
    """SetFit (Tunstall et al. 2022, arXiv 2209.11055): the encoder tuned on pairs, then logistic regression.

    Pairs grow with the square of the examples: `each` are taken of every class.
    """

    package = "setfit"
    options: tuple[Mapping[str, Any], ...] = ({"each": 16}, {"each": 32})

    def __init__(self, name: str, path: str) -> None:
        self.name = f"SetFit, {name}"
        self._path = path

    def fit(self, data: RouterData, each: int = 16) -> None:
        """One epoch over `each` examples of every class, spread over them."""
        from datasets import Dataset
        from setfit import SetFitModel, Trainer, TrainingArguments

        pairs: list[tuple[str, str]] = []
        for name, texts in [*data.examples.items(), (NONE, data.out_of_domain)]:
            wanted = each if name != NONE else 4 * each
            places = range(min(wanted, len(texts)))
            pairs += [(texts[at * len(texts) // wanted], name or "none") for at in places]
        names = sorted({name for _, name in pairs})
        self._model = SetFitModel.from_pretrained(self._path, labels=names)
        rows = Dataset.from_dict(
            {"text": [text for text, _ in pairs], "label": [names.index(name) for _, name in pairs]}
        )
        arguments = TrainingArguments(
            batch_size=16, num_epochs=1, num_iterations=5, seed=SEED, report_to="none", save_strategy="no"
        )
        Trainer(model=self._model, args=arguments, train_dataset=rows).train()
        texts, classes = rows_of(data)
        # The body is tuned on few; its head sees all, as every other peer's does.
        self._model.model_head.fit(self._model.encode(texts), [name or "none" for name in classes])
        self._names = list(self._model.model_head.classes_)

    def guess(self, texts: Sequence[str]) -> list[Guess]:
        """The score is the leading domain's probability."""
        shares = self._model.model_head.predict_proba(self._model.encode(list(texts)))
        found = []
        for row in shares:
            own = {name: float(share) for name, share in zip(self._names, row, strict=True) if name != "none"}
            leader = max(own, key=own.__getitem__)
            found.append(Guess(leader, own[leader], sum(own.values())))
        return found

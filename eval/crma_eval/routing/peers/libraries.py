"""Routers of other libraries: semantic-router's index, SetFit. Each is left out where it is not installed."""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from crma_eval.routing.peers.peers import NONE, Guess, rows_of
from crma_router.classifier.data import RouterData
from crma_router.encoders.base import Embedder

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

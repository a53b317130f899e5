"""The plain router beside ours on many domains: logistic regression, what is of none one class more."""

import numpy as np

from crma_router.classifier.data import RouterData
from crma_router.encoders.base import Embedder
from crma_router.policy import RoutingDecision

NONE = ""


class PlainRouter:
    """Sends a text to its likeliest class; there is no threshold beside."""

    def __init__(self, data: RouterData, encoder: Embedder, c: float = 10.0) -> None:
        """`c`: scikit-learn's inverse of the L2 penalty."""
        from sklearn.linear_model import LogisticRegression

        texts = [text for own in data.examples.values() for text in own] + list(data.out_of_domain)
        names = [name for name, own in data.examples.items() for _ in own] + [NONE] * len(data.out_of_domain)
        self._encoder = encoder
        self._model = LogisticRegression(C=c, max_iter=500).fit(encoder.encode(texts), names)

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        """A decision for each text."""
        shares = self._model.predict_proba(self._encoder.encode(texts))
        names: list[str] = list(self._model.classes_)
        return [_decision(dict(zip(names, map(float, row), strict=True))) for row in np.asarray(shares)]


def _decision(shares: dict[str, float]) -> RoutingDecision:
    none = shares.pop(NONE, 0.0)
    leader = max(shares, key=shares.__getitem__)
    sent = shares[leader] >= none
    return RoutingDecision(
        domain=leader if sent else None,
        confidence=shares[leader],
        path="routed" if sent else "fallback",
        reason=f"{leader} has {shares[leader]:.2f}, none of them {none:.2f}",
        scores=shares,
        ood_distance=none - shares[leader],
        ood_threshold=0.0,
        cause="sure" if sent else "out of domain",
    )

"""The router: turns in, decisions out."""

from collections import OrderedDict
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np

from crma_adapters.errors import RouterError
from crma_router.classifier.artifact import load_model, save_model
from crma_router.classifier.data import RouterData, distinct, embed_examples
from crma_router.classifier.fit import ACCEPTANCE, fit_model
from crma_router.classifier.model import RouterModel
from crma_router.drift import ReferenceStats
from crma_router.encoders.base import Embedder, Embeddings, open_embedder
from crma_router.example_map import ExampleMap
from crma_router.policy import ClassifierOutput, Policy, RoutingDecision, decide
from crma_router.roles.reading import TurnReading, read_turns
from crma_router.roles.role_classifier import RoleClassifier, fit_roles
from crma_router.text.words import count_words, language_of

__all__ = ["Router", "RouterData", "RoutingDecision", "fit_router"]

_DECIDED_LATELY = 512
_LEANS = 0.4
"""From which probability of only carrying on a question is decided by what is given with it."""

_SHORT_TEXT = 300  # characters
_EMBEDDED_LATELY = 4096
"""Short texts whose vectors are kept: 8 MB of 512 dimensions."""

_FOR_ROLES = 1000  # questions that the role classifier sees


class Router:
    """A fitted router with its encoder. Threads may share one. Turns asked again are not read again."""

    def __init__(self, model: RouterModel, embedder: Embedder) -> None:
        """Raises `RouterError` if `embedder` is not the one `model` was fitted with."""
        self.model = model
        self.embedder = embedder
        if embedder.name != model.embedder:
            raise RouterError(
                f"embedder {embedder.name!r} given, but the router was fitted with {model.embedder!r}; "
                "give that one, or fit the router again"
            )
        given, expected = embedder.encode(["which size?"]).shape[1], model.classifier.head.size
        if given != expected:
            raise RouterError(
                f"embedder {embedder.name!r} gives {given} dimensions, the router was fitted on {expected}; "
                "another model goes by that name: restore it, or fit the router again"
            )
        self._decided: OrderedDict[str, RoutingDecision] = OrderedDict()
        self._embedded: OrderedDict[str, Embeddings] = OrderedDict()
        self._lock = Lock()

    @property
    def domains(self) -> tuple[str, ...]:
        """The names a text can be routed to."""
        return self.model.classifier.domains

    @property
    def policy(self) -> Policy:
        """What it takes to be routed."""
        return self.model.policy

    @property
    def usual(self) -> ReferenceStats:
        """What its decisions usually look like."""
        return self.model.usual

    @cached_property
    def example_map(self) -> ExampleMap:
        """Its examples in two dimensions. Decisions from then on have their place in it."""
        return ExampleMap.of(self.model.classifier)

    def route(self, text: str) -> RoutingDecision:
        """Decide for one turn of any length; a turn without words, or that asks nothing, falls back."""
        return self.route_many([text])[0]

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        """Decide for each turn, embedding them in one go."""
        known = {text: self.route_known(text) for text in texts}
        new = [text for text, decision in known.items() if decision is None]
        for text, made in zip(new, self._decide(new), strict=True):
            known[text] = made
            self._remember(text, made)
        return [decision for text in texts if (decision := known[text]) is not None]

    def route_known(self, text: str) -> RoutingDecision | None:
        """The decision if the turn was decided lately, else None. Takes microseconds."""
        with self._lock:
            decision = self._decided.get(text)
            if decision is not None:
                self._decided.move_to_end(text)
            return decision

    def _remember(self, text: str, decision: RoutingDecision) -> None:
        if len(text) > 10_000:
            return
        with self._lock:
            self._decided[text] = decision
            if len(self._decided) > _DECIDED_LATELY:
                self._decided.popitem(last=False)

    def _decide(self, turns: list[str]) -> list[RoutingDecision]:
        if not turns:
            return []
        clean = [self._corrected(turn.encode("utf-8", "replace").decode("utf-8")) for turn in turns]
        readings = read_turns(clean, self._encode, self.model.roles)
        passages = [
            passage
            for one in readings
            for passage in (one.read, one.context if _leans(one) else None)
            if passage is not None
        ]
        vectors = np.stack([one.vector for one in passages]) if passages else np.zeros((0, 1), np.float32)
        outputs = dict(zip(map(id, passages), self.model.classifier.outputs(vectors), strict=True))
        return [self._decision(one, outputs) for one in readings]

    def _encode(self, texts: list[str]) -> Embeddings:
        """(N, D). What stands around questions comes again and again: short texts are embedded once."""
        with self._lock:
            found = {text: self._embedded[text] for text in texts if text in self._embedded}
        new = [text for text in texts if text not in found]
        if new:
            found |= zip(new, self.embedder.encode(new), strict=True)
        with self._lock:
            self._embedded |= {text: found[text] for text in new if len(text) <= _SHORT_TEXT}
            while len(self._embedded) > _EMBEDDED_LATELY:
                self._embedded.popitem(last=False)
        return np.stack([found[text] for text in texts])

    def _decision(self, reading: TurnReading, outputs: dict[int, ClassifierOutput]) -> RoutingDecision:
        passage = reading.read
        if passage is None:
            return self._without_words()
        decision = self._of_text(passage.text, outputs[id(passage)])
        if reading.asked is None and reading.context is None:
            reason = "the turn asks nothing: it only says how to answer"
            decision = replace(decision, domain=None, path="fallback", cause="form", reason=reason)
        if reading.context and _leans(reading) and decision.domain is None:
            given = self._of_text(reading.context.text, outputs[id(reading.context)])
            if given.domain is not None:
                reason = f"the question says little, and what is given with it decides: {given.reason}"
                decision = replace(given, reason=reason, cause="context")
        return replace(
            decision,
            asked=passage.text,
            carries=reading.carries,
            words=int(count_words(passage.text)),
            vector=passage.vector,
            place=self.example_map.place(passage.vector) if "example_map" in self.__dict__ else None,
        )

    def _of_text(self, text: str, output: ClassifierOutput) -> RoutingDecision:
        decision = decide(output, self.model.policy)
        language = language_of(text) if decision.domain and self.model.languages else None
        if language is None or language in self.model.languages:
            return decision
        known = ", ".join(self.model.languages)
        reason = f"the text is in {language!r}, the encoder was trained on {known}; {decision.reason}"
        return replace(decision, domain=None, path="fallback", cause="language", reason=reason)

    def _without_words(self) -> RoutingDecision:
        scores = dict.fromkeys(self.domains, 1 / len(self.domains))
        threshold = self.model.classifier.ood.threshold
        return decide(ClassifierOutput(scores, threshold, threshold, has_words=False), self.model.policy)

    def _corrected(self, text: str) -> str:
        if not self.model.spelling:
            return text
        from crma_router.text.spelling import spelling

        return spelling().corrected(text)

    def save(self, directory: Path) -> None:
        """Write `router.json` and `router.safetensors` into `directory`: same router, same bytes."""
        save_model(self.model, directory)

    @classmethod
    def load(cls, directory: Path, embedder: Embedder | None = None) -> "Router":
        """Read what `save` wrote; without `embedder`, the one it names is loaded.

        Raises:
            RouterError: the folder holds no sound router, or it was fitted with another encoder.
        """
        model = load_model(directory)
        return cls(model, embedder or open_embedder(model.embedder))


def fit_router(
    data: RouterData,
    embedder: Embedder,
    *,
    seed: int = 0,
    acceptance: float = ACCEPTANCE,
    roles: RoleClassifier | None = None,
) -> Router:
    """Fit a router on example questions: the same questions in any order and the same seed, the same router.

    `acceptance`: the share of the domains' held-out questions that must count as inside. `roles`: those
    fitted before with the same encoder.

    Raises:
        RouterError: no domain, a name no domain may bear, too few examples, or embeddings not finite.
    """
    examples = embed_examples(data, embedder, seed=seed)
    if roles is None:
        roles = fit_roles(embedder, _some_questions(data, seed), seed)
    return Router(fit_model(examples, embedder, roles, seed, acceptance), embedder)


def _leans(reading: TurnReading) -> bool:
    """Whether what is given may decide: the question is missing, or only carries on."""
    return reading.asked is None or reading.carries >= _LEANS


def _some_questions(data: RouterData, seed: int) -> list[str]:
    """As many of each domain and of none, drawn from what is sorted."""
    groups = [distinct(texts) for _, texts in sorted(data.examples.items())] + [distinct(data.out_of_domain)]
    chance = np.random.default_rng(seed)
    most = max(1, _FOR_ROLES // len(groups))
    return [group[at] for group in groups if group for at in chance.permutation(len(group))[:most]]

"""Changing the live release's router: a domain more, a domain less, other thresholds, another encoder.

Needs neither the language model nor the data it was trained on. A router keeps the vectors of what it was
fitted on, so that only what is new is embedded.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crma_adapters.errors import RouterError
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_router.classifier.data import (
    AUGMENTATION,
    FEWEST_EXAMPLES,
    EmbeddedExamples,
    RouterData,
    distinct,
    embed_rows,
)
from crma_router.classifier.domain_classifier import TrainingRows, digest_of, unpack
from crma_router.classifier.fit import ACCEPTANCE, fit_model
from crma_router.classifier.kept_examples import load_examples, save_examples
from crma_router.cli.overlap import overlaps
from crma_router.encoders.base import Embeddings, open_embedder
from crma_router.policy import Policy
from crma_router.router import Router, fit_router


@dataclass(frozen=True)
class LiveRouter:
    """The router of a store's live release: number of that release, version of the router."""

    store: Store
    release: int
    version: str
    router: Router

    @property
    def folder(self) -> Path:
        return self.store.router_dir(self.version)


@dataclass(frozen=True, eq=False)
class Change:
    """A router to publish, what it was fitted on (None: as before), what speaks against it, what for."""

    router: Router
    examples: RouterData | None
    objections: Sequence[str]
    note: str


def load_live(store: Store) -> LiveRouter:
    """Raises `RouterError` if the live release has no sound router, `StoreError` if there is no release."""
    release, version = _live_version(store)
    return LiveRouter(store, release, version, Router.load(store.router_dir(version)))


def _live_version(store: Store) -> tuple[int, str]:
    release = store.live()
    if release.router is None:
        raise RouterError(
            f"release {release.number} in {store.root} has no router; `crma-train` fits one, "
            "or ask for an adapter by its name"
        )
    return release.number, release.router.version


def add_domain(
    live: LiveRouter, name: str, texts: Sequence[str], *, acceptance: float = ACCEPTANCE
) -> Change:
    """A router that also knows `name`, or knows more examples of it. Only these are embedded.

    Raises:
        RouterError: no adapter of that name, or too few examples.
    """
    _check_adapter(live, name)
    classifier = live.router.model.classifier
    known = set(classifier.rows.digests.tolist())
    new = [text for text in distinct(list(texts)) if digest_of(text) not in known]
    if not new or (name not in classifier.domains and len(new) < FEWEST_EXAMPLES):
        raise RouterError(
            f"{len(new)} distinct new examples of {name}; a new domain needs {FEWEST_EXAMPLES} or more, "
            f"a known "
            "one at least one: add some"
        )
    domains = tuple(sorted({*classifier.domains, name}))
    labels = np.full(len(new), domains.index(name), np.int64)
    seed = live.router.model.report.seed
    added = embed_rows(new, labels, domains, live.router.embedder, AUGMENTATION, seed).rows
    rows = _joined(_relabelled(classifier.rows, classifier.domains, domains), added)
    examples = _kept(live)
    if examples is not None:
        both = [*examples.examples.get(name, []), *new]
        examples = RouterData(examples.examples | {name: both}, examples.out_of_domain)
    change = _refit(live, EmbeddedExamples(domains, rows), examples, acceptance, f"crma-route add {name}")
    return replace(change, objections=overlaps(live.router, name, new, change.router.model.report))


def remove_domain(live: LiveRouter, name: str, *, acceptance: float = ACCEPTANCE) -> Change:
    """A router without `name`; its adapter stays, and is reached by its name. Raises `RouterError`."""
    classifier = live.router.model.classifier
    if name not in classifier.domains or len(classifier.domains) == 1:
        raise RouterError(
            f"{name!r} cannot be removed: the router has {', '.join(classifier.domains)}; "
            "expected one of them, and another to stay"
        )
    domains = tuple(other for other in classifier.domains if other != name)
    stays = classifier.rows.labels != classifier.domains.index(name)
    rows = _relabelled(classifier.rows.at(stays), classifier.domains, domains)
    examples = _kept(live)
    if examples is not None:
        rest = {other: texts for other, texts in examples.examples.items() if other != name}
        examples = RouterData(rest, examples.out_of_domain)
    return _refit(live, EmbeddedExamples(domains, rows), examples, acceptance, f"crma-route remove {name}")


def calibrate(live: LiveRouter, policy: Policy, acceptance: float | None) -> Change:
    """The router with another policy; fitted again on its own examples if `acceptance` is given."""
    note = "crma-route calibrate"
    if acceptance is None:
        return Change(_with_policy(live.router, policy), None, (), note)
    classifier = live.router.model.classifier
    examples = EmbeddedExamples(classifier.domains, classifier.rows)
    change = _refit(live, examples, None, acceptance, note)
    return replace(change, router=_with_policy(change.router, policy))


def upgrade(store: Store, embedder: str, *, acceptance: float = ACCEPTANCE) -> tuple[LiveRouter, Change]:
    """A router for the live release, fitted anew on the examples kept beside its present one, whatever
    that is.

    Raises `RouterError` if those were not kept.
    """
    number, version = _live_version(store)
    data = load_examples(store.router_dir(version))
    router = fit_router(data, open_embedder(embedder), acceptance=acceptance)
    return LiveRouter(store, number, version, router), Change(router, data, (), "crma-route upgrade")


@dataclass(frozen=True)
class Neighbour:
    """An example, the domain it belongs to (None: none) and its cosine similarity."""

    text: str
    domain: str | None
    similarity: float


def nearest_examples(live: LiveRouter, vector: Embeddings, count: int) -> list[Neighbour]:
    """The `count` examples that are most like the (D,) `vector`, the nearest first.

    Raises `RouterError` if the router's examples were not kept.
    """
    data = load_examples(live.folder)
    texts = {digest_of(text): text for some in (*data.examples.values(), data.out_of_domain) for text in some}
    classifier = live.router.model.classifier
    rows = classifier.rows.at(~classifier.rows.varied)
    similarities = unpack(rows.packed) @ vector
    names: tuple[str | None, ...] = (*classifier.domains, None)
    return [
        Neighbour(text, names[int(rows.labels[at])], float(similarities[at]))
        for at in np.argsort(-similarities, kind="stable")[:count]
        if (text := texts.get(int(rows.digests[at]))) is not None
    ]


def publish_change(live: LiveRouter, change: Change) -> Release:
    """Make it the live release; everything but the router stays.

    Raises `RouterError` if another release went live meanwhile, and as `Store.publish`.
    """
    with live.store.publishing(), tempfile.TemporaryDirectory(prefix="crma-route-") as folder:
        if live.store.live().number != live.release:
            raise RouterError("another release went live meanwhile; nothing published: run the command again")
        draft = Path(folder)
        change.router.save(draft)
        if change.examples is not None:
            save_examples(change.examples, draft)
        elif (kept := live.folder / "examples.jsonl").exists():
            (draft / kept.name).write_bytes(kept.read_bytes())
        return publish_parts(live.store, Publication(router=draft, note=change.note))


def _refit(
    live: LiveRouter, rows: EmbeddedExamples, examples: RouterData | None, acceptance: float, note: str
) -> Change:
    model, embedder = live.router.model, live.router.embedder
    fitted = fit_model(rows, embedder, model.roles, model.report.seed, acceptance)
    fitted = replace(fitted, policy=model.policy, spelling=model.spelling)
    return Change(Router(fitted, embedder), examples, (), note)


def _kept(live: LiveRouter) -> RouterData | None:
    """The router's examples, None if they were not kept."""
    return load_examples(live.folder) if (live.folder / "examples.jsonl").exists() else None


def _relabelled(rows: TrainingRows, before: Sequence[str], after: Sequence[str]) -> TrainingRows:
    """The same rows with labels in the order of `after`, sorted by them; none stays the last."""
    places = np.array(
        [after.index(name) if name in after else -1 for name in before] + [len(after)], np.int64
    )
    moved = replace(rows, labels=places[rows.labels])
    return moved.at(np.argsort(moved.labels, kind="stable"))


def _joined(rows: TrainingRows, added: TrainingRows) -> TrainingRows:
    later = replace(added, originals=added.originals + int(rows.originals.max()) + 1)
    parts = zip(vars(rows).values(), vars(later).values(), strict=True)
    both = TrainingRows(*(np.concatenate(pair) for pair in parts))
    return both.at(np.argsort(both.labels, kind="stable"))


def _with_policy(router: Router, policy: Policy) -> Router:
    return Router(replace(router.model, policy=policy), router.embedder)


def _check_adapter(live: LiveRouter, name: str) -> None:
    served = sorted({*live.store.live().adapters, *live.store.plain_adapters()})
    if name not in served:
        raise RouterError(
            f"no adapter {name!r} in {live.store.root}, so nothing could answer what is routed to it; there "
            f"are {', '.join(served)}: put a PEFT LoRA folder of that name there, or train one"
        )

"""Changing the live release's router: a domain more, a domain less, other thresholds.

Owns: what each change needs, and publishing it as a release whose other parts stay as they are. Needs neither
the language model nor the data it was trained on: the router's own examples are enough.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crma_adapters.errors import RouterError
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_router.classifier.data import RouterData
from crma_router.classifier.fit import ACCEPTANCE
from crma_router.classifier.kept_examples import load_examples, save_examples
from crma_router.cli.overlap import overlaps
from crma_router.policy import Policy
from crma_router.router import Router, fit_router

FEWEST_NEW = 20
"""Distinct examples that a new domain needs."""


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
    release = store.live()
    if release.router is None:
        raise RouterError(
            f"release {release.number} in {store.root} has no router; `crma-train` fits one, "
            "or ask for an adapter by its name"
        )
    version = release.router.version
    return LiveRouter(store, release.number, version, Router.load(store.router_dir(version)))


def add_domain(
    live: LiveRouter, name: str, texts: Sequence[str], *, acceptance: float = ACCEPTANCE
) -> Change:
    """A router that also knows `name`, or knows more examples of it.

    Raises:
        RouterError: no adapter of that name, too few examples, or the router's own were not kept.
    """
    _check_adapter(live, name)
    known = load_examples(live.folder)
    new = sorted(set(texts) - set(known.examples.get(name, [])))
    if not new or (name not in known.examples and len(new) < FEWEST_NEW):
        raise RouterError(
            f"{len(new)} distinct new examples of {name}; a new domain needs {FEWEST_NEW} or more, a known "
            "one at least one: add some"
        )
    examples = known.examples | {name: [*known.examples.get(name, []), *new]}
    change = _refit(live, RouterData(examples, known.out_of_domain), acceptance, f"crma-route add {name}")
    return replace(change, objections=overlaps(live.router, name, new, change.router.model.report))


def remove_domain(live: LiveRouter, name: str, *, acceptance: float = ACCEPTANCE) -> Change:
    """A router without `name`; its adapter stays, and is reached by its name. Raises as `add_domain`."""
    known = load_examples(live.folder)
    if name not in known.examples or len(known.examples) == 1:
        raise RouterError(
            f"{name!r} cannot be removed: the router has {', '.join(sorted(known.examples))}; "
            "expected one of them, and another to stay"
        )
    examples = {other: texts for other, texts in known.examples.items() if other != name}
    return _refit(live, RouterData(examples, known.out_of_domain), acceptance, f"crma-route remove {name}")


def calibrate(live: LiveRouter, policy: Policy, acceptance: float | None) -> Change:
    """The router with another policy; fitted again on its own examples if `acceptance` is given."""
    note = "crma-route calibrate"
    if acceptance is None:
        return Change(_with_policy(live.router, policy), None, (), note)
    change = _refit(live, load_examples(live.folder), acceptance, note)
    return replace(change, router=_with_policy(change.router, policy))


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


def _refit(live: LiveRouter, data: RouterData, acceptance: float, note: str) -> Change:
    model = live.router.model
    router = fit_router(data, live.router.embedder, seed=model.report.seed, acceptance=acceptance)
    return Change(_with_policy(router, model.policy), data, (), note)


def _with_policy(router: Router, policy: Policy) -> Router:
    return Router(replace(router.model, policy=policy), router.embedder)


def _check_adapter(live: LiveRouter, name: str) -> None:
    served = sorted({*live.store.live().adapters, *live.store.plain_adapters()})
    if name not in served:
        raise RouterError(
            f"no adapter {name!r} in {live.store.root}, so nothing could answer what is routed to it; there "
            f"are {', '.join(served)}: put a PEFT LoRA folder of that name there, or train one"
        )

"""The model names clients may use, and what answers to each: `auto`, `medical`, `medical@<version>`, `base`,
`backbone`, each with the suffix `:crma-off`. A name that routes is only recognised here, not decided."""

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from crma_adapters.errors import ConfigError, UnknownModelError
from crma_adapters.store.names import check_domain_name
from crma_router.conversation.sessions import SessionKey

AUTO = "auto"
BASE = "base"
BACKBONE = "backbone"
CRMA_OFF = ":crma-off"

Label = tuple[str, str | None, bool]
"""Adapter, version, and whether a backbone's CRMA is in effect."""


@dataclass(frozen=True)
class Target:
    """One thing that can serve a request.

    `engine_model` is the name the engine knows it by. It follows from content, so it never changes meaning,
    and clients may use it, so the engine's own answers can carry it unchanged. `adapter` is a domain,
    `backbone` or `base`. `backbone` is the version of the CRMA in effect; None: CRMA off.
    """

    engine_model: str
    adapter: str
    version: str | None
    backbone: str | None

    @property
    def label(self) -> "Label":
        """What it is counted under, whichever the backbone."""
        return self.adapter, self.version, self.backbone is not None


@dataclass(frozen=True)
class Entry:
    """What one name stands for, with the backbone's CRMA and without it."""

    with_crma: Target
    without_crma: Target

    def target(self, *, crma: bool) -> Target:
        return self.with_crma if crma else self.without_crma


@dataclass(frozen=True)
class Canary:
    """The second version of a domain, and the share of the domain's sessions it answers."""

    entry: Entry
    weight: float

    def answers(self, key: SessionKey, domain: str) -> bool:
        """Whether it answers the session of `domain` known by `key`.

        That follows from the three alone, so a session stays where it is in every process, and a growing
        weight only adds sessions.
        """
        version = self.entry.with_crma.version or ""
        facts = b"\0".join((key.digest, domain.encode("ascii"), version.encode("ascii")))
        drawn = int.from_bytes(hashlib.sha256(facts).digest()[:8], "big") / 2**64
        return drawn < self.weight


@dataclass(frozen=True)
class Selection:
    """What a client asked for. `entry` is None when the request is to be routed.

    `canary` is the one beside `entry`; an exact name has none: it never means another version.
    """

    entry: Entry | None
    crma: bool
    canary: Canary | None = None


@dataclass(frozen=True)
class Listing:
    """One line of the model list: a name to use, the exact name it stands for now, the model it adapts."""

    name: str
    root: str | None
    parent: str | None


BASE_TARGET = Target(engine_model=BASE, adapter=BASE, version=None, backbone=None)
BASE_ENTRY = Entry(BASE_TARGET, BASE_TARGET)


def adapter_entry(name: str, version: str, backbone: str | None) -> Entry:
    """The entry of a domain's adapter; without a backbone, both of its targets are the LoRA alone."""
    pinned = f"{name}@{version}"
    if backbone is None:
        alone = Target(pinned, name, version, None)
        return Entry(alone, alone)
    return Entry(
        Target(f"{pinned}+{backbone}", name, version, backbone),
        Target(f"{pinned}{CRMA_OFF}", name, version, None),
    )


def backbone_entry(version: str) -> Entry:
    """The entry of the backbone alone; without its CRMA it is the base model."""
    return Entry(Target(f"{BACKBONE}@{version}", BACKBONE, version, version), BASE_TARGET)


def label_of(engine_model: str) -> Label:
    """The `label` of the target that the engine knows by this name."""
    adapter, at, rest = engine_model.partition("@")
    version, plus, _ = rest.removesuffix(CRMA_OFF).partition("+")
    return adapter, version if at else None, bool(plus) or adapter == BACKBONE


class Catalog:
    """Every name that answers while one release is live. Immutable: a new release gets a new catalog."""

    def __init__(
        self,
        adapters: Mapping[str, Entry],
        backbone: Entry | None,
        served_names: Iterable[str] = (),
        *,
        canaries: Mapping[str, Canary] | None = None,
        kept: Iterable[Entry] = (),
    ) -> None:
        """`served_names` are vLLM's `--served-model-name`s: they route, as `auto` does. `canaries` stand by
        domain. `kept` are entries of earlier releases, latest first: they answer to exact names alone.

        Raises:
            StoreError: an adapter bears a name that has another meaning.
            ConfigError: a served name is also an adapter's.
        """
        for name in adapters:
            check_domain_name(name)
        self._named = dict(adapters) | ({BACKBONE: backbone} if backbone else {}) | {BASE: BASE_ENTRY}
        self._canaries = dict(canaries or {})
        self._live = (*self._named.values(), *(canary.entry for canary in self._canaries.values()))
        self._exact: dict[str, Entry] = {}
        for entry in (*self._live, *kept):
            for exact in _exact_names(entry):
                # The same version on two backbones: the live or latest one has the name without a backbone.
                self._exact.setdefault(exact, entry)
        self.routing_names = tuple(dict.fromkeys((AUTO, *served_names)))
        for name in self.routing_names:
            if name in self._named:
                raise ConfigError(
                    f"--served-model-name {name!r} is also the name of an adapter: expected another name; "
                    "the served name routes, an adapter's name always means that adapter"
                )

    @property
    def fallback(self) -> Entry:
        """What answers when the router is unsure: the backbone alone, or the base model if there is none."""
        return self._named.get(BACKBONE, BASE_ENTRY)

    def entry(self, domain: str) -> Entry | None:
        """The live adapter of a domain, if it has one."""
        return self._named.get(domain)

    def canary(self, domain: str) -> Canary | None:
        """The canary of a domain, if it has one."""
        return self._canaries.get(domain)

    def select(self, name: str) -> Selection:
        """What a client means by `name`. Raises `UnknownModelError` listing what there is."""
        stem = name.removesuffix(CRMA_OFF)
        crma = stem == name
        if stem in self.routing_names:
            return Selection(None, crma)
        if (alias := self._named.get(stem)) is not None:
            return Selection(alias, crma, self._canaries.get(stem))
        entry = self._exact.get(stem)
        if entry is None:
            raise UnknownModelError(self._unknown(name))
        return Selection(entry, crma)

    def listings(self, *, everything: bool = False) -> Iterator[Listing]:
        """The names people choose from: those that route, each domain's, `backbone`, `base`.

        With `everything` also exact names, those of kept releases included, and those with CRMA off.
        """
        yield from (Listing(name, None, None) for name in self.routing_names)
        for name, entry in self._named.items():
            yield _listing(name, entry.with_crma)
        if not everything:
            return
        for name, entry in self._named.items():
            if entry.without_crma not in (entry.with_crma, BASE_TARGET):
                yield _listing(f"{name}{CRMA_OFF}", entry.without_crma)
        exact = [*self._named.values(), *self._exact.values()]
        for target in dict.fromkeys(entry.with_crma for entry in exact):
            if target != BASE_TARGET:
                yield _listing(target.engine_model, target)

    def listing(self, name: str) -> Listing:
        """The line of one name, also of one that no list shows. Raises `UnknownModelError`."""
        selection = self.select(name)
        if selection.entry is None:
            return Listing(name, None, None)
        return _listing(name, selection.entry.target(crma=selection.crma))

    def targets(self) -> Iterator[Target]:
        """What is live, the base model excepted: the engine has it loaded. CRMA on comes first."""
        yield from _targets(self._live)

    def kept_targets(self) -> Iterator[Target]:
        """What only exact names of earlier releases stand for: the engine loads it when it is asked for."""
        live = set(self.targets())
        yield from (target for target in _targets(self._exact.values()) if target not in live)

    def _unknown(self, name: str) -> str:
        names = [*self.routing_names, *self._named]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return (
            f"The model {name!r} does not exist: {hint}expected one of {', '.join(names)}; each adapter "
            f"also as NAME@VERSION and with the suffix {CRMA_OFF!r}; GET /v1/models?names=all lists them."
        )


def _listing(name: str, target: Target) -> Listing:
    return Listing(name, target.engine_model, None if name == BASE else BASE)


def _targets(entries: Iterable[Entry]) -> Iterator[Target]:
    listed = list(entries)
    found = [entry.with_crma for entry in listed] + [entry.without_crma for entry in listed]
    yield from dict.fromkeys(target for target in found if target != BASE_TARGET)


def _exact_names(entry: Entry) -> Iterator[str]:
    """`medical@<version>` and, with a backbone, `medical@<version>+<backbone>`."""
    target = entry.with_crma
    if target.version is not None:
        yield f"{target.adapter}@{target.version}"
        yield target.engine_model

"""What a store has to serve, checked: its live release, those kept before it, and plain PEFT folders.

Owns: opening the store before anything slow starts, and reading it again. Knows nothing of engines or
requests.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.crma.crma_card import BACKBONE_FILES, MIXER_FILES, CrmaFiles, read_crma_card
from crma_adapters.errors import CrmaError, IncompatibleError, StoreError
from crma_adapters.lora.fit import read_modules, unknown_modules
from crma_adapters.models.base_model import DEFAULT_BASE_MODEL, BaseModel, resolve_base_model
from crma_adapters.store.ledger import POINTER_FILE
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_plain, verify_release
from crma_router.classifier.artifact import is_earlier, load_model
from crma_server.progress import report
from crma_server.releases.demand import Demand, check_modules, release_demand, total_demand

# vLLM's own upper limit for --max-lora-rank (vllm.config.lora.MaxLoRARanks).
MAX_RANK = 512
# Releases whose versions answer to their exact names: the live one and those right before it.
KEEP_RELEASES = 3


@dataclass(frozen=True)
class Contents:
    """A store's servable content. `release` is None when there are only plain PEFT folders.

    `kept` are earlier releases whose exact names still answer, latest first.
    """

    store: Store
    base: BaseModel
    release: Release | None
    plain: dict[str, Path]
    kept: tuple[Release, ...] = ()

    @property
    def demand(self) -> Demand:
        """What all of it, the kept releases too, asks of the engine."""
        return total_demand(self.store, (self.release, *self.kept), self.plain.values())

    @property
    def router_dir(self) -> Path | None:
        """Where the live release's router lies, if it has one that can be used."""
        if self.release is None or self.release.router is None:
            return None
        folder = self.store.router_dir(self.release.router.version)
        return None if is_earlier(folder) else folder


@dataclass(frozen=True)
class Reading:
    """How a store is read. `keep` counts releases, the live one too; `max_rank` is the engine's, `modules`
    are those it gives a LoRA (None: all).

    `sound` are releases checked before and `unsound` numbers of those refused: neither is checked as an
    earlier release again.
    """

    keep: int = KEEP_RELEASES
    max_rank: int = MAX_RANK
    modules: frozenset[str] | None = None
    sound: tuple[Release, ...] = ()
    unsound: Collection[int] = ()


def open_contents(root: Path, model: str | None, keep: int = KEEP_RELEASES) -> Contents:
    """Open the store at `root` and check all of it; `model` overrides the release's base model.

    Raises:
        StoreError: there is no store or nothing in it, or something in it is broken or does not fit.
        BaseModelError: the base model cannot be had.
        RouterError: the release's router is none.
    """
    store = Store(root)
    release = _live(store)
    base = resolve_base_model(model or (release.base_model if release else DEFAULT_BASE_MODEL))
    return read_contents(store, base, Reading(keep))


def read_contents(store: Store, base: BaseModel, how: Reading) -> Contents:
    """What the store has to serve on `base` now, all of it checked. Raises as `open_contents`.

    An earlier release that cannot be served any more is left out, and that is reported.
    """
    release = _live(store)
    if release is not None:
        _check(store, base, release, how)
    plain = _servable(store, base, how)
    if release is None and not plain:
        raise StoreError(
            f"store {store.root}: nothing in it can be served; expected a release or a plain PEFT LoRA: "
            "see what was left out above"
        )
    kept = tuple(_kept(store, base, release, how)) if release else ()
    contents = Contents(store, base, release, plain, kept)
    if contents.router_dir is not None:
        load_model(contents.router_dir)
    elif release is not None and release.router is not None:
        report(
            f"the router {release.router.version} of release {release.number} is of an earlier version "
            f"of crma and "
            "cannot be used: 'auto' is always the fallback until `crma-route upgrade` has fitted it again"
        )
    return contents


def _check(store: Store, base: BaseModel, release: Release, how: Reading) -> None:
    verify_release(store, release, base_fingerprint=base.fingerprint, max_rank=how.max_rank)
    demand = release_demand(store, release)
    check_modules(demand, how.modules, f"release {release.number}")
    _check_model(store, base, release)


def _check_model(store: Store, base: BaseModel, release: Release) -> None:
    """Raise `IncompatibleError` if a CRMA of the release is for a model of another width or depth than
    `base`."""
    sizes = _sizes(base)
    for folder, files in _crmas(store, release):
        config = read_crma_card(folder, files).config
        if (config.num_layers, config.hidden_size) != sizes:
            raise IncompatibleError(
                f"{folder / files.card}: of {config.num_layers} blocks of size {config.hidden_size}, "
                f"{base.name} has "
                f"{sizes[0]} blocks of size {sizes[1]}; train it on that base model"
            )


def _sizes(base: BaseModel) -> tuple[int, int]:
    """Blocks and hidden size of the language model."""
    config = json.loads((base.path / "config.json").read_bytes())
    config = config.get("text_config", config)
    return config["num_hidden_layers"], config["hidden_size"]


def _crmas(store: Store, release: Release) -> Iterator[tuple[Path, CrmaFiles]]:
    for version in release.backbones():
        yield store.backbone_dir(version), BACKBONE_FILES
    for name, entry in release.adapters.items():
        for served in (entry, entry.canary):
            if served is not None and MIXER_FILES.card in served.part.files:
                yield store.adapter_dir(name, served.part.version), MIXER_FILES


def _servable(store: Store, base: BaseModel, how: Reading) -> dict[str, Path]:
    """The plain folders that can be served on `base`; each other one is reported, and left out."""
    folders = store.plain_folders()
    left_out, servable = dict(folders.left_out), dict[str, Path]()
    modules = read_modules(base.path) if folders.adapters else {}
    for name, path in folders.adapters.items():
        try:
            verify_plain(path, max_rank=how.max_rank)
            check_modules(total_demand(store, (), [path]), how.modules, str(path))
            unknown = unknown_modules(path, modules)
        except CrmaError as error:
            left_out[path] = str(error)
            continue
        if unknown:
            report(f"{name}: {len(unknown)} modules have no effect: {unknown[0]} is not in the base model")
        if name != path.name:
            report(f"{path} is served as {name!r}")
        servable[name] = path
    for path, reason in left_out.items():
        report(f"left out: {path}: {reason}")
    return servable


def _live(store: Store) -> Release | None:
    plain = store.plain_folders()
    has_plain = bool(plain.adapters or plain.left_out)
    return store.live() if not has_plain or (store.root / POINTER_FILE).exists() else None


def _kept(store: Store, base: BaseModel, live: Release, how: Reading) -> Iterator[Release]:
    sound = {release.number: release for release in how.sound}
    for number in range(live.number - 1, max(live.number - how.keep, 0), -1):
        if number in sound:
            yield sound[number]
        elif number not in how.unsound:
            try:
                release = store.release(number)
                _check(store, base, release, how)
            except CrmaError as error:
                report(f"release {number} is not kept: {error}")
            else:
                yield release

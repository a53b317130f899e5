"""What a store has to serve, checked before anything slow starts (its live release, those kept before it,
plain PEFT folders), and what that asks of the engine."""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.crma.crma_card import BACKBONE_FILES, MIXER_FILES, CrmaFiles, read_crma_card
from crma_adapters.errors import CrmaError, IncompatibleError, StoreError
from crma_adapters.lora.fit import read_modules, unknown_modules
from crma_adapters.lora.lora_files import CONFIG_FILE, MIXER, adapted_modules, read_config
from crma_adapters.models.base_model import DEFAULT_BASE_MODEL, BaseModel, resolve_base_model
from crma_adapters.store.folders import StoreFolders
from crma_adapters.store.ledger import POINTER_FILE
from crma_adapters.store.release import AdapterEntry, Canary, Release
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_plain, verify_release
from crma_router.classifier.artifact import is_earlier, load_model
from crma_server.progress import report


@dataclass(frozen=True)
class Demand:
    """`modules` are names as adapters have them (`q_proj`, `residual_mixer`); `rank` is the largest of
    any."""

    rank: int = 1
    modules: frozenset[str] = frozenset()

    def __or__(self, other: "Demand") -> "Demand":
        return Demand(max(self.rank, other.rank), self.modules | other.modules)


def total_demand(store: StoreFolders, releases: Iterable[Release | None], plain: Iterable[Path]) -> Demand:
    """What all of these ask for together."""
    total = Demand()
    for release in releases:
        if release is not None:
            total |= release_demand(store, release)
    for folder in plain:
        total |= _lora_demand(folder)
    return total


def release_demand(store: StoreFolders, release: Release) -> Demand:
    """What the bundles of a verified release ask for. A mixer and its backbone stand in one module: ranks add
    up."""
    backbones = {
        version: read_crma_card(store.backbone_dir(version), BACKBONE_FILES).config.rank
        for version in release.backbones()
    }
    total = Demand()
    for rank in backbones.values():
        total |= Demand(rank, frozenset({MIXER}))
    for name, entry in release.adapters.items():
        for served in (entry, entry.canary):
            if served is not None:
                backbone = release.backbone_of(served)
                below = backbones[backbone] if backbone is not None else 0
                total |= _adapter_demand(store.adapter_dir(name, served.part.version), served, below)
    return total


def check_modules(demand: Demand, allowed: frozenset[str] | None, what: str) -> None:
    """Raise `IncompatibleError` if `what` adapts modules that the running engine gives no LoRA (None: it
    does)."""
    if allowed is not None and (missing := sorted(demand.modules - allowed)):
        raise IncompatibleError(
            f"{what} adapts {', '.join(missing)}, the engine was started for {', '.join(sorted(allowed))} "
            f"alone "
            "(--lora-target-modules); start crma-serve again, and it will take what this release uses"
        )


def _adapter_demand(folder: Path, entry: AdapterEntry | Canary, backbone_rank: int) -> Demand:
    lora = _lora_demand(folder) if CONFIG_FILE in entry.part.files else Demand()
    if MIXER_FILES.card not in entry.part.files:
        return lora
    rank = read_crma_card(folder, MIXER_FILES).config.rank + backbone_rank
    return lora | Demand(rank, frozenset({MIXER}))


def _lora_demand(folder: Path) -> Demand:
    return Demand(max(read_config(folder).ranks), adapted_modules(folder))


# vLLM's own upper limit for --max-lora-rank (vllm.config.lora.MaxLoRARanks).
MAX_RANK = 512
# Releases whose versions answer to their exact names: the live one and those right before it.
KEEP_RELEASES = 3


@dataclass(frozen=True)
class StoreSnapshot:
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
class ReadOptions:
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


def open_snapshot(root: Path | Store, model: str | None, keep: int = KEEP_RELEASES) -> StoreSnapshot:
    """Open a store, or the one at `root`, and check all of it; `model` overrides the release's base model.

    Raises:
        StoreError: there is no store or nothing in it, or something in it is broken or does not fit.
        BaseModelError: the base model cannot be had.
        RouterError: the release's router is none.
    """
    store = root if isinstance(root, Store) else Store(root)
    release = _live(store)
    base = resolve_base_model(model or (release.base_model if release else DEFAULT_BASE_MODEL))
    return read_snapshot(store, base, ReadOptions(keep))


def read_snapshot(store: Store, base: BaseModel, how: ReadOptions) -> StoreSnapshot:
    """What the store has to serve on `base` now, all of it checked. Raises as `open_snapshot`.

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
    contents = StoreSnapshot(store, base, release, plain, kept)
    if contents.router_dir is not None:
        load_model(contents.router_dir)
    elif release is not None and release.router is not None:
        report(
            f"the router {release.router.version} of release {release.number} is of an earlier version "
            f"of crma and "
            "cannot be used: 'auto' is always the fallback until `crma-route upgrade` has fitted it again"
        )
    return contents


def _check(store: Store, base: BaseModel, release: Release, how: ReadOptions) -> None:
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


def _servable(store: Store, base: BaseModel, how: ReadOptions) -> dict[str, Path]:
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


def _kept(store: Store, base: BaseModel, live: Release, how: ReadOptions) -> Iterator[Release]:
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

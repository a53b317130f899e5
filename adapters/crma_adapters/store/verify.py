"""Whether what a store holds may be served: everything is read and checked, nothing is believed."""

from pathlib import Path
from typing import Any

from crma_adapters.crma.mixer_files import MIXER_FILE, MIXER_TENSORS_FILE
from crma_adapters.errors import IncompatibleError, IntegrityError, StoreError
from crma_adapters.io.document import parse_json
from crma_adapters.io.regular_files import check_no_symlink, list_folder, read_document
from crma_adapters.io.tensor_file import check_finite
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE, check_lora
from crma_adapters.store.canary import check_weight
from crma_adapters.store.card import CARD_FILE, AdapterCard, read_card
from crma_adapters.store.folders import StoreFolders
from crma_adapters.store.parts import (
    ADAPTER,
    BACKBONE,
    BACKBONE_FILE,
    ROUTER,
    ROUTER_FILE,
    check_part,
    refuse_pickles,
)
from crma_adapters.store.release import AdapterEntry, Canary, Part, Release


def verify_release(
    store: StoreFolders, release: Release, *, base_fingerprint: str | None = None, max_rank: int | None = None
) -> None:
    """Check every file of a release, and that its parts fit each other, the base model and the engine.

    `max_rank` is the largest LoRA rank the engine takes. Raises `StoreError` for something missing,
    `IntegrityError` for content that is unsafe or not what the release says, `IncompatibleError` for sound
    content that does not fit. The message names the file, what is given, what is expected and what to do.
    """
    if base_fingerprint is not None and release.base_fingerprint != base_fingerprint:
        raise IncompatibleError(
            f"release {release.number} is for base model {release.base_model} "
            f"({release.base_fingerprint[:12]}), given one with fingerprint {base_fingerprint[:12]}; "
            f"serve it with --model {release.base_model}"
        )
    _verify_backbones(store, release)
    for name, entry in sorted(release.adapters.items()):
        _verify_adapter(store, release, name, entry, max_rank)
        if entry.canary is not None:
            _verify_canary(store, release, name, entry, entry.canary, max_rank)
    if release.router is not None:
        _verify_router(store, release, release.router)


def verify_plain(path: Path, *, max_rank: int | None = None) -> None:
    """Check a plain PEFT LoRA folder dropped into a store. Raises as `verify_release`."""
    check_no_symlink(path.parent, path)
    names = set(list_folder(path))
    for name in names:
        check_no_symlink(path, path / name)
    refuse_pickles(path, names)
    check_lora(path, max_rank=max_rank)


def check_adapter(folder: Path, name: str, *, max_rank: int | None = None) -> AdapterCard:
    """Check the content of an adapter folder that is to serve domain `name`; return its card."""
    where = folder / CARD_FILE
    card = read_card(folder)
    if card.name != name:
        raise IncompatibleError(
            f"{where}: is the card of {card.name!r}, expected {name!r}; publish it under its name"
        )
    _check_kind(card, folder)
    if card.kind != "mixer":
        config = check_lora(folder, max_rank=max_rank)
        if (card.rank, card.alpha) != (config.r, config.lora_alpha):
            raise IntegrityError(
                f"{where}: rank {card.rank}, alpha {card.alpha}; {CONFIG_FILE} says {config.r}, "
                f"{config.lora_alpha}; take both files from the same training"
            )
    return card


def _check_kind(card: AdapterCard, folder: Path) -> None:
    """Raise `StoreError` for a file that the card's kind of adapter has and the folder has not,
    `IntegrityError` for one of the other kind."""
    names = set(list_folder(folder))
    lora, mixer = {CONFIG_FILE, WEIGHTS_FILE}, {MIXER_FILE, MIXER_TENSORS_FILE}
    wanted = {"lora": lora, "mixer": mixer, "both": lora | mixer}[card.kind]
    if missing := sorted(wanted - names):
        raise StoreError(
            f"{folder / missing[0]}: is missing; {CARD_FILE} says kind {card.kind!r}: expected "
            f"{', '.join(sorted(wanted))}"
        )
    if surplus := sorted(names & (lora | mixer) - wanted):
        raise IntegrityError(
            f"{folder / surplus[0]}: {CARD_FILE} says kind {card.kind!r}, which has no such file; remove it, "
            f"or "
            "train the adapter again"
        )


def check_backbone(folder: Path) -> dict[str, Any]:
    """Check the content of a backbone folder as far as any reader must; return what `crma.json` says."""
    check_finite(folder / "crma.safetensors")
    return _json_object(folder / BACKBONE_FILE)


def check_router(folder: Path) -> dict[str, Any]:
    """Check the content of a router folder as far as any reader must; return what `router.json` says."""
    check_finite(folder / "router.safetensors")
    return _json_object(folder / ROUTER_FILE)


def _verify_backbones(store: StoreFolders, release: Release) -> None:
    for version, part in release.other_backbones.items():
        if version != part.version or part == release.backbone:
            raise IntegrityError(
                f"release {release.number}: other_backbones.{version} is backbone {part.version}; expected "
                f"each "
                "besides the newest under its own version; restore the file"
            )
    for part in release.backbones().values():
        _verify_backbone(store, release, part)


def _verify_backbone(store: StoreFolders, release: Release, part: Part) -> None:
    folder = store.backbone_dir(part.version)
    check_part(store.root, folder, part, BACKBONE)
    given = check_backbone(folder).get("base_fingerprint")
    if given != release.base_fingerprint:
        raise IncompatibleError(
            f"{folder / BACKBONE_FILE}: base_fingerprint {given!r}, the release is for {release.base_model} "
            f"({release.base_fingerprint}); train a backbone on that base model"
        )


def _verify_router(store: StoreFolders, release: Release, part: Part) -> None:
    folder = store.router_dir(part.version)
    check_part(store.root, folder, part, ROUTER)
    domains = check_router(folder).get("domains")
    if not isinstance(domains, list) or not all(isinstance(name, str) for name in domains):
        raise IntegrityError(f"{folder / ROUTER_FILE}: domains is {domains!r}, expected a list of names")
    missing = sorted(set(domains) - release.adapters.keys())
    if missing and (missing := sorted(set(missing) - store.plain_adapters().keys())):
        raise IncompatibleError(
            f"{folder / ROUTER_FILE}: routes to {', '.join(missing)}, the release has "
            f"{', '.join(sorted(release.adapters)) or 'no adapters'}; fit a router on its domains, "
            "or put a plain PEFT folder of that name into the store"
        )


def _verify_canary(
    store: StoreFolders,
    release: Release,
    name: str,
    entry: AdapterEntry,
    canary: Canary,
    max_rank: int | None,
) -> None:
    check_weight(canary.weight)
    if canary.part.version == entry.part.version:
        raise IntegrityError(
            f"release {release.number}: the canary of {name} is its live version {entry.part.version}; "
            "expected another version: drop the canary"
        )
    _verify_adapter(store, release, name, canary, max_rank)


def _verify_adapter(
    store: StoreFolders, release: Release, name: str, entry: AdapterEntry | Canary, max_rank: int | None
) -> None:
    folder = store.adapter_dir(name, entry.part.version)
    check_part(store.root, folder, entry.part, ADAPTER)
    card = check_adapter(folder, name, max_rank=max_rank)
    if card.base_fingerprint != release.base_fingerprint:
        raise IncompatibleError(
            f"{folder / CARD_FILE}: trained on {card.base_model} ({card.base_fingerprint[:12]}), "
            f"the release is for {release.base_model} ({release.base_fingerprint[:12]}); "
            f"train {name} on that base model"
        )
    if card.backbone != entry.trained_on_backbone:
        raise IntegrityError(
            f"{folder / CARD_FILE}: trained on backbone {card.backbone}, the release says "
            f"{entry.trained_on_backbone}; publish it again"
        )
    _verify_place(release, name, entry)


def _verify_place(release: Release, name: str, entry: AdapterEntry | Canary) -> None:
    """Whether the backbone an adapter runs on is there, and something says that it may run on it."""
    where = f"release {release.number}: {name}@{entry.part.version}"
    backbone, runs_on = release.backbone_of(entry), entry.runs_on
    if backbone is not None and backbone not in release.backbones():
        raise IncompatibleError(
            f"{where} runs on backbone {backbone}, which the release does not have; it has "
            f"{', '.join(release.backbones()) or 'none'}: publish {name} again with that backbone in the "
            f"store"
        )
    if runs_on is not None and runs_on.state != release.state_of(entry):
        raise IntegrityError(
            f"{where} is said to be {runs_on.state}: trained on backbone {entry.trained_on_backbone}, it "
            f"runs on "
            f"{backbone}; pinned is on the same one, refreshed on another; publish it again"
        )
    if backbone == entry.trained_on_backbone:
        if runs_on is not None and entry.drift:
            raise IntegrityError(
                f"{where} is pinned and records a drift of {entry.drift}; expected none: it runs on the "
                f"backbone "
                "it was trained on"
            )
        return
    validation = runs_on.validation if runs_on else None
    if validation is None and entry.drift is None:
        raise IncompatibleError(
            f"{where}: trained on backbone {entry.trained_on_backbone}, the release has it run on {backbone} "
            f"and "
            "records no drift under it; pin it, train it on that backbone, or measure its losses and refresh "
            "it"
        )
    if validation is not None and (validation.backbone != backbone or not validation.is_not_worse):
        raise IntegrityError(
            f"{where} was refreshed to backbone {backbone} on a validation loss of {validation.newest:.4f} "
            f"under {validation.backbone}, {validation.own:.4f} under its own; expected figures of that "
            f"backbone, not worse by more than one standard error ({validation.standard_error:.4f}): pin it"
        )


def _json_object(path: Path) -> dict[str, Any]:
    value = parse_json(read_document(path), str(path))
    if not isinstance(value, dict):
        raise IntegrityError(
            f"{path}: is a JSON {type(value).__name__}, expected an object; restore the file"
        )
    return value

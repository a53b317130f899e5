"""Whether what a store holds may be served: everything is read and checked, nothing is believed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.crma.crma_card import BACKBONE_FILES, MIXER_FILES, CrmaCard, check_crma, read_crma_card
from crma_adapters.errors import IncompatibleError, IntegrityError, StoreError
from crma_adapters.io.document import parse_json
from crma_adapters.io.regular_files import check_no_symlink, list_folder, read_document
from crma_adapters.io.tensor_file import check_finite
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE, check_plain_lora
from crma_adapters.models.fingerprint import same_base
from crma_adapters.store.canary import check_weight
from crma_adapters.store.card import CARD_FILE, AdapterCard, read_card
from crma_adapters.store.folders import StoreFolders
from crma_adapters.store.parts import (
    ADAPTER,
    BACKBONE,
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
    if base_fingerprint is not None and not same_base(release.base_fingerprint, base_fingerprint):
        raise IncompatibleError(
            f"release {release.number} is for base model {release.base_model} "
            f"({release.base_fingerprint[:12]}), given one with fingerprint {base_fingerprint[:12]}; "
            f"serve it with --model {release.base_model}"
        )
    checked = _Checked(store, release, _verify_backbones(store, release, max_rank), max_rank)
    for name, entry in sorted(release.adapters.items()):
        _verify_adapter(checked, name, entry)
        if entry.canary is not None:
            _verify_canary(checked, name, entry, entry.canary)
    if release.router is not None:
        _verify_router(store, release, release.router)


def verify_plain(path: Path, *, max_rank: int | None = None) -> None:
    """Check a plain PEFT LoRA folder dropped into a store. Raises as `verify_release`."""
    check_no_symlink(path.parent, path)
    names = set(list_folder(path))
    for name in names:
        check_no_symlink(path, path / name)
    refuse_pickles(path, names)
    check_plain_lora(path, max_rank=max_rank)


def check_adapter(folder: Path, name: str, *, max_rank: int | None = None) -> AdapterCard:
    """Check the content of an adapter folder that is to serve domain `name`; return its card."""
    where = folder / CARD_FILE
    card = read_card(folder)
    if card.name != name:
        raise IncompatibleError(
            f"{where}: is the card of {card.name!r}, expected {name!r}; publish it under its name"
        )
    _check_kind(card, folder)
    if card.kind != "lora":
        _check_mixer(card, folder, max_rank)
    if card.kind != "mixer":
        config = check_plain_lora(folder, max_rank=max_rank)
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
    lora, mixer = {CONFIG_FILE, WEIGHTS_FILE}, MIXER_FILES.names
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


def check_backbone(folder: Path) -> CrmaCard:
    """Check the content of a backbone folder; return its card. Raises as `check_crma`."""
    return check_crma(folder, BACKBONE_FILES)


def check_router(folder: Path) -> dict[str, Any]:
    """Check the content of a router folder as far as any reader must; return what `router.json` says."""
    check_finite(folder / "router.safetensors")
    return _json_object(folder / ROUTER_FILE)


def _check_mixer(card: AdapterCard, folder: Path, max_rank: int | None) -> None:
    """Whether an adapter's mixer is sound and the one its card speaks of."""
    mixer, where = check_crma(folder, MIXER_FILES), folder / MIXER_FILES.card
    if not same_base(mixer.base_fingerprint, card.base_fingerprint):
        raise IncompatibleError(
            f"{where}: base_fingerprint {mixer.base_fingerprint[:12]}, {CARD_FILE} says "
            f"{card.base_fingerprint[:12]}; take both from the same training"
        )
    ranks = {"mixing_rank": card.mixing_rank} | ({"rank": card.rank} if card.kind == "mixer" else {})
    for name, rank in ranks.items():
        if rank != mixer.config.rank:
            raise IntegrityError(
                f"{folder / CARD_FILE}: {name} {rank}, {MIXER_FILES.card} says {mixer.config.rank}; take "
                f"both from "
                "the same training"
            )
    _check_mixing_rank(f"{folder}: the mixer", mixer.config.rank, max_rank)


def _check_mixing_rank(what: str, rank: int, max_rank: int | None) -> None:
    """Raise `IncompatibleError` if what stands on the residual stream is too much for the engine."""
    if max_rank is not None and rank > max_rank:
        raise IncompatibleError(
            f"{what} has rank {rank} on the residual stream, the engine takes at most {max_rank}; serve with "
            f"--max-lora-rank {rank}, or train with a lower --mixing-rank"
        )


def _verify_backbones(store: StoreFolders, release: Release, max_rank: int | None) -> dict[str, CrmaCard]:
    """Check every backbone of a release; their cards, by version."""
    for version, part in release.other_backbones.items():
        if version != part.version or part == release.backbone:
            raise IntegrityError(
                f"release {release.number}: other_backbones.{version} is backbone {part.version}; expected "
                f"each "
                "besides the newest under its own version; restore the file"
            )
    cards = {}
    for version, part in release.backbones().items():
        cards[version] = card = _verify_backbone(store, release, part)
        _check_mixing_rank(f"backbone {version}", card.config.rank, max_rank)
        _check_sizes(card, f"backbone {version}", cards)
    return cards


def _check_sizes(card: CrmaCard, what: str, backbones: Mapping[str, CrmaCard]) -> None:
    """Raise `IncompatibleError` if a CRMA is for a model of another width or depth than the release's
    backbones."""
    for version, other in backbones.items():
        given, expected = ((each.config.num_layers, each.config.hidden_size) for each in (card, other))
        if given != expected:
            raise IncompatibleError(
                f"{what} is of {given[0]} blocks of size {given[1]}, backbone {version} of {expected[0]} "
                f"blocks of "
                f"size {expected[1]}; expected one base model: train it on that one"
            )


def _verify_backbone(store: StoreFolders, release: Release, part: Part) -> CrmaCard:
    folder = store.backbone_dir(part.version)
    check_part(store.root, folder, part, BACKBONE)
    card = check_backbone(folder)
    if not same_base(card.base_fingerprint, release.base_fingerprint):
        raise IncompatibleError(
            f"{folder / BACKBONE_FILES.card}: base_fingerprint {card.base_fingerprint!r}, the release is for "
            f"{release.base_model} ({release.base_fingerprint}); train a backbone on that base model"
        )
    return card


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


@dataclass(frozen=True)
class _Checked:
    """What a release's adapters are checked against: its backbones' cards by version, the engine's rank."""

    store: StoreFolders
    release: Release
    backbones: Mapping[str, CrmaCard]
    max_rank: int | None


def _verify_canary(checked: _Checked, name: str, entry: AdapterEntry, canary: Canary) -> None:
    check_weight(canary.weight)
    if canary.part.version == entry.part.version:
        raise IntegrityError(
            f"release {checked.release.number}: the canary of {name} is its live version "
            f"{entry.part.version}; "
            "expected another version: drop the canary"
        )
    _verify_adapter(checked, name, canary)


def _verify_adapter(checked: _Checked, name: str, entry: AdapterEntry | Canary) -> None:
    store, release = checked.store, checked.release
    folder = store.adapter_dir(name, entry.part.version)
    check_part(store.root, folder, entry.part, ADAPTER)
    card = check_adapter(folder, name, max_rank=checked.max_rank)
    if not same_base(card.base_fingerprint, release.base_fingerprint):
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
    if card.kind != "lora":
        _verify_mixer(checked, folder, release.backbone_of(entry))


def _verify_mixer(checked: _Checked, folder: Path, backbone: str | None) -> None:
    """Whether a mixer is for the model that the backbones are for, and what it runs on leaves it room."""
    mixer = read_crma_card(folder, MIXER_FILES)
    _check_sizes(mixer, f"{folder / MIXER_FILES.card}: the mixer", checked.backbones)
    if backbone is not None:
        rank = mixer.config.rank + checked.backbones[backbone].config.rank
        _check_mixing_rank(f"{folder}: the mixer with backbone {backbone}", rank, checked.max_rank)


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

"""The systems that are compared, and the servers they need."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.crma.crma_card import MIXER_FILES, read_crma_card
from crma_adapters.errors import ConfigError
from crma_adapters.lora.lora_files import CONFIG_FILE, read_config
from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.store import Store
from crma_eval.serving.bench.many_adapters import add_copies, copy_live, live_bundle, live_lora
from crma_eval.serving.bench.plan import RESIDENT, SLOTS
from crma_eval.serving.bench.servers import COMPILE, Spec

BASE, AUTO, CRMA_OFF = "base", "auto", ":crma-off"
# It explains (a) beside (b), is no goal's, and takes a server of its own.
ON_REQUEST = ("a-eager",)
# vllm.config.lora.MaxLoRARanks
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True)
class System:
    """One line of the comparison. `models`: what requests name, in turn; `zipf`: drawn instead, the first
    most often.
    """

    key: str
    title: str
    server: str
    models: tuple[str, ...]
    zipf: bool = False


@dataclass(frozen=True)
class Subject:
    """What is served: a store, its base model, the domain whose questions are asked; flags of all servers."""

    store: Store
    base: BaseModel
    domain: str
    flags: tuple[str, ...]

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self.store.live().adapters)


def copy_names(count: int) -> tuple[str, ...]:
    """The names of that many copies, the hottest first."""
    return tuple(f"copy-{place:04d}" for place in range(count))


def systems(subject: Subject, copies: int) -> tuple[System, ...]:
    """All there are, in the order in which they take turns: what is compared stands close together."""
    domain = subject.domain
    return (
        System("a", "vLLM alone, LoRA off", "vllm", (BASE,)),
        System("a-eager", "vLLM alone, LoRA off, nothing compiled", "vllm-eager", (BASE,)),
        System("b", "vLLM, LoRA on but idle", "vllm-lora", (BASE,)),
        System("c-stock", "vLLM, one LoRA by name, vLLM's own kernel", "vllm-stock", (domain,)),
        System("c", "vLLM, one LoRA by name", "vllm-lora", (domain,)),
        System("d", "crma-serve, adapter by name", "crma", (domain,)),
        System("e", "crma-serve, auto", "crma", (AUTO,)),
        System("f", f"crma-serve, {len(subject.domains)} domains mixed", "crma", subject.domains),
        System("g", "crma-serve, CRMA on and off mixed", "crma", (domain, domain + CRMA_OFF)),
        System("h", f"crma-serve, {copies:,} adapters, {SLOTS} slots, Zipf", "crma-many", copy_names(copies),
               zipf=True),
    )  # fmt: skip


def choose_systems(every: Sequence[System], wanted: str | None) -> tuple[System, ...]:
    """Those whose keys stand in `wanted`, comma-separated; for None all that no memory need be spared for.

    Raises `ConfigError` for a key that there is not.
    """
    if wanted is None:
        return tuple(system for system in every if system.key not in ON_REQUEST)
    keys = {system.key for system in every}
    asked = wanted.split(",")
    if unknown := [key for key in asked if key not in keys]:
        raise ConfigError(f"--systems names {', '.join(unknown)}; there are {', '.join(sorted(keys))}")
    return tuple(system for system in every if system.key in asked)


def server_specs(subject: Subject, work: Path, copies: int, needed: set[str]) -> dict[str, Spec]:
    """How to start each of the servers `needed`; what they serve is made in `work`."""
    lora = lora_flags(max_rank(subject))
    made: dict[str, Spec] = {}
    if "vllm" in needed:
        made["vllm"] = Spec("vllm", subject.flags, stock=True)
    if "vllm-eager" in needed:
        made["vllm-eager"] = Spec("vllm-eager", (*subject.flags, "--enforce-eager"), stock=True)
    if "vllm-stock" in needed:
        module = f"{subject.domain}={live_lora(subject.store, subject.domain).resolve()}"
        flags = (*subject.flags, "--enable-lora", *lora, "--lora-modules", module)
        made["vllm-stock"] = Spec("vllm-stock", flags, stock=True)
    if "vllm-lora" in needed:
        module = f"{subject.domain}={live_bundle(subject.store, subject.domain, work / 'bundle').resolve()}"
        flags = (*subject.flags, "--enable-lora", *lora, *_overrides(subject), "--lora-modules", module)
        made["vllm-lora"] = Spec("vllm-lora", flags)
    if "crma" in needed:
        made["crma"] = Spec("crma", (*subject.flags, *lora, COMPILE), store=subject.store.root)
    if "crma-many" in needed:
        store = _many(subject, work / "many", copies)
        made["crma-many"] = Spec("crma-many", (*subject.flags, *lora, COMPILE), store=store)
    return made


def lora_flags(rank: int, slots: int = SLOTS) -> tuple[str, ...]:
    """The same for every server with LoRA on."""
    limit = next(step for step in LORA_RANKS if step >= rank)
    sizes: Mapping[str, int] = {
        "--max-loras": slots,
        "--max-cpu-loras": max(RESIDENT, slots),
        "--max-lora-rank": limit,
    }
    return tuple(word for flag, value in sizes.items() for word in (flag, str(value)))


def max_rank(subject: Subject) -> int:
    """The largest of the live bundles: of a LoRA, or of a backbone and a mixer beside it on the residual
    stream."""
    store, release = subject.store, subject.store.live()
    mixing = {v: read_crma_card(store.backbone_dir(v)).config.rank for v in release.backbones()}
    ranks = list(mixing.values())
    for name, entry in release.adapters.items():
        folder = store.adapter_dir(name, entry.part.version)
        if CONFIG_FILE in entry.part.files:
            ranks.append(max(read_config(folder).ranks))
        if MIXER_FILES.card in entry.part.files:
            below = mixing.get(release.backbone_of(entry) or "", 0)
            ranks.append(below + read_crma_card(folder, MIXER_FILES).config.rank)
    return max(ranks)


def _overrides(subject: Subject) -> tuple[str, ...]:
    """The model class with CRMA's modules, as crma-serve chooses it, so that both serve the same bundle."""
    release = subject.store.live()
    mixers = any(MIXER_FILES.card in entry.part.files for entry in release.served())
    if release.backbone is None and not mixers:
        return ()
    config: dict[str, Any] = json.loads((subject.base.path / "config.json").read_bytes())
    architecture = (config.get("architectures") or [""])[0]
    return ("--hf-overrides", json.dumps({"architectures": [f"Crma{architecture}"]}))


def _many(subject: Subject, store: Path, copies: int) -> Path:
    """The live release, and `copies` plain adapters beside it: its own LoRAs, in turn, under other names."""
    copy_live(subject.store, store)
    sources = [live_lora(subject.store, name) for name in subject.domains]
    add_copies(sources, copy_names(copies), store)
    return store

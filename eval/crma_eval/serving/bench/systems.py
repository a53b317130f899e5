"""The systems that are compared, the servers they need, and whose turn it is with which questions."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crma_adapters.crma.crma_card import MIXER_FILES, read_crma_card
from crma_adapters.errors import ConfigError, DataError
from crma_adapters.lora.lora_files import CONFIG_FILE, read_config
from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.store import Store
from crma_eval.serving.bench.servers import COMPILE, Spec
from crma_eval.serving.bench.session import Job
from crma_eval.serving.bench.stores import add_copies, copy_live, live_bundle, live_lora
from crma_eval.serving.bench.turns import Turn

SLOTS, RESIDENT = 8, 64
BASE, AUTO, CRMA_OFF = "base", "auto", ":crma-off"
# It explains (a) beside (b), is no goal's, and takes a server of its own.
ON_REQUEST = ("a-eager",)
# vllm.config.lora.MaxLoRARanks
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
WARM_UP_REQUESTS, WARM_UP_CONCURRENCY, WARM_UP_TOKENS = 8, 8, 4
# Held out first; speed does not depend on what an adapter was trained on, so the others may follow.
FILES = ("holdout.jsonl", "router_eval.jsonl", "train.jsonl", "router_train.jsonl")
LEAST_WORDS = 4  # the client leaves out prompts under 4 tokens
ZIPF_EXPONENT = 1.0


@dataclass(frozen=True)
class Load:
    """So many requests, so many of them at a time."""

    concurrency: int
    requests: int


@dataclass(frozen=True)
class Plan:
    """`loads`: each system under each of them, `repeats` times, `output_tokens` a request. `copies`: adapters
    in the store of system h. No new repeat begins if it would probably end after `minutes`. `fresh`: each
    starts its servers anew.
    """

    repeats: int = 3
    loads: tuple[Load, ...] = (Load(1, 4), Load(8, 16), Load(32, 48))
    output_tokens: int = 16
    copies: int = 1000
    minutes: float = 25.0
    seed: int = 0
    fresh: bool = False

    @property
    def requests(self) -> int:
        """Of one system in one repeat."""
        return sum(load.requests for load in self.loads)


def check_plan(plan: Plan) -> None:
    """Raise `ConfigError` for sizes that measure nothing."""
    for flag, value, least in (
        ("--repeats", plan.repeats, 1),
        ("--output-tokens", plan.output_tokens, 3),
        ("--copies", plan.copies, RESIDENT + 1),
        *((f"a concurrency of --loads, {load.concurrency},", load.concurrency, 1) for load in plan.loads),
        *((f"the requests of --loads at {load.concurrency}", load.requests, 1) for load in plan.loads),
    ):
        if value < least:
            raise ConfigError(f"{flag} is {value}; give {least} or more")
    if not plan.minutes > 0:
        raise ConfigError(f"--minutes is {plan.minutes}; give more than 0")
    if len({load.concurrency for load in plan.loads}) < len(plan.loads):
        raise ConfigError("--loads names a concurrency twice; give each once")


def parse_loads(text: str) -> tuple[Load, ...]:
    """`1:4,8:16` is 4 requests one at a time, then 16, 8 at a time. Raises `ConfigError`."""
    try:
        pairs = [part.split(":") for part in text.split(",")]
        return tuple(Load(int(concurrency), int(requests)) for concurrency, requests in pairs)
    except ValueError:
        raise ConfigError(
            f"--loads is {text!r}; expected CONCURRENCY:REQUESTS, separated by commas, as in 1:4,8:16"
        ) from None


def loads_text(loads: tuple[Load, ...]) -> str:
    """As `parse_loads` reads it."""
    return ",".join(f"{load.concurrency}:{load.requests}" for load in loads)


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

    @property
    def kernel(self) -> str:
        """The LoRA kernel of its server on a CPU."""
        if self.server in ("vllm", "vllm-eager"):
            return "none: LoRA is off, no plugin"
        return "vLLM's own, no plugin" if self.server == "vllm-stock" else "this project's plugin"


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
    return (
        *("--max-loras", str(slots)),
        *("--max-cpu-loras", str(max(RESIDENT, slots))),
        *("--max-lora-rank", str(limit)),
    )


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


def read_questions(data: Path, domain: str) -> list[str]:
    """Every question of the domain, each once.

    Raises:
        DataError: `data` was not made by crma-train demo-data, or has no such domain.
    """
    try:
        rows = [
            json.loads(line)["question"]
            for name in FILES
            if (path := data / domain / name).is_file() or name == FILES[0]
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"cannot read the questions of {domain!r} in {data} ({error}); expected a folder made by "
            "crma-train demo-data with that domain"
        ) from error
    found = list(dict.fromkeys(row for row in rows if len(row.split()) >= LEAST_WORDS))
    if not found:
        raise DataError(f"{data / domain}: no question of {LEAST_WORDS} words or more; give another --domain")
    return found


def deal(questions: Sequence[str], start: int, count: int) -> tuple[str, ...]:
    """`count` questions from the `start`-th on, from the first again after the last."""
    return tuple(questions[(start + place) % len(questions)] for place in range(count))


def rotate(names: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` names in turn."""
    return tuple(names[place % len(names)] for place in range(count))


def zipf(names: Sequence[str], count: int, seed: Sequence[int]) -> tuple[str, ...]:
    """`count` names drawn: the k-th of `names` with a probability in proportion to 1 / k."""
    weights = 1 / np.arange(1, len(names) + 1) ** ZIPF_EXPONENT
    drawn = np.random.default_rng(seed).choice(len(names), size=count, p=weights / weights.sum())
    return tuple(names[int(place)] for place in drawn)


def in_turns(turns: Sequence[Turn], repeat: int) -> tuple[Turn, ...]:
    """Forwards in even repeats, backwards in odd ones: a machine that slows down favours nobody."""
    return tuple(turns) if repeat % 2 == 0 else tuple(reversed(turns))


def side_by_side(
    plan: Plan, chosen: Sequence[System], questions: Sequence[str], subject: Subject, work: Path
) -> Job:
    """Every repeat asks other questions, as far as there are; within it all systems are asked the same."""
    return Job(
        specs=server_specs(subject, work, plan.copies, {system.server for system in chosen}),
        repeats=tuple(
            in_turns(list(_repeat(plan, chosen, questions, repeat)), repeat) for repeat in range(plan.repeats)
        ),
        warm_ups=tuple(_warm_up(system, questions) for system in chosen),
        follow={"crma-many": RESIDENT},
        minutes=plan.minutes,
        fresh=plan.fresh,
    )


def _repeat(plan: Plan, chosen: Sequence[System], questions: Sequence[str], repeat: int) -> Iterator[Turn]:
    start = repeat * plan.requests
    for load in plan.loads:
        prompts = deal(questions, start, load.requests)
        start += load.requests
        for system in chosen:
            seed = (plan.seed, repeat, load.concurrency)
            draw = zipf(system.models, load.requests, seed) if system.zipf else None
            models = draw or rotate(system.models, load.requests)
            yield Turn(
                repeat, system.key, system.server, load.concurrency, plan.output_tokens, models, prompts
            )


def _warm_up(system: System, questions: Sequence[str]) -> Turn:
    """A few short answers; where not all adapters fit into memory, one by each of the hottest that do, the
    very hottest last."""
    if system.zipf:
        models = tuple(reversed(system.models[:RESIDENT]))
    else:
        models = rotate(system.models, WARM_UP_REQUESTS)
    prompts = deal(questions, len(questions) - len(models), len(models))
    return Turn(-1, system.key, system.server, WARM_UP_CONCURRENCY, WARM_UP_TOKENS, models, prompts)

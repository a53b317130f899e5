"""One run: a store that is published to all the time, and server after server on it, each killed.

Owns: the order of a run and what is noted of it. Knows nothing of how it is judged or printed.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from crma_adapters.errors import ConfigError, CrmaError
from crma_adapters.models.base_model import BaseModel
from crma_adapters.models.cache import CACHE_VARIABLE, cache_dir
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release
from crma_eval.serve import COMMAND, start_server
from crma_eval.serving.crashes.life import Life, Living
from crma_eval.serving.crashes.moments import Lengths, draw_moments
from crma_eval.serving.crashes.publisher import Publisher, Said
from crma_eval.serving.echo import Voice

DOMAINS = ("echo", "parrot")
WORDS = 20
"""How many words the adapters of a domain say in turn."""

LOG = "crashes-serve-{:02}.log"

_BUNDLES = "bundles"


@dataclass(frozen=True)
class Plan:
    """What to do. `pause_s` lies between two releases, whatever becomes of the server."""

    kills: int
    pause_s: float
    seed: int
    flags: tuple[str, ...]


@dataclass
class Check:
    """The store after a kill. `problem`: why it could not be served. `release`: what `release.json` names."""

    release: int | None
    problem: str | None


@dataclass
class Record:
    """What was seen. `lives` has one more than there are kills: the last server is stopped in order.

    `checks` come one per kill. `leftovers`: bundles that a kill left half made in the cache.
    """

    lives: list[Life] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    versions: dict[str, Said] = field(default_factory=dict)
    published: int = 0
    publisher_error: str | None = None
    leftovers: int = 0
    seconds: float = 0.0


def run_session(
    plan: Plan,
    base: BaseModel,
    voices: Sequence[Voice],
    folder: Path,
    logs: Path,
    advance: Callable[[Record], None] = lambda _: None,
    command: Sequence[str] = COMMAND,
) -> Record:
    """Publish to a new store in `folder`, and kill; `advance` is called after each kill.

    `voices`: `WORDS` for each of `DOMAINS`. `logs` takes a log of each server. Raises `ConfigError` if the
    first server does not start.
    """
    record, start_s = Record(), time.monotonic()
    store = Store(folder / "store")
    said = {name: voices[at * WORDS : (at + 1) * WORDS] for at, name in enumerate(DOMAINS)}
    publisher = Publisher(store, base, said, plan.pause_s)
    publisher.publish()
    publisher.start()
    lengths, cache = Lengths(), _own_cache(folder / "cache")
    try:
        for number, moment in enumerate([*draw_moments(plan.kills, plan.seed), None], start=1):
            life = Life(number, moment, store.pointer().release)
            record.lives.append(life)
            _live(plan, life, lengths, (store, publisher), base, logs, cache, command)
            if number == 1 and life.ready_s is None:
                raise ConfigError(f"the first server: {life.trouble}; its log is {logs / LOG.format(1)}")
            if moment is not None:
                record.checks.append(_check(store))
                advance(record)
    finally:
        publisher.stop()
    record.versions, record.published = publisher.versions, publisher.published
    record.publisher_error = str(publisher.error) if publisher.error else None
    record.leftovers = sum(1 for _ in (folder / "cache" / _BUNDLES).glob(".*"))
    record.seconds = time.monotonic() - start_s
    return record


def _live(
    plan: Plan,
    life: Life,
    lengths: Lengths,
    published: tuple[Store, Publisher],
    base: BaseModel,
    logs: Path,
    cache: Mapping[str, str],
    command: Sequence[str],
) -> None:
    store, publisher = published
    log = logs / LOG.format(life.number)
    server = start_server(
        store.root, log, model=base.name, flags=plan.flags, command=command, environment=cache
    )
    try:
        asyncio.run(Living(server, store, publisher, DOMAINS, lengths, plan.seed).live(life))
    except Exception as error:  # a server that breaks off says so here; the run goes on
        life.trouble = f"{type(error).__name__}: {error}"
    finally:
        server.stop()


def _check(store: Store) -> Check:
    """As `crma-adapters verify`, while the publisher goes on."""
    release: int | None = None
    try:
        live = store.live()
        release = live.number
        verify_release(store, live)
    except CrmaError as error:
        return Check(release, str(error))
    return Check(release, None)


def _own_cache(folder: Path) -> Mapping[str, str]:
    """A cache for this run's bundles, so that they are really composed; everything else is shared."""
    folder.mkdir(parents=True)
    with suppress(FileNotFoundError):
        for entry in cache_dir().iterdir():
            if entry.name != _BUNDLES:
                (folder / entry.name).symlink_to(entry)
    return {CACHE_VARIABLE: str(folder)}

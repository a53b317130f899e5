"""The same figures with the engine at rest and at full load."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import httpx

from crma_eval.routing.latency.load import STREAMS, ask_routed, busy
from crma_eval.routing.latency.table import LENGTHS
from crma_eval.routing.latency.texts import fresh_texts
from crma_eval.routing.latency.timing import Quantiles, Timing, time_decisions
from crma_router.batching import BatchRouter

REST_SEED, LOAD_SEED = 60_000, 70_000
# vLLM's processes poll for their messages for a second after each, on every core there is, before they sleep.
IDLE_S = 1.5
STEPS = 4 * len(LENGTHS)  # server and side, at rest and under load


@dataclass(frozen=True)
class Side:
    """A router in this process, beside the server's: texts of `tokens`, one caller, nothing cached."""

    tokens: int
    rest: Timing
    loaded: Timing


@dataclass(frozen=True)
class Service:
    """The server's own histogram: milliseconds of a decision of texts of `tokens`, the session included."""

    tokens: int
    rest: Quantiles
    loaded: Quantiles


@dataclass(frozen=True)
class Compared:
    """`streams` decoded meanwhile and were given `tokens_per_s`; `decisions` stand behind each figure."""

    side: tuple[Side, ...]
    service: tuple[Service, ...]
    streams: int
    tokens_per_s: float
    decisions: int


def ratio(loaded: float, rest: float) -> float:
    """How many times longer under load."""
    return loaded / rest if rest else float("inf")


def compare(
    url: str,
    router: BatchRouter,
    decisions: int,
    clock: Callable[[], float],
    done: Callable[[], None] = lambda: None,
    streams: int = STREAMS,
    idle_s: float = IDLE_S,
) -> Compared:
    """Measure at rest, then under load; `done` after each of `STEPS`, `clock` in seconds.

    At rest the engine has had nothing to do for `idle_s`.

    Raises `ConfigError` if the server refuses or the load breaks off.
    """
    with httpx.Client(base_url=url, timeout=600) as client:
        ask_routed(client, _texts(LENGTHS[0], min(decisions, 10), REST_SEED - 1))  # the first one is slow
        ask = partial(_both, client, router, decisions, done)
        rest = [ask(idle_s, tokens, REST_SEED) for tokens in LENGTHS]
        with busy(url, streams) as load:
            start_s, before = clock(), load.tokens
            loaded = [ask(0.0, tokens, LOAD_SEED) for tokens in LENGTHS]
            tokens_per_s = (load.tokens - before) / (clock() - start_s)
    pairs = list(zip(LENGTHS, rest, loaded, strict=True))
    side = tuple(Side(tokens, former[1], latter[1]) for tokens, former, latter in pairs)
    service = tuple(Service(tokens, former[0], latter[0]) for tokens, former, latter in pairs)
    return Compared(side, service, streams, tokens_per_s, decisions)


def _both(
    client: httpx.Client,
    router: BatchRouter,
    decisions: int,
    done: Callable[[], None],
    pause_s: float,
    tokens: int,
    seed: int,
) -> tuple[Quantiles, Timing]:
    """What the server says of its own decisions, and those of this process."""
    served = ask_routed(client, _texts(tokens, decisions, seed), pause_s).quantiles()
    done()
    time.sleep(pause_s)
    aside = time_decisions(router, _texts(tokens, decisions, seed + 1), 1)
    done()
    return served, aside


def _texts(tokens: int, count: int, seed: int) -> Sequence[str]:
    """Never asked before, not even by a former run on the same server."""
    return fresh_texts(tokens, count, seed + os.getpid() * 1000)

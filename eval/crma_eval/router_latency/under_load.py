"""The same figures with the engine at rest and at full load.

Owns: the order of the two, and what is compared. Knows nothing of how a report reads.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from crma_eval.router_latency.load import STREAMS, ask_routed, busy
from crma_eval.router_latency.table import LENGTHS
from crma_eval.router_latency.texts import fresh_texts
from crma_eval.router_latency.timing import Quantiles, Timing, time_decisions
from crma_router.router_queue import BatchRouter

SIDE_SEED, REST_SEED, LOAD_SEED = 50_000, 60_000, 70_000


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
    url: str, router: BatchRouter, decisions: int, clock: Callable[[], float], streams: int = STREAMS
) -> Compared:
    """Measure at rest, then under load. Raises `ConfigError` if the server refuses or the load breaks off."""
    with httpx.Client(base_url=url, timeout=600) as client:
        ask_routed(client, _texts(LENGTHS[0], min(decisions, 10), SIDE_SEED - 1))  # the first one is slow
        rest = [ask_routed(client, _texts(tokens, decisions, REST_SEED)).quantiles() for tokens in LENGTHS]
        side_rest = [_aside(router, tokens, decisions, SIDE_SEED) for tokens in LENGTHS]
        with busy(url, streams) as load:
            start_s, before = clock(), load.tokens
            loaded = [ask_routed(client, _texts(t, decisions, LOAD_SEED)).quantiles() for t in LENGTHS]
            side_loaded = [_aside(router, tokens, decisions, SIDE_SEED + 1) for tokens in LENGTHS]
            tokens_per_s = (load.tokens - before) / (clock() - start_s)
    return Compared(
        tuple(map(Side, LENGTHS, side_rest, side_loaded)),
        tuple(map(Service, LENGTHS, rest, loaded)),
        streams,
        tokens_per_s,
        decisions,
    )


def _texts(tokens: int, count: int, seed: int) -> Sequence[str]:
    """Never asked before, not even by a former run on the same server."""
    return fresh_texts(tokens, count, seed + os.getpid() * 1000)


def _aside(router: BatchRouter, tokens: int, decisions: int, seed: int) -> Timing:
    return time_decisions(router, _texts(tokens, decisions, seed), 1)

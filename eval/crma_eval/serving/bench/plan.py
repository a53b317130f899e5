"""The sizes of a benchmark, what they come to, and whether they can be used."""

from dataclasses import dataclass

from crma_adapters.errors import ConfigError

SLOTS = 8
RESIDENT = 64


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

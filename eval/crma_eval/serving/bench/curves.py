"""How cost grows: with adapters in the store, adapters in a batch, rank, prompt length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_eval.serving.bench.many_adapters import add_copies, add_of_rank, live_lora
from crma_eval.serving.bench.plan import Plan
from crma_eval.serving.bench.servers import COMPILE, Spec
from crma_eval.serving.bench.session import Job, in_turns
from crma_eval.serving.bench.systems import BASE, Subject, copy_names, lora_flags, max_rank
from crma_eval.serving.bench.traffic import deal, rotate
from crma_eval.serving.bench.turn import Turn

IN_STORE = (1, 10, 100, 1000)
IN_BATCH = (1, 2, 5, 8, 16, 32)
RANKS = (4, 8, 16, 32, 64)
PROMPTS = (32, 128, 512, 1024, 2048, 4096)
LONGEST = 4096 + 256  # the chat template and the answer too
MIXED, BARE = "mixed", "vllm"


@dataclass(frozen=True)
class Curve:
    """`cost`: which figure of a turn it shows, in ms. `bare`: of vLLM alone, to compare with."""

    key: str
    title: str
    axis: str
    points: tuple[int, ...]
    cost: str
    bare: bool = False


TOKEN, FIRST = "ms per output token", "TTFT, ms"
CURVES = (
    Curve("store", "Adapters in the store", "adapters in the store", IN_STORE, TOKEN),
    Curve("batch", "Adapters in a batch", "adapters in a batch of 32 requests", IN_BATCH, TOKEN),
    Curve("rank", "Rank", "rank", RANKS, TOKEN),
    Curve("prompt", "Prompt length", "prompt tokens", PROMPTS, FIRST),
    Curve("prompt-bare", "Prompt length, vLLM alone", "prompt tokens", PROMPTS, FIRST, bare=True),
)


def point_key(curve: str, point: int) -> str:
    """The name of a point among systems."""
    return f"{curve}-{point}"


def rank_name(rank: int) -> str:
    """The adapter of that rank."""
    return f"rank-{rank:03d}"


def curves_jobs(plan: Plan, questions: Sequence[str], subject: Subject, work: Path) -> tuple[Job, ...]:
    """Every point of every curve in each repeat; two jobs, one after the other, since all of their servers
    would take too much memory at a time. Each has half of the time."""
    every = [list(_repeat(plan, questions, repeat)) for repeat in range(plan.repeats)]
    specs = _specs(subject, work)
    groups = ({name for name in specs if name.startswith("store-")}, {MIXED, BARE})
    return tuple(_job(group, every, specs, questions, plan.minutes / len(groups)) for group in groups)


def _job(
    group: set[str], every: list[list[Turn]], specs: dict[str, Spec], questions: Sequence[str], minutes: float
) -> Job:
    turns = [[turn for turn in row if turn.server in group] for row in every]
    warm_ups = {
        turn.server: Turn(-1, turn.system, turn.server, 8, 4, rotate(turn.models, 8), deal(questions, 0, 8))
        for turn in turns[0]
    }
    return Job(
        specs={name: spec for name, spec in specs.items() if name in group},
        repeats=tuple(in_turns(row, repeat) for repeat, row in enumerate(turns)),
        warm_ups=tuple(warm_ups.values()),
        minutes=minutes,
    )


def _repeat(plan: Plan, questions: Sequence[str], repeat: int) -> Iterator[Turn]:
    tokens = plan.output_tokens
    some, many = deal(questions, 24 * repeat, 24), deal(questions, 64 * repeat, 64)
    for count in IN_STORE:
        models = rotate(copy_names(1), 24)
        yield Turn(repeat, point_key("store", count), f"store-{count}", 8, tokens, models, some)
    for count in IN_BATCH:
        models = rotate(copy_names(count), 64)
        yield Turn(repeat, point_key("batch", count), MIXED, 32, tokens, models, many)
    for rank in RANKS:
        models = rotate((rank_name(rank),), 24)
        yield Turn(repeat, point_key("rank", rank), MIXED, 8, tokens, models, some)
    for length in PROMPTS:
        for curve, server, name in (("prompt", MIXED, copy_names(1)[0]), ("prompt-bare", BARE, BASE)):
            yield Turn(repeat, point_key(curve, length), server, 1, 4, rotate((name,), 3), length)


def _specs(subject: Subject, work: Path) -> dict[str, Spec]:
    source = live_lora(subject.store, subject.domain)
    specs = {}
    for count in IN_STORE:
        store = work / f"store-{count}"
        add_copies([source], copy_names(count), store)
        flags = (*subject.flags, *lora_flags(max_rank(subject)))
        specs[f"store-{count}"] = Spec(f"store-{count}", flags, store=store)
    store = work / MIXED
    add_copies([source], copy_names(max(IN_BATCH)), store)
    for rank in RANKS:
        add_of_rank(source, rank, store / rank_name(rank))
    long = ("--max-model-len", str(LONGEST))
    slots = lora_flags(max(RANKS), max(IN_BATCH))
    specs[MIXED] = Spec(MIXED, (*subject.flags, *slots, *long, COMPILE), store=store)
    specs[BARE] = Spec(BARE, (*subject.flags, *long), stock=True)
    return specs

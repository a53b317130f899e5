"""The side-by-side comparison as a job: whose turn it is, with which questions and names."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from crma_eval.serving.bench.plan import RESIDENT, Plan
from crma_eval.serving.bench.session import Job, in_turns
from crma_eval.serving.bench.systems import Subject, System, server_specs
from crma_eval.serving.bench.traffic import deal, rotate, zipf
from crma_eval.serving.bench.turn import Turn

WARM_UP_REQUESTS, WARM_UP_CONCURRENCY, WARM_UP_TOKENS = 8, 8, 4
MANY = "crma-many"


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
        follow={MANY: RESIDENT},
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

"""`crma-eval ablation`: the same questions with CRMA on and off, per request on a live server."""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import DEFAULT_BASE_MODEL
from crma_eval.learning.ablation.ask import (
    AnswerLog,
    Asking,
    ServedModels,
    ask_all,
    interleaved,
    read_models,
    setup_digest,
)
from crma_eval.learning.ablation.questions import ARMS, OFF, ON, answerable, draw
from crma_eval.learning.ablation.results import Results, collect, shown_better
from crma_eval.report import Goal
from crma_eval.serve import live_server
from crma_eval.task import Context, Result
from crma_training.config import TrainConfig
from crma_training.data.dataset import domain_names
from crma_training.flags import add_options, config_from, names

ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class Settings:
    """What is asked, of whom, and where the answers are kept."""

    data: Path
    work: Path
    domains: tuple[str, ...] | None
    questions: int
    max_tokens: int
    in_flight: int
    serve_flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("questions", "max_tokens", "in_flight"):
            if getattr(self, name) < 1:
                flag = "--" + name.replace("_", "-")
                raise ConfigError(f"{flag} is {getattr(self, name)}; give a number that is at least 1")


def measure(client: httpx.Client, settings: Settings) -> tuple[Results, str]:
    """Asks a live server everything that is not answered yet; also returns the base model's name.

    Raises:
        ConfigError: the server fails, or has nothing to compare.
        DataError: the questions cannot be drawn.
    """
    models = read_models(client)
    domains = _domains(settings, models)
    arms = answerable(domains, models.exact)
    if len(arms) < 2:
        raise ConfigError(
            f"{client.base_url} serves the domains and no other arm ({', '.join(arm.name for arm in ARMS)}); "
            "nothing can be compared: serve a release with CRMA"
        )
    questions = draw(settings.data, domains, settings.questions)
    order = interleaved(arms, questions)
    setup = setup_digest(models, settings.max_tokens, settings.serve_flags)
    asking = Asking(models, settings.max_tokens, settings.in_flight)
    with (
        AnswerLog(settings.work / ANSWERS, setup) as log,
        tqdm(total=len(order), desc="ablation", unit="answer", file=sys.stderr, dynamic_ncols=True) as bar,
    ):
        if log.damaged:
            tqdm.write(f"{ANSWERS}: {log.damaged} damaged lines, asked again", file=sys.stderr)
        answers = ask_all(client, order, log, asking, bar.update)
    return collect(arms, questions, answers), models.base


def _domains(settings: Settings, models: ServedModels) -> Sequence[str]:
    """The named domains, all of which must be served; unless named, those of the data that are served."""
    known = domain_names(settings.data)
    served = [name for name in known if ON.model(name) in models.exact]
    missing = [name for name in settings.domains or () if name not in served]
    if missing or not served:
        raise ConfigError(
            f"the server has no adapter for {', '.join(missing or known)} of {settings.data}; "
            f"it lists {', '.join(models.exact) or 'none'}"
        )
    return settings.domains or served


DESCRIPTION = """\
Trains a release on DATA, and the same LoRAs without CRMA; serves all of it with crma-serve; asks held-out
short-answer questions of five arms: CRMA on, off, LoRA trained without CRMA, base model alone, CRMA alone.
What is finished in WORK is not done again: give the same command again after a stop. With --adapters an
existing release is served instead, with --url a server that is already running is asked.
Exit status 1: on was not shown to be better than off (p < 0.05).
"""
MAX_TOKENS = 32
REQUEST_TIMEOUT_S = 600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument(
        "--data", type=Path, required=True, help="dataset folder with short_answer.jsonl files"
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for training, store, log and answers"
    )
    parser.add_argument("--adapters", type=Path, help="serve this store instead of training one")
    parser.add_argument("--url", help="ask this running crma-serve instead of starting one")
    parser.add_argument("--api-key", help="sent to --url as a bearer token")
    parser.add_argument("--domains", type=names, help="comma-separated, in training order (default: all)")
    for flag, default, meaning in (
        ("questions", 100, "questions in all, shared evenly by the domains"),
        ("max-tokens", MAX_TOKENS, "tokens per answer"),
        ("in-flight", 4, "requests at a time"),
    ):
        parser.add_argument(f"--{flag}", type=int, default=default, help=f"{meaning} (default: {default})")
    parser.add_argument(
        "--serve-flags",
        type=shlex.split,
        default=[],
        help='crma-serve flags, as --serve-flags="--dtype bfloat16"',
    )
    training: Any = parser.add_argument_group("training")
    add_options(training, leave_out=("router", "note"))
    parser.set_defaults(model=None)


def run(context: Context) -> Result:
    """Train, serve, ask."""
    args = context.args
    from crma_eval.learning.ablation.report import Circumstances, ablation_report

    settings = Settings(
        args.data,
        args.work,
        args.domains,
        args.questions,
        args.max_tokens,
        args.in_flight,
        tuple(args.serve_flags),
    )
    config = _config(args)
    headers = {"Authorization": f"Bearer {args.api_key}"} if args.api_key else {}
    with (
        _server(args, settings, config) as url,
        httpx.Client(base_url=url, headers=headers, timeout=REQUEST_TIMEOUT_S) as client,
    ):
        results, base = measure(client, settings)
    training = None if args.url or args.adapters else config.to_json()
    about = Circumstances(base, args.max_tokens, args.in_flight, args.data.resolve().name, training)
    report = ablation_report(results, about)
    return Result(report, (_goal(results),))


def _goal(results: Results) -> Goal:
    what, bound = "right answers, CRMA on against off", "more with it on, shown (p < 0.05)"
    if OFF not in results.arms:
        return Goal(what, bound, "off was not asked", False)
    pairs = results.paired(ON, OFF)
    return Goal(
        what,
        bound,
        f"{pairs.only_first} right with it alone, {pairs.only_second} without it alone",
        shown_better(pairs),
    )


def _config(args: argparse.Namespace) -> TrainConfig:
    """The training options. Raises `ConfigError` if some are given and nothing is to be trained."""
    sources = [flag for flag in ("url", "adapters") if getattr(args, flag)]
    if len(sources) > 1:
        raise ConfigError(
            f"{' and '.join('--' + flag for flag in sources)}; give one: a running server or a store"
        )
    if args.url and (args.model or args.serve_flags):
        raise ConfigError(
            "--url asks a server as it runs; --model and --serve-flags are for one started here"
        )
    given = argparse.Namespace(**vars(args) | {"model": args.model or DEFAULT_BASE_MODEL})
    config = config_from(given)
    plain = TrainConfig(model=config.model, seed=TrainConfig().seed)
    changed = [name for name, value in vars(config).items() if value != getattr(plain, name)]
    if changed and sources:
        flags = ", ".join("--" + name.replace("_", "-") for name in changed)
        raise ConfigError(f"{flags} would change the training, and nothing is trained; leave it out")
    return config


@contextmanager
def _server(args: argparse.Namespace, settings: Settings, config: TrainConfig) -> Iterator[str]:
    if args.url:
        yield args.url
        return
    adapters, model = args.adapters, args.model
    if adapters is None:
        from crma_eval.learning.ablation.prepare import Preparation, prepare

        domains = settings.domains or domain_names(settings.data)
        draw(settings.data, domains, settings.questions)  # refused before training, not after
        adapters = prepare(Preparation(settings.data, config, domains, settings.work), _say)
        model = config.model
    log = settings.work / "crma-serve.log"
    _say(f"starting crma-serve on {adapters}; it says in {log} what it does")
    with live_server(adapters, log, model=model, flags=settings.serve_flags) as url:
        yield url


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)

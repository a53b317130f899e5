"""`crma-eval ablation`: does CRMA matter to the answers? Switched per request on one live server."""

import argparse
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import DEFAULT_BASE_MODEL
from crma_eval.learning.ablation.arms import OFF, ON
from crma_eval.learning.ablation.measure import Settings, measure
from crma_eval.learning.ablation.questions import draw
from crma_eval.learning.ablation.results import Results
from crma_eval.learning.ablation.verdict import shown_better
from crma_eval.report import Goal
from crma_eval.serve import live_server
from crma_eval.task import Context, Result
from crma_training.config import TrainConfig
from crma_training.data.dataset import domain_names
from crma_training.flags import add_options, config_from, names

DESCRIPTION = """\
Trains a release on DATA, and beside it LoRAs without CRMA and mixers alone; serves all of it with crma-serve;
asks held-out short-answer questions of six arms: on, off, lora-only, mixer-only, base, backbone alone.
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
    for kind, whose in (("lora", "--learning-rate"), ("mixer", "--crma-learning-rate")):
        training.add_argument(
            f"--{kind}-only-rate", type=float, help=f"learning rate of {kind}-only (default: {whose})"
        )
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
        adapters = prepare(
            Preparation(
                settings.data,
                config,
                domains,
                settings.work,
                args.lora_only_rate,
                args.mixer_only_rate,
            ),
            _say,
        )
        model = config.model
    log = settings.work / "crma-serve.log"
    _say(f"starting crma-serve on {adapters}; it says in {log} what it does")
    with live_server(adapters, log, model=model, flags=settings.serve_flags) as url:
        yield url


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)

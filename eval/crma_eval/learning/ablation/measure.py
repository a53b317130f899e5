"""The measurement: a live server's models, the questions, every answer that is not there yet."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_eval.learning.ablation.answers import AnswerLog
from crma_eval.learning.ablation.arms import ARMS, ON, answerable
from crma_eval.learning.ablation.ask import Asking, ask_all, interleaved, setup_digest
from crma_eval.learning.ablation.questions import draw
from crma_eval.learning.ablation.results import Results, collect
from crma_eval.learning.ablation.server import ServedModels, read_models
from crma_training.data.dataset import domain_names

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

"""`crma-eval served`: does a running server send held-out questions to their adapters, and does CRMA act?"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_eval.questions import Question, draw_questions, read_questions, write_questions
from crma_eval.report import Goal, Report
from crma_eval.task import Context, Result

GOAL = 0.9
FALLBACK = "fallback"


@dataclass(frozen=True)
class Served:
    """One domain's questions through `auto`: where they went, and what `:crma-off` changes."""

    domain: str
    asked: int
    reached: Counter[str]
    crma_effect: float

    @property
    def share(self) -> float:
        """Share of questions that reached their own adapter (small talk: the backbone alone)."""
        return self.reached[self.domain] / self.asked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (default: %(default)s)")
    parser.add_argument(
        "--questions",
        type=Path,
        default=Path("adapters/demo_questions.jsonl"),
        help='rows {"domain", "question"}, domain null for small talk (default: %(default)s)',
    )
    parser.add_argument(
        "--data", type=Path, help="draw them from this folder of crma-train demo-data instead"
    )
    parser.add_argument("--per-domain", type=int, default=20, help="drawn a domain (default: %(default)s)")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="write what was drawn there, for --questions"
    )
    parser.add_argument("--api-key", help="sent as a bearer token, if the server wants one")


def run(context: Context) -> Result:
    """Ask and count."""
    args = context.args
    headers = {"Authorization": f"Bearer {args.api_key}"} if args.api_key else {}
    questions = draw_questions(args.data, args.per_domain) if args.data else read_questions(args.questions)
    if args.keep:
        write_questions(args.keep, questions)
    with httpx.Client(base_url=args.url, headers=headers, timeout=300) as client:
        results = ask(client, questions)
    return Result(_report(results), tuple(goal for result in results for goal in _goals(result)))


def _goals(found: Served) -> tuple[Goal, Goal]:
    share, effect = f"{found.share:.0%}", f"{found.crma_effect:.3f} nats"
    return (
        Goal(f"{found.domain}: questions that reach it", f"at least {GOAL:.0%}", share, found.share >= GOAL),
        Goal(f"{found.domain}: what CRMA on or off changes", "more than 0", effect, found.crma_effect > 0),
    )


def ask(client: httpx.Client, questions: list[Question]) -> list[Served]:
    """Every question through `auto`; the first of each domain also with CRMA off."""
    results = []
    with tqdm(total=len(questions), desc="served", unit="question", file=sys.stderr) as bar:
        for domain in dict.fromkeys(question.domain for question in questions):
            own = [question.text for question in questions if question.domain == domain]
            reached: Counter[str] = Counter()
            for text in own:
                reached[_chat(client, "auto", text)["crma"]["domain"] or FALLBACK] += 1
                bar.update()
            results.append(
                Served(domain or FALLBACK, len(own), reached, _crma_effect(client, domain, own[0]))
            )
    return results


def _crma_effect(client: httpx.Client, domain: str | None, text: str) -> float:
    """Largest change of the first token's top log-probabilities (nats) when CRMA is switched off."""
    name = domain or "backbone"
    on, off = (_first_logprobs(client, model, text) for model in (name, f"{name}:crma-off"))
    shared = on.keys() & off.keys()
    return max((abs(on[token] - off[token]) for token in shared), default=float("inf"))


def _first_logprobs(client: httpx.Client, model: str, text: str) -> dict[str, float]:
    choice = _chat(client, model, text, logprobs=True, top_logprobs=5)["choices"][0]
    return {entry["token"]: entry["logprob"] for entry in choice["logprobs"]["content"][0]["top_logprobs"]}


def _chat(client: httpx.Client, model: str, text: str, **options: Any) -> dict[str, Any]:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 1,
        "temperature": 0,
    }
    try:
        reply = client.post("/v1/chat/completions", json={**body, **options})
    except httpx.TransportError as error:
        raise ConfigError(
            f"no answer from {client.base_url} ({error}); start it first: crma-serve --adapters DIR"
        ) from error
    if reply.status_code != 200:
        raise ConfigError(f"{client.base_url} answered {reply.status_code} for {model!r}: {reply.text[:300]}")
    found: dict[str, Any] = reply.json()
    return found


def _report(results: list[Served]) -> Report:
    rows = tuple(
        (
            result.domain,
            str(result.asked),
            f"{100 * result.share:.0f} %",
            ", ".join(f"{n} {name}" for name, n in result.reached.most_common() if name != result.domain)
            or "-",
            f"{result.crma_effect:.3f}",
        )
        for result in results
    )
    return Report(
        name="served",
        title="Held-out questions through a live server",
        header=("domain", "asked", "reached", "went elsewhere", "CRMA on/off, max change of log-probability"),
        rows=rows,
        figures={"domains": [{**vars(result), "share": result.share} for result in results]},
        remarks=(f"Goal: at least {100 * GOAL:.0f} % reach their adapter; small talk, the backbone alone.",),
    )

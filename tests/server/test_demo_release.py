"""The committed demo release, served: held-out questions reach their adapter, and CRMA changes the logits."""

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

ADAPTERS = Path(__file__).parents[2] / "adapters"
QUESTIONS_PER_DOMAIN = 20

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        not (ADAPTERS / "release.json").exists(), reason="no demo release is committed under adapters/ yet"
    ),
]


@pytest.fixture(scope="module")
def client(serve: Callable[..., Any]) -> openai.OpenAI:
    running = serve(ADAPTERS)
    return openai.OpenAI(base_url=f"{running.address}/v1", api_key="none", timeout=300, max_retries=0)


@pytest.fixture(scope="module")
def questions() -> list[dict[str, Any]]:
    lines = (ADAPTERS / "demo_questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def ask(client: openai.OpenAI, model: str, question: str, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": question}]
    return client.chat.completions.create(
        model=model, messages=messages, max_tokens=1, temperature=0, logprobs=True, **more
    )


def test_held_out_questions_reach_their_adapter(
    client: openai.OpenAI, questions: list[dict[str, Any]]
) -> None:
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda row: ask(client, "auto", row["question"]), questions))
    reached: dict[str | None, Counter[str]] = {}
    for row, reply in zip(questions, replies, strict=True):
        reached.setdefault(row["domain"], Counter())[reply.crma["adapter"]] += 1
    domains = {domain for domain in reached if domain is not None}
    assert domains == {"medical", "legal", "financial", "code", "science"}
    for domain in domains:
        assert reached[domain].total() == QUESTIONS_PER_DOMAIN
        assert reached[domain][domain] >= 0.9 * QUESTIONS_PER_DOMAIN, (domain, reached[domain])
    small_talk = reached[None]
    assert small_talk["backbone"] >= 0.9 * small_talk.total(), small_talk


def test_crma_changes_what_every_domain_computes(
    client: openai.OpenAI, questions: list[dict[str, Any]]
) -> None:
    first = {row["domain"]: row["question"] for row in questions if row["domain"] is not None}
    for domain, question in first.items():
        on, off, base = (
            ask(client, name, question).choices[0].logprobs.content[0].logprob
            for name in (domain, f"{domain}:crma-off", "base")
        )
        assert on == off, domain  # a mixer of its own on no backbone: there is no shared CRMA to leave out
        assert on != base, domain


def test_each_domain_answers_in_one_batch(client: openai.OpenAI, questions: list[dict[str, Any]]) -> None:
    asked = {row["domain"]: row["question"] for row in questions if row["domain"] is not None}
    with ThreadPoolExecutor(len(asked)) as threads:
        replies = threads.map(lambda item: (item[0], ask(client, item[0], item[1])), asked.items())
        assert {name: reply.model.partition("@")[0] for name, reply in replies} == {
            name: name for name in asked
        }

import json
from typing import Any

import httpx
import pytest

from crma_adapters.errors import ConfigError
from crma_eval.questions import Question
from crma_eval.serving.served import ask

QUESTIONS = [
    Question("What is asthma?", "medical"),
    Question("What is a tort?", "medical"),
    Question("hello", None),
]


def _server(request: httpx.Request) -> httpx.Response:
    """Answers as crma-serve does: "tort" to legal, "asthma" to medical, the rest to the backbone."""
    body: dict[str, Any] = json.loads(request.content)
    text = body["messages"][0]["content"]
    domain = "legal" if "tort" in text else "medical" if "asthma" in text else None
    logprob = -1.5 if body["model"].endswith(":crma-off") else -1.0
    token = {"token": "A", "logprob": logprob, "top_logprobs": [{"token": "A", "logprob": logprob}]}
    return httpx.Response(
        200, json={"crma": {"domain": domain}, "choices": [{"logprobs": {"content": [token]}}]}
    )


def test_counts_where_questions_went_and_what_crma_changed() -> None:
    client = httpx.Client(transport=httpx.MockTransport(_server), base_url="http://test")
    medical, small_talk = ask(client, QUESTIONS)
    assert medical.share == 0.5 and medical.reached == {"medical": 1, "legal": 1}
    assert medical.crma_effect == pytest.approx(0.5)
    assert small_talk.domain == "fallback" and small_talk.share == 1.0


def test_a_refusing_server_is_quoted() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(404, json={"error": "no such model"}))
    with pytest.raises(ConfigError, match=r"404 for 'auto'.*no such model"):
        ask(httpx.Client(transport=transport, base_url="http://test"), QUESTIONS)


def test_no_server_says_how_to_start_one() -> None:
    with (
        httpx.Client(base_url="http://127.0.0.1:9", trust_env=False) as client,
        pytest.raises(ConfigError, match="crma-serve --adapters"),
    ):
        ask(client, QUESTIONS)

import json
from typing import Any

import httpx
import pytest

from crma_adapters.errors import ConfigError
from crma_eval.learning.ablation.server import Reply, ServedModels, ask, read_models

GOOD = {"model": "m@1", "choices": [{"message": {"content": "Sol"}, "finish_reason": "stop"}]}


def client(status: int, document: Any) -> httpx.Client:
    content = document if isinstance(document, str) else json.dumps(document)
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=content))
    return httpx.Client(transport=transport, base_url="http://test")


def test_reads_exact_names_and_the_base_models() -> None:
    listed = [("auto", None), ("tiny", None), ("base", "base"), ("medical", "medical@1+2")]
    found = read_models(client(200, {"data": [{"id": name, "root": root} for name, root in listed]}))
    assert found == ServedModels({"base": "base", "medical": "medical@1+2"}, "tiny")


@pytest.mark.parametrize("document", [[], {}, {"data": None}, {"data": [1]}, {"data": [{"name": "x"}]}])
def test_a_model_list_of_another_kind_is_refused(document: Any) -> None:
    with pytest.raises(ConfigError, match="no model list of an OpenAI-compatible server"):
        read_models(client(200, document))


def test_asks_greedily_and_reads_the_answer() -> None:
    seen: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content))
        return httpx.Response(200, json=GOOD)

    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://test") as client:
        assert ask(client, "medical", "Why?", 32) == Reply("m@1", "Sol", "stop")
    messages = [{"role": "user", "content": "Why?"}]
    assert seen == [{"model": "medical", "messages": messages, "max_tokens": 32, "temperature": 0}]


def test_an_answer_of_no_words_is_an_answer() -> None:
    document = {"model": "m", "choices": [{"message": {"content": None}, "finish_reason": "stop"}]}
    assert ask(client(200, document), "m", "Why?", 32).text == ""


@pytest.mark.parametrize(
    ("status", "document", "said"),
    [
        (500, "engine died", r"/v1/chat/completions answered 500 for 'm': engine died"),
        (404, {"error": "no such model"}, r"404 for 'm'.*no such model"),
        (200, "<html>", "did not answer in JSON: '<html>'"),
        (200, [], "another form"),
        (200, {}, "another form.*KeyError"),
        (200, {"choices": []}, "another form.*IndexError"),
        (200, {"model": "m", "choices": [{"message": {}, "finish_reason": "stop"}]}, "another form"),
        (200, {"model": "m", "choices": [{"message": {"content": "x"}}]}, "another form.*finish_reason"),
        (200, {"choices": GOOD["choices"]}, "another form.*model"),
        (200, {"model": "m", "choices": [{"message": {"content": 5}, "finish_reason": "stop"}]}, "without"),
        (200, {"model": None, "choices": GOOD["choices"]}, "without model"),
    ],
)
def test_anything_but_an_answer_is_an_error_that_quotes_it(status: int, document: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ask(client(status, document), "m", "Why?", 32)


def test_no_server_at_all() -> None:
    with (
        httpx.Client(base_url="http://127.0.0.1:9", trust_env=False) as client,
        pytest.raises(ConfigError, match="is crma-serve still running there"),
    ):
        ask(client, "m", "Why?", 32)

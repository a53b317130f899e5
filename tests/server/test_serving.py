"""A real `crma-serve` with a real engine, asked by the stock `openai` client."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

pytestmark = pytest.mark.engine

FEVER = "How do doctors treat a high fever in children?"
EVICTION = "Can a landlord evict a tenant without going to court?"
SMALL_TALK = "Hi, how are you today?"


class Asked:
    """One reply with its headers."""

    def __init__(self, raw: Any) -> None:
        self.headers = raw.headers
        self.reply = raw.parse()

    @property
    def adapter(self) -> str:
        return str(self.headers["x-crma-adapter"])

    @property
    def path(self) -> str:
        return str(self.headers["x-crma-path"])


@pytest.fixture(scope="module")
def client(server: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", timeout=120, max_retries=0)


@pytest.fixture(scope="module")
def chat(client: openai.OpenAI) -> Callable[..., Asked]:
    def ask(model: str, text: str, **more: Any) -> Asked:
        messages = [{"role": "user", "content": text}]
        settings = {"max_tokens": 8, "temperature": 0} | more
        create: Any = client.chat.completions.with_raw_response.create
        return Asked(create(model=model, messages=messages, **settings))

    return ask


@pytest.mark.parametrize(
    ("text", "adapter", "path"),
    [(FEVER, "medical", "routed"), (EVICTION, "legal", "routed"), (SMALL_TALK, "backbone", "fallback")],
)
def test_auto_reaches_the_right_adapter(
    chat: Callable[..., Asked], text: str, adapter: str, path: str
) -> None:
    asked = chat("auto", text)
    assert (asked.adapter, asked.path) == (adapter, path)
    assert asked.reply.crma["adapter"] == adapter
    assert asked.reply.model.startswith(f"{adapter}@")
    assert asked.reply.choices[0].message.content


def test_the_served_name_routes_like_auto(chat: Callable[..., Asked]) -> None:
    assert chat("smollm2-135m-instruct", FEVER).adapter == "medical"


@pytest.mark.parametrize("name", ["medical", "legal", "backbone", "base", "pirate", "medical:crma-off"])
def test_an_explicit_name_is_obeyed(chat: Callable[..., Asked], name: str) -> None:
    asked = chat(name, EVICTION)
    assert (asked.adapter, asked.path) == (name.partition(":")[0], "explicit")
    assert ("x-crma-backbone" in asked.headers) == (name in ("medical", "legal", "backbone"))


def test_the_model_of_a_reply_names_the_same_thing_again(chat: Callable[..., Asked]) -> None:
    first = chat("medical", FEVER, logprobs=True)
    again = chat(first.reply.model, FEVER, logprobs=True)
    assert again.reply.model == first.reply.model
    assert logprobs(again) == pytest.approx(logprobs(first), abs=1e-5)


def test_every_target_computes_something_else(chat: Callable[..., Asked]) -> None:
    names = ["base", "backbone", "medical", "medical:crma-off", "legal", "legal:crma-off", "pirate"]
    first = {name: logprobs(chat(name, FEVER, logprobs=True, max_tokens=1))[0] for name in names}
    assert len({round(value, 6) for value in first.values()}) == len(names), first


def test_base_and_backbone_with_crma_off_are_the_same(chat: Callable[..., Asked]) -> None:
    base, off = (chat(name, FEVER, logprobs=True) for name in ("base", "backbone:crma-off"))
    assert off.reply.model == "base"
    assert logprobs(off) == pytest.approx(logprobs(base), abs=1e-5)


def test_a_stream_says_it_in_its_first_chunk_only(client: openai.OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(
        model="auto", messages=[{"role": "user", "content": FEVER}], max_tokens=8, stream=True
    ) as response:
        assert response.headers["x-crma-adapter"] == "medical"
        chunks: list[Any] = list(response.parse())
    assert chunks[0].crma["adapter"] == "medical"
    assert not any(hasattr(chunk, "crma") for chunk in chunks[1:])
    assert {chunk.model.partition("@")[0] for chunk in chunks} == {"medical"}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_completions_are_routed(client: openai.OpenAI) -> None:
    reply: Any = client.completions.create(model="auto", prompt=FEVER, max_tokens=4)
    assert reply.crma["adapter"] == "medical"
    stream: Any = client.completions.create(model="auto", prompt=EVICTION, max_tokens=4, stream=True)
    assert next(iter(stream)).crma["adapter"] == "legal"


def test_responses_are_routed(client: openai.OpenAI) -> None:
    reply: Any = client.responses.create(model="auto", input=FEVER, max_output_tokens=8)
    assert reply.crma["adapter"] == "medical"
    assert reply.output_text
    items: Any = [{"role": "user", "content": [{"type": "input_text", "text": EVICTION}]}]
    events: list[Any] = list(
        client.responses.create(model="auto", input=items, max_output_tokens=8, stream=True)
    )
    assert events[0].type == "response.created"
    assert events[0].crma["adapter"] == "legal"
    assert events[-1].type in ("response.completed", "response.incomplete")


def test_debug_shows_all_scores(chat: Callable[..., Asked]) -> None:
    asked = chat("auto", FEVER, extra_headers={"x-crma-debug": "true"})
    assert set(asked.reply.crma["scores"]) == {"medical", "legal"}


def test_a_conversation_stays_with_its_domain_by_its_session_and_changes_with_its_topic(
    chat: Callable[..., Asked],
) -> None:
    mine = {"extra_headers": {"x-session-id": "one"}}
    assert chat("auto", FEVER, **mine).path == "routed"
    follow_up = chat("auto", "and the dosage?", **mine)
    assert follow_up.adapter == "medical"  # carried or sure of itself: both are right of a dosage
    carried = chat("auto", "go on", **mine)
    assert (carried.adapter, carried.path) == ("medical", "sticky")
    assert chat("auto", EVICTION, **mine).adapter == "legal"
    stranger = chat("auto", "go on", extra_headers={"x-session-id": "two"})
    assert stranger.path == "fallback"


def test_a_conversation_is_known_by_its_history(client: openai.OpenAI) -> None:
    turns: Any = [
        {"role": "user", "content": EVICTION},
        {"role": "assistant", "content": "Only with a court order."},
        {"role": "user", "content": "go on"},
    ]
    reply: Any = client.chat.completions.create(model="auto", messages=turns, max_tokens=8)
    assert (reply.crma["adapter"], reply.crma["path"]) == ("legal", "sticky")


def test_an_unknown_model_is_a_404(chat: Callable[..., Asked]) -> None:
    with pytest.raises(openai.NotFoundError, match="expected one of auto, smollm2-135m-instruct"):
        chat("surgeon", FEVER)


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"model": "auto"}', b'{"model": "auto", "messages": "x"}', b'{"model": 1, "messages": []}'],
)
def test_bad_requests_are_400s(server: Any, body: bytes) -> None:
    request = urllib.request.Request(
        f"{server.address}/v1/chat/completions", body, {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 400
    assert json.load(caught.value)["error"]["message"]


def test_the_model_list_is_in_vllms_card_form(client: openai.OpenAI) -> None:
    aliases = {"auto", "smollm2-135m-instruct", "base", "backbone", "medical", "pirate"}
    assert aliases <= {card.id for card in client.models.list().data}
    every = client.models.list(extra_query={"names": "all"}).data
    cards: dict[str, Any] = {card.id: card for card in every}
    assert {*aliases, "medical:crma-off"} <= set(cards)
    medical = cards["medical"]
    assert medical.object == "model"
    assert medical.root in cards
    assert medical.parent == "base"
    assert medical.max_model_len == 1024
    assert medical.permission[0]["object"] == "model_permission"


def test_metrics_stand_beside_vllms(server: Any, chat: Callable[..., Asked]) -> None:
    chat("auto", FEVER)
    text = urllib.request.urlopen(f"{server.address}/metrics").read().decode()
    assert 'crma_requests_total{adapter="medical",crma="on",path="routed"}' in text
    assert "crma_router_seconds_count" in text
    assert "crma_release_info{" in text
    assert "vllm:num_requests_running" in text


def test_tokenize_takes_any_name(server: Any) -> None:
    for name in ("auto", "medical", "base"):
        body = json.dumps({"model": name, "prompt": "fever"}).encode()
        request = urllib.request.Request(
            f"{server.address}/tokenize", body, {"Content-Type": "application/json"}
        )
        assert json.load(urllib.request.urlopen(request))["count"] == 2


def test_adapters_cannot_be_loaded_from_outside(server: Any, small_store: Path) -> None:
    body = json.dumps({"lora_name": "x", "lora_path": str(small_store / "pirate")}).encode()
    request = urllib.request.Request(
        f"{server.address}/v1/load_lora_adapter", body, {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 401  # an operator's, and nobody has that key here


def test_the_start_said_what_it_did(server: Any) -> None:
    output = server.output
    for step in (
        "checking the store",
        "release 1",
        "starting the engine",
        "loading 6 adapters",
        "curl -si",
    ):
        assert step in output
    assert "Try it (expect x-crma-adapter: medical)" in output


def logprobs(asked: Asked) -> list[float]:
    return [token.logprob for token in asked.reply.choices[0].logprobs.content]

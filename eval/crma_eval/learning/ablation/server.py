"""A running crma-serve as the ablation sees it: which models it has, and what they answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from crma_adapters.errors import ConfigError

AUTO = "auto"


@dataclass(frozen=True)
class ServedModels:
    """`exact`: every model name and the exact name, drawn from content, that it stands for now. `base` is the
    base model's name, empty if the server does not say.
    """

    exact: Mapping[str, str]
    base: str


@dataclass(frozen=True)
class Reply:
    """What the server said: `model` is the exact name of what answered."""

    model: str
    text: str
    finish: str


def read_models(client: httpx.Client) -> ServedModels:
    """The server's model list. Raises `ConfigError` if there is no server or it is none of ours."""
    listed = _json(client, "GET", "/v1/models?names=all")
    try:
        roots = {str(entry["id"]): entry.get("root") for entry in listed["data"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{client.base_url}/v1/models is no model list of an OpenAI-compatible server: {listed!r:.200}"
        ) from error
    routing = [name for name, root in roots.items() if root is None and name != AUTO]
    exact = {name: str(root) for name, root in roots.items() if root is not None}
    return ServedModels(exact, routing[0] if routing else "")


def ask(client: httpx.Client, model: str, question: str, max_tokens: int) -> Reply:
    """The model's greedy answer. Raises `ConfigError` on anything but a complete answer."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": max_tokens,
        "temperature": 0,
    }
    reply = _json(client, "POST", "/v1/chat/completions", body)
    try:
        choice = reply["choices"][0]
        found = Reply(reply["model"], choice["message"]["content"] or "", choice["finish_reason"])
    except (KeyError, IndexError, TypeError) as error:
        raise ConfigError(
            f"{client.base_url} gave {model!r}'s answer in another form than OpenAI's chat completions "
            f"({type(error).__name__}: {error}): {reply!r:.200}"
        ) from error
    if not all(isinstance(value, str) for value in vars(found).values()):
        raise ConfigError(
            f"{client.base_url} gave {model!r}'s answer without model, text or reason: {reply!r:.200}"
        )
    return found


def _json(client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    try:
        reply = client.request(method, path, json=body)
    except httpx.TransportError as error:
        raise ConfigError(
            f"no answer from {client.base_url} ({type(error).__name__}: {error}); is crma-serve still "
            "running there? The answers so far are kept: give the same command again"
        ) from error
    if reply.status_code != 200:
        of = f" for {body['model']!r}" if body else ""
        raise ConfigError(f"{client.base_url}{path} answered {reply.status_code}{of}: {reply.text[:300]}")
    try:
        return reply.json()
    except ValueError as error:
        raise ConfigError(f"{client.base_url}{path} did not answer in JSON: {reply.text[:200]!r}") from error

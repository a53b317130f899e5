"""The conversation of a request, whichever API it was sent to, and what it says outright to be routed by."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from crma_adapters.errors import RouterError
from crma_router.conversation.messages import Conversation, read_conversation

ROUTE_TEXT_HEADER = b"x-crma-route-text"
ROUTE_TEXT_MEMBER = "crma_route_text"


def request_conversation(
    body: Mapping[str, Any], headers: Iterable[tuple[bytes, bytes]] = ()
) -> Conversation:
    """What the user wrote, from `messages`, `input` (a string or items) or `prompt` (a string or several).

    A prompt of token ids has no text. What the header `x-crma-route-text` or the member `crma_route_text`
    says takes the place of the last turn. Raises `RouterError` if messages or items are none, or that
    member is no string.
    """
    conversation = _written(body)
    given = _route_text(body, headers)
    if given is None:
        return conversation
    return replace(conversation, turns=(*conversation.turns[:-1], given), prompts=())


def _route_text(body: Mapping[str, Any], headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name.lower() == ROUTE_TEXT_HEADER and value.strip():
            return value.decode("utf-8", "replace").strip()
    given = body.get(ROUTE_TEXT_MEMBER)
    if given is not None and not isinstance(given, str):
        raise RouterError(f"{ROUTE_TEXT_MEMBER} is {type(given).__name__}; expected a string to route by")
    return given.strip() or None if given else None


def _written(body: Mapping[str, Any]) -> Conversation:
    system = _system_text(body.get("system")) or _system_text(body.get("instructions"))
    if "messages" in body:
        return read_conversation(body["messages"], system)
    if "input" in body:
        given = body["input"]
        return (
            Conversation.of_text(given, system)
            if isinstance(given, str)
            else read_conversation(given, system)
        )
    prompt = body.get("prompt")
    prompts = [text for text in (prompt if isinstance(prompt, list) else [prompt]) if isinstance(text, str)]
    if len(prompts) > 1:
        return replace(Conversation.of_text("\n".join(prompts)), prompts=tuple(prompts))
    return Conversation.of_text("".join(prompts))


def _system_text(value: object) -> str:
    """Anthropic's `system`, a string or text parts, and the `instructions` of the Responses API."""
    if isinstance(value, list):
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return value if isinstance(value, str) else ""

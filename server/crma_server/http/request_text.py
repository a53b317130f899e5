"""The conversation of a request, whichever API it was sent to.

Owns: where chat, responses, messages and completions requests keep what the user wrote. Which turns and parts
of a conversation count is `crma_router.conversation.messages`'s.
"""

from collections.abc import Mapping
from typing import Any

from crma_router.conversation.messages import Conversation, read_conversation


def request_conversation(body: Mapping[str, Any]) -> Conversation:
    """What the user wrote, from `messages`, `input` (a string or items) or `prompt` (a string or several).

    A prompt of token ids has no text. Raises `RouterError` if messages or items are none.
    """
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
    prompts = prompt if isinstance(prompt, list) else [prompt]
    return Conversation.of_text("\n".join(text for text in prompts if isinstance(text, str)))


def _system_text(value: object) -> str:
    """Anthropic's `system`, a string or text parts, and the `instructions` of the Responses API."""
    if isinstance(value, list):
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return value if isinstance(value, str) else ""

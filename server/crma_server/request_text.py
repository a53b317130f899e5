"""The text of a request to route by, whichever API it was sent to.

Owns: where chat, responses, messages and completions requests keep what the user wrote. Which turns of a
conversation count is `crma_router.conversation`'s.
"""

from collections.abc import Mapping
from typing import Any

from crma_router.conversation import conversation_text


def request_text(body: Mapping[str, Any]) -> str:
    """What the user wrote, from `messages`, `input` (a string or items) or `prompt` (a string or several).

    A prompt of token ids has no text. Raises `RouterError` if messages or items are none.
    """
    if "messages" in body:
        return conversation_text(body["messages"])
    if "input" in body:
        return body["input"] if isinstance(body["input"], str) else conversation_text(body["input"])
    prompt = body.get("prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    return "\n".join(text for text in prompts if isinstance(text, str))

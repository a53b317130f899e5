"""Which text of a conversation is routed.

Owns: the user turns that count, the text parts of multimodal content. Knows nothing of domains or decisions.
"""

from collections.abc import Iterator, Mapping

from crma_adapters.errors import RouterError
from crma_router.features import clip

# "and the dosage?" says nothing by itself: turns before it are added until there are this many words.
ENOUGH_WORDS = 6
MOST_TURNS = 4

_TEXT_PARTS = ("text", "input_text")  # chat completions, responses


def conversation_text(messages: object) -> str:
    """The text to route a conversation by: the last user turn, behind former ones while it is too short.

    `messages` is parsed JSON: a list of OpenAI chat messages, or input items of the Responses API. Only user
    turns count, and only their text parts. Without any, the result is empty, which routes to the fallback.

    Raises:
        RouterError: `messages` is no list of messages.
    """
    if not isinstance(messages, list):
        raise RouterError(f"messages is {_kind(messages)}; expected a list of objects with role and content")
    turns = [turn for at, message in enumerate(messages) if (turn := _user_turn(at, message)).strip()]
    chosen: list[str] = []
    for turn in reversed(turns[-MOST_TURNS:]):
        chosen.insert(0, clip(turn))
        if sum(len(text.split()) for text in chosen) >= ENOUGH_WORDS:
            break
    return "\n".join(chosen)


def _user_turn(at: int, message: object) -> str:
    if not isinstance(message, Mapping):
        raise RouterError(f"messages[{at}] is {_kind(message)}; expected an object with role and content")
    role = message.get("role")
    if role is None and isinstance(message.get("type"), str):
        return ""  # a Responses item that is no message: a tool call, its result, reasoning
    if not isinstance(role, str):
        raise RouterError(f"messages[{at}].role is {_kind(role)}; expected a string such as 'user'")
    return "\n".join(_texts(at, message.get("content"))) if role == "user" else ""


def _texts(at: int, content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for index, part in enumerate(content):
            yield from _part_text(f"messages[{at}].content[{index}]", part)
    elif content is not None:
        raise RouterError(f"messages[{at}].content is {_kind(content)}; expected a string or a list of parts")


def _part_text(where: str, part: object) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif not isinstance(part, Mapping):
        raise RouterError(f"{where} is {_kind(part)}; expected an object with type and text")
    elif part.get("type") in _TEXT_PARTS or ("type" not in part and "text" in part):
        text = part.get("text")
        if not isinstance(text, str):
            raise RouterError(f"{where}.text is {_kind(text)}; expected a string")
        yield text


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", type(None): "missing or null"}
    return names.get(type(value), type(value).__name__)

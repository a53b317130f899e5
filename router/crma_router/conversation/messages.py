"""What the user said in a conversation, whichever API it was sent to; the opening it is known by."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from crma_adapters.errors import RouterError
from crma_router.conversation.sessions import SessionKey

_TEXT_PARTS = ("text", "input_text")  # chat completions, responses
_INSTRUCTING = ("system", "developer")


@dataclass(frozen=True)
class Conversation:
    """`turns`: the user's turns that have text, oldest first. `opening`: digest of how it began.

    system: what was said to the model before the first of them, or empty. reply: what the answer will be
    known by. prompts: where a request holds several, each its own question and nobody's conversation.
    """

    turns: tuple[str, ...]
    opening: bytes
    system: str = ""
    reply: SessionKey | None = None
    prompts: tuple[str, ...] = ()

    @classmethod
    def of_text(cls, text: str, system: str = "") -> "Conversation":
        """A conversation of one turn."""
        return cls((text,) if text.strip() else (), _opening([system, text]), system)


def read_conversation(messages: object, system: str = "") -> Conversation:
    """The user's side of a conversation.

    `messages` is parsed JSON: a list of OpenAI chat messages, of Anthropic messages (whose `system` stands
    apart), or input items of the Responses API. Only user turns count, and only their text parts: no system
    text, no answer, no tool call and no tool result.

    Raises:
        RouterError: `messages` is no list of messages.
    """
    if not isinstance(messages, list):
        raise RouterError(f"messages is {_kind(messages)}; expected a list of objects with role and content")
    opening, turns, told = [system], list[str](), [system]
    for at, message in enumerate(messages):
        role = _role(at, message)
        if role != "user" and (role not in _INSTRUCTING or turns):
            continue
        text = "\n".join(_texts(at, message.get("content")))
        if not turns:
            opening.append(text)
            told += [text] if role != "user" else []
        if role == "user" and text.strip():
            turns.append(text)
    return Conversation(tuple(turns), _opening(opening), "\n".join(text for text in told if text.strip()))


def conversation_text(messages: object) -> str:
    """The last user turn; without one the result is empty. Raises as `read_conversation`."""
    turns = read_conversation(messages).turns
    return turns[-1] if turns else ""


def _role(at: int, message: object) -> str | None:
    """None for a Responses item that is no message: a tool call, its result, reasoning."""
    if not isinstance(message, Mapping):
        raise RouterError(f"messages[{at}] is {_kind(message)}; expected an object with role and content")
    role = message.get("role")
    if role is None and isinstance(message.get("type"), str):
        return None
    if not isinstance(role, str):
        raise RouterError(f"messages[{at}].role is {_kind(role)}; expected a string such as 'user'")
    return role


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


def _opening(texts: list[str]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        digest.update(hashlib.blake2b(text.encode("utf-8", "surrogatepass")).digest())
    return digest.digest()


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", type(None): "missing or null"}
    return names.get(type(value), type(value).__name__)

"""The formats of rows that data sets come in, told by their fields, and what is wrong with a bad row.

| format | fields |
|---|---|
| messages | `messages` (OpenAI), with `tools`; `weight` and `tool_calls` in a message |
| sharegpt | `conversations` of `from` and `value`; `system`, `tools` |
| prompt/completion | `prompt`, `completion`: texts, or lists of messages |
| question/answer | `question`, `answer`; `system` |
| alpaca | `instruction`, `output`; `input`, `system` |
| text | `text`, all of it learnt, rendered by no chat template |
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crma_adapters.errors import ConfigError, DataError
from crma_training.data.rows import ASSISTANT, SYSTEM, TEXT, TOOL, USER, Message, Row

NOTES = ("source", "licence", "license", "entry", "id")  # kept or known, in every format
SHAREGPT_ROLES = {
    "human": USER,
    "user": USER,
    "gpt": ASSISTANT,
    "assistant": ASSISTANT,
    "chatgpt": ASSISTANT,
    "bing": ASSISTANT,
    "bard": ASSISTANT,
    "system": SYSTEM,
    "tool": TOOL,
    "observation": TOOL,
    "function_call": "function_call",
}
ROLES = {"system": SYSTEM, "developer": SYSTEM, "user": USER, "assistant": ASSISTANT, "tool": TOOL}
MESSAGE_FIELDS = frozenset(
    {"role", "content", "weight", "tool_calls", "name", "tool_call_id", "reasoning_content", "reasoning"}
)


@dataclass
class _Reading:
    """One row as it is read: its fields, and which of them were looked at."""

    fields: Mapping[str, Any]
    where: str
    used: set[str] = field(default_factory=set)
    unused: list[str] = field(default_factory=list)

    def get(self, name: str) -> Any:
        self.used.add(name)
        return self.fields.get(name)

    def text(self, name: str) -> str:
        return text_of(self.get(name), name, self.where)

    def system(self) -> list[Message]:
        value = self.get("system")
        return [] if value in (None, "") else [Message(SYSTEM, text_of(value, "system", self.where))]

    def bad(self, problem: str) -> DataError:
        return DataError(f"{self.where}: {problem}")


def form_of(fields: Mapping[str, Any]) -> str | None:
    """The format that an object's fields are of, or None."""
    present = {name for name, value in fields.items() if value is not None}
    return next((name for name, (needed, _) in FORMS.items() if needed <= present), None)


def row_of(fields: Mapping[str, Any], where: str, columns: Mapping[str, str] | None = None) -> Row:
    """The row an object stands for; `columns` gives the names that its fields have instead of ours.

    Raises:
        DataError: no known format, or a row that is not a conversation with an answer.
    """
    reading = _Reading(mapped(fields, columns or {}), where)
    form = form_of(reading.fields)
    if form is None:
        raise reading.bad(_no_form(reading.fields))
    messages = FORMS[form][1](reading)
    _check_turns(messages, where)
    tools = _json_list(reading.get("tools"), "tools", where)
    notes = {name: str(reading.fields.get(name) or "") for name in NOTES}
    unused = (*sorted(reading.fields.keys() - reading.used - {*NOTES}), *dict.fromkeys(reading.unused))
    licence = notes["licence"] or notes["license"]
    return Row(tuple(messages), where, notes["source"], licence, notes["entry"], tools, form, unused)


def mapped(fields: Mapping[str, Any], columns: Mapping[str, str]) -> Mapping[str, Any]:
    """`fields` by our names: `columns` says which field stands for which of ours."""
    if not columns:
        return fields
    renamed = {theirs: ours for ours, theirs in columns.items()}
    kept = {name: value for name, value in fields.items() if name not in columns or name in renamed}
    return {renamed.get(name, name): value for name, value in kept.items()}


def parse_columns(text: str) -> dict[str, str]:
    """`question=Frage,answer=Antwort` as a mapping. Raises `ConfigError` naming the part that is wrong."""
    columns = {}
    for part in filter(None, text.split(",")):
        ours, equals, theirs = part.partition("=")
        if not equals or not theirs or ours not in FIELDS:
            raise ConfigError(
                f"--columns {part!r}: expected FIELD=COLUMN, FIELD one of {', '.join(sorted(FIELDS))}"
            )
        columns[ours] = theirs
    return columns


def question_of(fields: Mapping[str, Any], where: str) -> str:
    """The question of a row that needs no answer. Raises `DataError` if there is none."""
    return text_of(fields.get("question"), "question", where)


def text_of(value: Any, name: str, where: str) -> str:
    """A text with something in it. Raises `DataError`."""
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: no {name}; {name!r} must be a non-empty string")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise DataError(f"{where}: {name} has half of a surrogate pair, which is no character; remove it")
    return value


def _no_form(fields: Mapping[str, Any]) -> str:
    for one, other in (("question", "answer"), ("prompt", "completion"), ("instruction", "output")):
        if one in fields or other in fields:
            missing = other if fields.get(one) is not None else one
            return f"no {missing}; {missing!r} must be a non-empty string"
    known = "; ".join(" and ".join(sorted(needed)) for needed, _ in FORMS.values())
    found = ", ".join(map(str, fields)) or "none"
    return f"fields {found}: no known format ({known}); map columns with --columns question=...,answer=..."


def _question_answer(reading: _Reading) -> list[Message]:
    question, answer = reading.text("question"), reading.text("answer")
    return [*reading.system(), Message(USER, question), Message(ASSISTANT, answer)]


def _alpaca(reading: _Reading) -> list[Message]:
    asked, more = reading.text("instruction"), reading.get("input")
    if more not in (None, ""):
        asked = f"{asked}\n\n{text_of(more, 'input', reading.where)}"
    return [*reading.system(), Message(USER, asked), Message(ASSISTANT, reading.text("output"))]


def _prompt_completion(reading: _Reading) -> list[Message]:
    prompt, completion = reading.get("prompt"), reading.get("completion")
    if isinstance(prompt, list) or isinstance(completion, list):
        parts = (prompt, completion)
        if not all(isinstance(part, list) for part in parts):
            raise reading.bad("'prompt' and 'completion' must both be texts or both be lists of messages")
        return [*reading.system(), *_messages(reading, [*prompt, *completion], "messages")]
    return [
        *reading.system(),
        Message(USER, reading.text("prompt")),
        Message(ASSISTANT, reading.text("completion")),
    ]


def _text(reading: _Reading) -> list[Message]:
    return [Message(TEXT, reading.text("text"))]


def _openai(reading: _Reading) -> list[Message]:
    return [*reading.system(), *_messages(reading, reading.get("messages"), "messages")]


def _messages(reading: _Reading, value: Any, name: str) -> list[Message]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise reading.bad(f"{name!r} must be a list of {{'role', 'content'}} objects")
    return [_message(reading, item, f"{name}[{place}]") for place, item in enumerate(value)]


def _message(reading: _Reading, item: dict[str, Any], place: str) -> Message:
    role = ROLES.get(str(item.get("role")))
    if role is None:
        raise reading.bad(f"{place} has role {item.get('role')!r}; expected one of {', '.join(ROLES)}")
    reading.unused += [f"{place.partition('[')[0]}[].{key}" for key in item.keys() - MESSAGE_FIELDS]
    calls = _calls(item.get("tool_calls"), f"{place}.tool_calls", reading.where)
    if calls and role != ASSISTANT:
        raise reading.bad(f"{place} has tool_calls and role {role!r}; only an assistant calls tools")
    content = _content(reading, item.get("content"), place, optional=bool(calls) or role == TOOL)
    weight = item.get("weight", 1)
    if weight is None:
        weight = 1
    if isinstance(weight, bool) or weight not in (0, 1) or ("weight" in item and role != ASSISTANT):
        raise reading.bad(f"{place} has weight {weight!r}; expected 0 or 1, in an assistant's message")
    name, call_id = str(item.get("name") or ""), str(item.get("tool_call_id") or "")
    reasoning = str(item.get("reasoning_content") or item.get("reasoning") or "")
    return Message(role, content, int(weight), calls, name, call_id, reasoning)


def _content(reading: _Reading, value: Any, place: str, *, optional: bool) -> str:
    if isinstance(value, list):  # OpenAI's parts
        kinds = {str(part.get("type")) if isinstance(part, dict) else "text" for part in value}
        if kinds - {"text"}:
            raise reading.bad(f"{place} has content of type {', '.join(sorted(kinds - {'text'}))}; only text")
        value = "".join(str(part["text"]) if isinstance(part, dict) else str(part) for part in value)
    if optional and value in (None, ""):
        return ""
    return text_of(value, "content", reading.where)


def _sharegpt(reading: _Reading) -> list[Message]:
    value = reading.get("conversations")
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise reading.bad("'conversations' must be a list of {'from', 'value'} objects")
    if value and "role" in value[0]:
        return [*reading.system(), *_messages(reading, value, "conversations")]
    return [*reading.system(), *(_turn(reading, item, number) for number, item in enumerate(value))]


def _turn(reading: _Reading, item: dict[str, Any], number: int) -> Message:
    place = f"conversations[{number}]"
    role = SHAREGPT_ROLES.get(str(item.get("from")).lower())
    if role is None:
        raise reading.bad(
            f"{place} is from {item.get('from')!r}; expected one of {', '.join(SHAREGPT_ROLES)}"
        )
    reading.unused += [f"conversations[].{key}" for key in item.keys() - {"from", "value", "weight"}]
    said = text_of(item.get("value"), "value", reading.where)
    if role == "function_call":
        try:
            called = json.loads(said)
        except ValueError as error:
            raise reading.bad(f"{place}: a function_call must be JSON ({error})") from error
        called = [called] if isinstance(called, dict) else called
        return Message(ASSISTANT, "", tool_calls=_calls(called, place, reading.where))
    weight = item.get("weight", 1)
    if weight not in (None, 0, 1) or (weight == 0 and role != ASSISTANT):
        raise reading.bad(f"{place} has weight {weight!r}; expected 0 or 1, from the assistant")
    return Message(role, said, 0 if weight == 0 else 1)


def _calls(value: Any, place: str, where: str) -> str:
    """OpenAI's list of calls as JSON text, every call's arguments an object."""
    if value in (None, [], ""):
        return ""
    value = json.loads(value) if isinstance(value, str) else value
    calls = []
    for call in value if isinstance(value, list) else [value]:
        function = call.get("function", call) if isinstance(call, dict) else None
        arguments = function.get("arguments", {}) if isinstance(function, dict) else None
        try:
            arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        except ValueError as error:
            raise DataError(f"{where}: {place}: arguments are not JSON ({error})") from error
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise DataError(f"{where}: {place}: a call needs a function with a name")
        made = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
        calls.append({"id": call["id"], **made} if call.get("id") else made)
    return json.dumps(calls, ensure_ascii=False)


def _json_list(value: Any, name: str, where: str) -> str:
    if value in (None, "", []):
        return ""
    try:
        value = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise DataError(f"{where}: {name!r} is not JSON ({error}); give a list of functions") from error
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise DataError(f"{where}: {name!r} must be a list of functions in OpenAI's form")
    return json.dumps(value, ensure_ascii=False)


def _check_turns(messages: Sequence[Message], where: str) -> None:
    """Raises `DataError` naming the turn that is out of order, or what is missing."""
    if messages and messages[0].role == TEXT:
        return
    before = ""
    for number, message in enumerate(messages):
        if (problem := _out_of_order(before, message)) is not None:
            raise DataError(f"{where}: messages[{number}]: {problem}")
        before = "tool_calls" if message.tool_calls else message.role
    if not messages or messages[-1].role != ASSISTANT:
        raise DataError(f"{where}: no answer; the last of 'messages' must have role 'assistant'")
    if not any(message.weight for message in messages if message.role == ASSISTANT):
        raise DataError(f"{where}: nothing to learn; every assistant's message has weight 0")


def _out_of_order(before: str, message: Message) -> str | None:
    """What is wrong with a message after one of that role; `before` is empty at the start."""
    if message.role == SYSTEM and before != "":
        return "a second system message" if before == SYSTEM else f"a system message after {before!r}"
    if message.role == TOOL and before not in ("tool_calls", TOOL):
        return f"a tool's result after {before or 'nothing'}; it must follow an assistant's tool_calls"
    if message.role == USER and before not in ("", SYSTEM, ASSISTANT):
        return f"a user's turn after {before!r}; join them, or put the assistant's turn between"
    if message.role == ASSISTANT and before in ("", SYSTEM):
        return "no question; an assistant's turn needs a 'user' turn before it"
    if message.role == ASSISTANT and before == ASSISTANT:
        return "an assistant's turn after another; join them"
    if message.role == ASSISTANT and before == "tool_calls":
        return "an assistant's turn after tool_calls; the tools' results must stand between"
    return None


Reader = Callable[[_Reading], list[Message]]
FORMS: dict[str, tuple[frozenset[str], Reader]] = {
    "messages": (frozenset({"messages"}), _openai),
    "sharegpt": (frozenset({"conversations"}), _sharegpt),
    "prompt/completion": (frozenset({"prompt", "completion"}), _prompt_completion),
    "question/answer": (frozenset({"question", "answer"}), _question_answer),
    "alpaca": (frozenset({"instruction", "output"}), _alpaca),
    "text": (frozenset({"text"}), _text),
}
FIELDS = frozenset({"system", "input", "tools", *NOTES}).union(*(needed for needed, _ in FORMS.values()))

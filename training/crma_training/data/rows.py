"""A conversation to learn from: its messages, which of them are learnt, and where it stands."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Learn = Literal["all", "last"]
LEARN: tuple[Learn, ...] = ("all", "last")
Overlong = Literal["truncate", "drop", "error"]
OVERLONG: tuple[Overlong, ...] = ("truncate", "drop", "error")

SYSTEM, USER, ASSISTANT, TOOL = "system", "user", "assistant", "tool"
TEXT = "text"  # the role of the one message of a row that is plain text, rendered by no template


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Attributes:
        weight: 0 marks an assistant's turn that is read and not learnt, as OpenAI's field does.
        tool_calls: an assistant's calls as JSON text, OpenAI's list; empty for none.
        name, tool_call_id: of a tool's result, as in OpenAI's form; empty for none.
        reasoning: what the assistant thought before it answered, for templates that show it.
    """

    role: str
    content: str
    weight: int = 1
    tool_calls: str = ""
    name: str = ""
    tool_call_id: str = ""
    reasoning: str = ""

    def to_template(self) -> dict[str, Any]:
        """The message as chat templates take it; a call's arguments as an object."""
        turn: dict[str, Any] = {"role": self.role, "content": self.content}
        optional = {"name": self.name, "tool_call_id": self.tool_call_id, "reasoning_content": self.reasoning}
        turn |= {key: value for key, value in optional.items() if value}
        if self.tool_calls:
            turn["tool_calls"] = json.loads(self.tool_calls)
        return turn


@dataclass(frozen=True)
class Row:
    """A conversation whose last message is an answer to learn; `where` is `file:line`.

    Attributes:
        entry: rows with the same one ask about the same fact.
        tools: the functions that the assistant may call, as JSON text, OpenAI's list; empty for none.
        form: the format the row was written in (`formats`).
        unused: names of fields that no format knows, and that nothing looks at.
    """

    messages: tuple[Message, ...]
    where: str
    source: str = ""
    licence: str = ""
    entry: str = ""
    tools: str = ""
    form: str = ""
    unused: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether this is plain text, all of it learnt."""
        return self.messages[0].role == TEXT

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Everything before the answer; the text itself of plain text."""
        return self.messages if self.is_text else self.messages[:-1]

    @property
    def question(self) -> str:
        """The last user message; the text itself of plain text."""
        return next(m.content for m in reversed(self.prompt) if m.role in (USER, TEXT))

    @property
    def asked(self) -> str:
        """All user messages, one per line."""
        return "\n".join(m.content for m in self.prompt if m.role in (USER, TEXT))

    @property
    def answer(self) -> str:
        """What the last message says, its tool calls included."""
        return self.messages[-1].content or self.messages[-1].tool_calls

    @property
    def key(self) -> str:
        """The prompt without case and spacing: equal keys ask the same."""
        said = (m.content or m.tool_calls for m in self.prompt if m.role != SYSTEM)
        return "\n".join(" ".join(text.casefold().split()) for text in said)

    def learnt(self, learn: Learn) -> tuple[int, ...]:
        """Positions of the messages to learn: every assistant's turn or the last, weight 0 left out."""
        turns = [n for n, message in enumerate(self.messages) if message.role == ASSISTANT]
        chosen: Sequence[int] = turns if learn == "all" else turns[-1:]
        return tuple(n for n in chosen if self.messages[n].weight)

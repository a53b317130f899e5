"""Turns as clients send them, put together at random: what the role classifier is fitted on.

A turn is a question or something that only carries a conversation on, with what clients put around it:
frames, passages, headings, tags; solved examples; a mail, a chat, a form; a list of tools; an envelope of
JSON. The parts are drawn one by one, so that shapes come up which nobody wrote down.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from crma_router.roles import bank

Role = Literal["asked", "context", "frame", "carry"]
ROLES: tuple[Role, ...] = ("asked", "context", "frame", "carry")

Style = Literal["bare", "marks", "label", "heading", "bold", "tag", "bracket", "line", "fence", "quote"]
STYLES: tuple[Style, ...] = ("bare", "marks", "label", "heading", "bold", "tag", "bracket", "line", "fence")
_MARKS = (('"', '"'), ("“", "”"), ("'", "'"), ("«", "»"), ("„", "“"), ('"""', '"""'))


@dataclass(frozen=True)
class Block:
    """Some lines of one turn that have one role."""

    text: str
    role: Role


def simulate(questions: Sequence[str], count: int, seed: int) -> Iterator[list[Block]]:
    """`count` turns, each as its blocks in order; joined by line ends they are the turn."""
    chance = random.Random(seed)
    shapes, weights = zip(*_SHAPES, strict=True)
    for _ in range(count):
        shape = chance.choices(shapes, weights)[0]
        yield _framed(shape(questions, chance), chance) if shape is not _alone else shape(questions, chance)


def _alone(questions: Sequence[str], chance: random.Random) -> list[Block]:
    """A question, a follow-up, or an instruction about form, and nothing else."""
    kind = chance.random()
    if kind < 0.5:
        return [Block(chance.choice(questions), "asked")]
    if kind < 0.8:
        return [Block(chance.choice(bank.CARRIES), "carry")]
    return [Block(chance.choice(bank.FRAMES), "frame") for _ in range(chance.randrange(1, 3))]


def _prompt(questions: Sequence[str], chance: random.Random) -> list[Block]:
    """Frames, passages and the question under headings, in tags, behind labels, in fences or bare."""
    style = chance.choice(STYLES)
    asked: list[Block] = _asked(questions, chance)
    if chance.random() < 0.1:
        asked = []
    asked = [one for block in asked for one in _styled(block, style, bank.ASKED_LABELS, chance)]
    context = list(_context(questions, style, chance)) if chance.random() < 0.55 or not asked else []
    before = list(_frames(style, chance))
    after = list(_frames(style, chance)) if chance.random() < 0.5 else []
    middle = [*context, *asked] if chance.random() < 0.65 else [*asked, *context]
    return [*before, *_spaced(middle, chance), *after, *_ending(style, chance)]


def _examples(questions: Sequence[str], chance: random.Random) -> list[Block]:
    """Solved examples, the last of them open: that one is asked."""
    style: Style = chance.choice(("label", "label", "tag", "heading", "bold"))
    ask, answer = chance.choice(bank.ASKED_LABELS), chance.choice(bank.EMPTY_LABELS)
    topics = questions if chance.random() < 0.6 else bank.SMALL_TALK
    blocks: list[Block] = list(_frames("bare", chance))
    gap = chance.choice(("", "", "---"))
    for _ in range(chance.randrange(1, 6)):
        blocks += _styled(Block(chance.choice(topics), "context"), style, (ask,), chance)
        blocks += _styled(Block(chance.choice(bank.REPLIES), "context"), style, (answer,), chance)
        blocks.append(Block(gap, "frame"))
    blocks += _styled(_asked(questions, chance)[0], style, (ask,), chance)
    ending = Block(_labelled(answer, "", style, chance), "frame")
    return [*blocks, *([ending] if chance.random() < 0.7 else [])]


def _mail(questions: Sequence[str], chance: random.Random) -> list[Block]:
    """Header, greeting, the question or a mail that is forwarded, sign-off, small print."""
    header = chance.sample(bank.MAIL_FIELDS, chance.randrange(0, 6))
    blocks = [Block(f"{name}: {value}", "frame") for name, value in header] + [Block("", "frame")]
    letter = [
        Block(chance.choice(bank.GREETINGS), "frame"),
        Block("", "frame"),
        *_asked(questions, chance),
        Block("", "frame"),
        *(Block(line, "frame") for line in chance.sample(bank.SIGN_OFFS, chance.randrange(0, 3))),
        Block(chance.choice(bank.NAMES), "frame"),
    ]
    if chance.random() < 0.5:
        quoted = chance.random() < 0.6
        opening = chance.choice(
            ("On 4 May, {} wrote:", "{} wrote:", "-----Original message-----", "Am Montag schrieb {}:", "---")
        )
        inner = [Block(opening.format(chance.choice(bank.NAMES)), "frame"), Block("", "frame"), *letter]
        if quoted:
            inner = [
                Block("\n".join(f"> {line}" for line in one.text.split("\n")), one.role) for one in inner
            ]
        cover = [Block(chance.choice(bank.GREETINGS), "frame"), Block(chance.choice(bank.FORWARDS), "frame")]
        cover += [Block(line, "frame") for line in chance.sample(bank.SIGN_OFFS, chance.randrange(0, 3))]
        letter = [*cover, Block(chance.choice(bank.NAMES), "frame"), Block("", "frame"), *inner]
    small = chance.sample(bank.DISCLAIMERS, chance.randrange(0, 3))
    return [*blocks, *letter, Block("", "frame"), Block(" ".join(small), "frame")]


def _chat(questions: Sequence[str], chance: random.Random) -> list[Block]:
    """Lines of a chat, of people or of a user and an assistant: the last question in it is asked."""
    pairs = (("User", "Assistant"), ("Human", "AI"), ("USER", "ASSISTANT"), ("Customer", "Agent"), ("Q", "A"))
    names = chance.choice(pairs) if chance.random() < 0.6 else tuple(chance.sample(bank.NAMES, 2))
    first, other = str(names[0]), str(names[1])
    stamp = chance.choice(("", "", "", "[{}:{:02}] ", "{}:{:02} ", "({}:{:02}) "))
    lines: list[tuple[str, Block]] = []
    for _ in range(chance.randrange(0, 3)):
        earlier = chance.choice(questions) if chance.random() < 0.4 else chance.choice(bank.SMALL_TALK)
        role: Role = "context" if earlier in questions else "frame"
        lines += [(first, Block(earlier, role)), (other, Block(_reply(questions, chance), "context"))]
    lines += [(first, block) for block in _asked(questions, chance)]
    if chance.random() < 0.5:
        answer = _reply(questions, chance) if chance.random() < 0.6 else chance.choice(bank.SMALL_TALK)
        lines.append((other, Block(answer, "context")))
    hour, said = chance.randrange(24), list[Block]()
    for minute, (name, block) in enumerate(lines):
        said.append(Block(f"{stamp.format(hour, minute)}{name}: {block.text}", block.role))
    if chance.random() < 0.4:
        said = _within(
            said, chance.choice(("chat_history", "conversation", "history", "transcript", "messages"))
        )
    tail = chance.random()
    after = [Block("", "frame"), Block(chance.choice(bank.FORWARDS), "frame")] if tail < 0.3 else []
    return [*said, *after, *([Block(f"{other}:", "frame")] if 0.3 < tail < 0.5 else [])]


def _form(questions: Sequence[str], chance: random.Random) -> list[Block]:
    """Fields with a value each, the question in one of them."""
    fields = [
        Block(f"{name}: {value}", "frame")
        for name, value in chance.sample(bank.FORM_FIELDS, chance.randrange(2, 8))
    ]
    label = chance.choice(bank.ASKED_LABELS)
    text = f"{label}:{chance.choice((' ', ' ', chr(10)))}{chance.choice(questions)}"
    place = chance.choice((len(fields), chance.randrange(len(fields) + 1)))
    title = chance.choice(
        ("New request", "Ticket", "Contact form", "Support case", "Neue Anfrage", "Question submitted", "")
    )
    return [Block(title, "frame"), *fields[:place], Block(text, "asked"), *fields[place:]]


def _agent(questions: Sequence[str], chance: random.Random) -> list[Block]:
    """Tools and the format of steps, then the question."""
    tools = chance.sample(bank.TOOLS, chance.randrange(1, 5))
    form = chance.choice(
        ("{}: {}", "- {}: {}", "{} - {}", "* {}({})", '{{"name": "{}", "description": "{}"}}')
    )
    lines = chance.sample(bank.AGENT_LINES, chance.randrange(3, 12))
    asked = _styled(
        _asked(questions, chance)[0],
        chance.choice(("label", "label", "tag", "heading")),
        bank.ASKED_LABELS,
        chance,
    )
    ending = chance.choice(("Thought:", "Plan:", "Assistant:", "Step 1:", "", ""))
    return [
        *(Block(line, "frame") for line in chance.sample(bank.FRAMES, chance.randrange(0, 3))),
        Block("", "frame"),
        *(Block(form.format(*tool), "frame") for tool in tools),
        Block("", "frame"),
        *(Block(line, "frame") for line in lines),
        Block("", "frame"),
        *asked,
        Block(ending, "frame"),
    ]


def _envelope(questions: Sequence[str], chance: random.Random) -> list[Block]:
    """The question as a value of a JSON object, among others."""
    fields = chance.sample(bank.ENVELOPE, chance.randrange(1, 7))
    asked: tuple[str, str, Role] = (chance.choice(bank.ENVELOPE_ASKED), chance.choice(questions), "asked")
    given: list[tuple[str, str, Role]] = [(name, value, "frame") for name, value in fields]
    if chance.random() < 0.3:
        given.append(
            (
                chance.choice(("context", "document", "answer", "history")),
                _passage(questions, chance),
                "context",
            )
        )
    given.insert(chance.randrange(len(given) + 1), asked)
    inner = chance.random() < 0.4
    return [
        Block(("{" if at == 0 else "") + f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
              + ("," if at < len(given) - 1 else "}" if not inner else "}}"), role)
        for at, (name, value, role) in enumerate(given)
    ]  # fmt: skip


_SHAPES: tuple[tuple[Callable[[Sequence[str], random.Random], list[Block]], float], ...] = (
    (_alone, 28), (_prompt, 40), (_examples, 7), (_mail, 9), (_chat, 9), (_form, 5), (_agent, 7),
    (_envelope, 4),
)  # fmt: skip


def _asked(questions: Sequence[str], chance: random.Random) -> list[Block]:
    if chance.random() < 0.1:
        return [Block(chance.choice(bank.CARRIES), "carry")]
    return [Block(chance.choice(questions), "asked")]


def _reply(questions: Sequence[str], chance: random.Random) -> str:
    """What an assistant or another person says."""
    return chance.choice(bank.REPLIES) if chance.random() < 0.5 else _passage(questions, chance)


def _passage(questions: Sequence[str], chance: random.Random) -> str:
    """Of any subject: what a passage is about does not make it one."""
    if chance.random() < 0.5:
        return chance.choice(bank.PASSAGES)
    return " ".join(chance.choice(questions).rstrip("?？ ") + "." for _ in range(chance.randrange(1, 5)))


def _framed(blocks: list[Block], chance: random.Random) -> list[Block]:
    """Sometimes with an instruction before or after it."""
    more = [Block(chance.choice(bank.FRAMES), "frame"), Block("", "frame")]
    kind = chance.random()
    return [*more, *blocks] if kind < 0.2 else [*blocks, *reversed(more)] if kind < 0.3 else blocks


def _spaced(blocks: list[Block], chance: random.Random) -> list[Block]:
    """With blank lines between, mostly."""
    gap = [Block("", "frame")] if chance.random() < 0.6 else []
    return [one for block in blocks for one in (*gap, block)] + gap


def _within(blocks: list[Block], name: str) -> list[Block]:
    return [Block(f"<{name}>", "frame"), *blocks, Block(f"</{name}>", "frame")]


def _frames(style: Style, chance: random.Random) -> Iterator[Block]:
    if chance.random() < 0.3:
        return
    lines = chance.sample(bank.FRAMES, chance.randrange(1, 5))
    mark = chance.choice(("", "", "- ", "* ", "1. "))
    text = chance.choice(("\n", " ")).join(lines) if not mark else "\n".join(mark + line for line in lines)
    own: Style = style if chance.random() < 0.6 else "bare"
    yield from _styled(Block(text, "frame"), own, bank.FRAME_LABELS, chance)
    if chance.random() < 0.25:
        data = chance.choice(bank.DATA)
        yield Block(f"```json\n{data}\n```" if chance.random() < 0.5 else data, "frame")
    yield Block("", "frame")


def _ending(style: Style, chance: random.Random) -> list[Block]:
    if chance.random() < 0.7:
        return []
    return [Block(_labelled(chance.choice(bank.EMPTY_LABELS), "", style, chance), "frame")]


def _context(questions: Sequence[str], style: Style, chance: random.Random) -> Iterator[Block]:
    for _ in range(chance.randrange(1, 4)):
        own: Style = chance.choice((style, "tag", "label", "line", "quote", "fence", "bare"))
        yield from _styled(Block(_passage(questions, chance), "context"), own, bank.CONTEXT_LABELS, chance)


def _styled(block: Block, style: Style, labels: Sequence[str], chance: random.Random) -> Iterator[Block]:
    if style == "bare":
        yield block
    elif style == "marks":
        left, right = chance.choice(_MARKS)
        yield Block(f"{left}{block.text}{right}", block.role)
    elif style == "fence":
        yield Block(f"```\n{block.text}\n```", block.role)
    elif style == "quote":
        yield Block("\n".join(f"> {line}" for line in block.text.split("\n")), block.role)
    elif style in ("tag", "bracket"):
        label = chance.choice(labels)
        name = label.lower().replace(" ", "_") if style == "tag" else label.upper().replace(" ", "_")
        name = (
            name
            if name.replace("_", "").isalpha() and name.isascii()
            else ("text" if style == "tag" else "TEXT")
        )
        left, right = (f"<{name}>", f"</{name}>") if style == "tag" else (f"[{name}]", f"[/{name}]")
        end = "\n" if chance.random() < 0.6 else ""
        yield Block(f"{left}{end}{block.text}{end}{right}", block.role)
    else:
        yield Block(_labelled(chance.choice(labels), block.text, style, chance), block.role)


def _labelled(label: str, text: str, style: Style, chance: random.Random) -> str:
    if style in ("heading", "tag"):
        mark = "#" * chance.randrange(1, 4)
        return f"{mark} {label}{chance.choice((':', '', f' {mark}'))}\n{text}"
    if style == "bold":
        return f"**{label}**{chance.choice((':', ''))}\n{text}"
    if style in ("line", "bracket"):
        end = f"\n[End of {label}]" if chance.random() < 0.3 else ""
        return f"[{label}]\n{text}{end}"
    return f"{label}: {text}" if chance.random() < 0.7 else f"{label}:\n{text}"

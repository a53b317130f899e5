"""Turns as clients send them, put together at random: what the role classifier is fitted on.

A turn is a question or something that only carries a conversation on, with frames before and after it,
with or without passages, under headings, in tags, behind labels, in fences or bare. The parts are drawn
one by one, so that shapes come up which nobody wrote down.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from crma_router.roles.bank import (
    ASKED_LABELS,
    CARRIES,
    CONTEXT_LABELS,
    DATA,
    EMPTY_LABELS,
    FRAME_LABELS,
    FRAMES,
    PASSAGES,
)

Role = Literal["asked", "context", "frame", "carry"]
ROLES: tuple[Role, ...] = ("asked", "context", "frame", "carry")

Style = Literal["bare", "label", "heading", "bold", "tag", "bracket", "fence", "quote"]


@dataclass(frozen=True)
class Block:
    """Some lines of one turn that have one role."""

    text: str
    role: Role


def simulate(questions: Sequence[str], count: int, seed: int) -> Iterator[list[Block]]:
    """`count` turns, each as its blocks in order; joined by blank lines or line ends they are the turn."""
    chance = random.Random(seed)
    for _ in range(count):
        yield _turn(questions, chance)


def _turn(questions: Sequence[str], chance: random.Random) -> list[Block]:
    styles: tuple[Style, ...] = ("bare", "label", "heading", "bold", "tag", "bracket")
    style = chance.choice(styles)
    kind = chance.random()
    if kind < 0.12:
        return [Block(chance.choice(questions), "asked")]
    if kind < 0.2:
        return [Block(chance.choice(CARRIES), "carry")]
    if kind < 0.25:
        return [Block(chance.choice(FRAMES), "frame") for _ in range(chance.randrange(1, 3))]
    asked: list[Block] = [Block(chance.choice(questions), "asked")]
    if chance.random() < 0.12:
        asked = [Block(chance.choice(CARRIES), "carry")]
    elif chance.random() < 0.1:
        asked = []
    asked = [one for block in asked for one in _styled(block, style, ASKED_LABELS, chance)]
    context = list(_context(questions, style, chance)) if chance.random() < 0.55 or not asked else []
    before, after = (
        list(_frames(style, chance)),
        list(_frames(style, chance)) if chance.random() < 0.5 else [],
    )
    middle = [*context, *asked] if chance.random() < 0.65 else [*asked, *context]
    ending = (
        [Block(_labelled(chance.choice(EMPTY_LABELS), "", style, chance), "frame")]
        if chance.random() < 0.3
        else []
    )
    return [*before, *middle, *after, *ending]


def _frames(style: Style, chance: random.Random) -> Iterator[Block]:
    if chance.random() < 0.3:
        return
    lines = chance.sample(FRAMES, chance.randrange(1, 5))
    mark = chance.choice(("", "", "- ", "* ", "1. "))
    text = chance.choice(("\n", " ")).join(lines) if not mark else "\n".join(mark + line for line in lines)
    yield from _styled(Block(text, "frame"), style if chance.random() < 0.6 else "bare", FRAME_LABELS, chance)
    if chance.random() < 0.25:
        data = chance.choice(DATA)
        yield Block(f"```json\n{data}\n```" if chance.random() < 0.5 else data, "frame")


def _context(questions: Sequence[str], style: Style, chance: random.Random) -> Iterator[Block]:
    for _ in range(chance.randrange(1, 4)):
        text = chance.choice(PASSAGES)
        if chance.random() < 0.5:  # of any subject: what a passage is about does not make it one
            text = " ".join(
                chance.choice(questions).rstrip("?？ ") + "." for _ in range(chance.randrange(2, 5))
            )
        own: Style = chance.choice((style, "tag", "label", "quote", "fence", "bare"))
        yield from _styled(Block(text, "context"), own, CONTEXT_LABELS, chance)


def _styled(block: Block, style: Style, labels: Sequence[str], chance: random.Random) -> Iterator[Block]:
    if style == "bare":
        yield block
    elif style == "fence":
        yield Block(f"```\n{block.text}\n```", block.role)
    elif style == "quote":
        yield Block("\n".join(f"> {line}" for line in block.text.split("\n")), block.role)
    elif style in ("tag", "bracket"):
        label = chance.choice(labels)
        name = label.lower().replace(" ", "_") if style == "tag" else label.upper().replace(" ", "_")
        name = name if name.isascii() else ("text" if style == "tag" else "TEXT")
        left, right = (f"<{name}>", f"</{name}>") if style == "tag" else (f"[{name}]", f"[/{name}]")
        end = "\n" if chance.random() < 0.6 else ""
        yield Block(f"{left}{end}{block.text}{end}{right}", block.role)
    else:
        label = chance.choice(labels)
        yield Block(_labelled(label, block.text, style, chance), block.role)


def _labelled(label: str, text: str, style: Style, chance: random.Random) -> str:
    if style == "heading":
        return f"{'#' * chance.randrange(1, 4)} {label}{chance.choice((':', ''))}\n{text}"
    if style == "bold":
        return f"**{label}**{chance.choice((':', ''))}\n{text}"
    return f"{label}: {text}" if chance.random() < 0.7 else f"{label}:\n{text}"

"""Texts of a given length that nobody asked before."""

import random

# Each is one token of the default embedder, so that a text of N words has N tokens.
_WORDS = """
    doctor patient fever blood heart pain court judge law contract money bank price market tax file table list
    value code computer energy light water cell earth star river house school city garden music story people
    country number answer question problem reason paper letter morning evening winter summer
"""
WORDS = tuple(_WORDS.split())


def fresh_texts(tokens: int, count: int, seed: int) -> list[str]:
    """`count` distinct texts of `tokens` words; with the same seed the same ones."""
    chance = random.Random(f"{seed}:{tokens}")
    made: dict[str, None] = {}
    while len(made) < count:
        made[" ".join(chance.choices(WORDS, k=tokens))] = None
    return list(made)

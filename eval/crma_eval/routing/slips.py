"""Typing mistakes for evaluation: those of a hand on a keyboard and of hurry."""

import random

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_RATE = 0.15  # of the words of four letters and more, beside the one that is surely mistyped
_LONG = 4


def _neighbours() -> dict[str, str]:
    places = {
        key: (row, 2 * column + row) for row, keys in enumerate(_ROWS) for column, key in enumerate(keys)
    }
    return {
        key: "".join(
            other
            for other, (r, c) in places.items()
            if other != key and abs(r - row) <= 1 and abs(c - column) <= 2
        )
        for key, (row, column) in places.items()
    }


NEIGHBOURS = _neighbours()


def mistype(text: str, seed: str) -> str:
    """`text` with one mistake or more; lower case and without its last question mark half of the time."""
    chance = random.Random(f"{seed}\0{text}")
    words = text.split()
    if not words:
        return text
    long = [at for at, word in enumerate(words) if len(word) >= _LONG] or list(range(len(words)))
    surely = chance.choice(long)
    typed = [
        _mistake(word, chance) if at == surely or (at in long and chance.random() < _RATE) else word
        for at, word in enumerate(words)
    ]
    said = " ".join(typed)
    if len(typed) > 2 and chance.random() < 0.2:  # a space not struck
        at = chance.randrange(len(typed) - 1)
        said = " ".join([*typed[:at], typed[at] + typed[at + 1], *typed[at + 2 :]])
    return said.lower().rstrip("?") if chance.random() < 0.5 else said


def _mistake(word: str, chance: random.Random) -> str:
    places = [at for at, letter in enumerate(word) if letter.lower() in NEIGHBOURS]
    if not places:
        return word
    at = chance.choice(places)
    near = chance.choice(NEIGHBOURS[word[at].lower()])
    kind = chance.randrange(10)
    if kind < 4:  # the key beside
        return word[:at] + near + word[at + 1 :]
    if kind < 7:  # and the key beside
        return word[: at + 1] + near + word[at + 1 :]
    if kind < 9 and len(word) > 2:  # not struck
        return word[:at] + word[at + 1 :]
    return word[: at + 1] + word[at:]  # struck twice

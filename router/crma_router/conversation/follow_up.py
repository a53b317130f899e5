"""Whether a turn says by itself what it is about.

Owns: the words that only carry a conversation on. English; a short turn in another language says little to
the embedder anyway, and is treated as one that carries on. Knows nothing of domains.
"""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["follow-up", "short", "full"]

FEW_WORDS = 8
"""A turn of more words is read by itself, whatever it begins with or refers to."""

# As many words with a meaning of their own make a topic.
_TOPIC = 3

_FUNCTION = (
    "always never often sometimes usually "
    "a an the i me my mine you your yours we us our it its he him his she her they them their this that "
    "these those there here one ones and or but so then if because as of to in on at by for from with "
    "without about into over under after before than too also just only still even not no yes nor is "
    "are was were be been am do does did done doing have has had having can could would will should "
    "shall may might must let s t re ll ve d m what why how who whom whose when where which any some "
    "all each every both more most less least much many other another such same own very really quite "
    "again now later once else instead up down out off"
)
_CARRYING = (
    "ok okay k alright right sure yeah yep yup nope nah please thanks thank thx ty cheers cool great "
    "good nice fine perfect awesome excellent wow hmm hm oh ah aha hi hello hey bye got get see know "
    "think mean means meant understand understood go going keep continue proceed next previous first "
    "second third last finally say said tell told explain explained elaborate clarify expand detail "
    "details detailed deeper further example examples instance part point points step steps list bullet "
    "short shorter long longer brief briefly simple simpler simply plain easier summary summarise "
    "summarize sum rephrase rewrite repeat translate reword word words sentence sentences paragraph "
    "table version answer answers question questions reason reasons exactly wait actually well maybe "
    "perhaps agree agreed true wrong correct make makes sense interesting helpful help bit little lot "
    "way ways thing things stuff give show try use so-called idea ideas text document file page letter "
    "snippet message email output log passage article error following below above attached paste pasted "
    "read look check review fix sounds love like want need kind sort layman terms english age year old "
    "someone anyone everyone source sources certain"
)
_EMPTY = frozenset((_FUNCTION + " " + _CARRYING).split())
_JOINING = re.compile(r"\s*(?:and|but|or|also)\b", re.IGNORECASE)
_OPENERS = re.compile(r"\s*(?:so|then|what about|how about|what if)\b", re.IGNORECASE)
_REFERRING = re.compile(
    r"\b(?:its?|this|that|these|those|they|them|their|he|him|his|she|her)\b", re.IGNORECASE
)
# "Is it legal to record a call?" refers to nothing.
_AFTER_IT = r"(?:\w+ly )?\w+ (?:to|that|for|if|when)\b"
_EXPLETIVE = re.compile(
    rf"\bit(?:'s| is| was| would be| will be)? {_AFTER_IT}|\b(?:is|was|does|will) it {_AFTER_IT}",
    re.IGNORECASE,
)
# "What is bail?" names a new topic with one word; "which is faster?" and "in writing?" do not.
_DEFINITION = re.compile(
    r"\s*(?:what(?:'s| is| are| does)|define|who (?:is|was)|meaning of|explain|describe)\b", re.IGNORECASE
)
_WORDS = re.compile(r"[^\W_]+", re.UNICODE)
# Scripts that put no spaces between words: about two characters each.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")


@dataclass(frozen=True)
class Shape:
    """words: how many. content: how many of them say what the turn is about."""

    words: int
    content: int
    kind: Kind

    @property
    def bare(self) -> bool:
        """Whether nothing in it says what it is about: "summarise this", "go on"."""
        return self.content == 0


def shape_of(text: str) -> Shape:
    """How much a turn says by itself: `follow-up` leans on what came before, `short` may or may not."""
    said = [word.lower() for word in _WORDS.findall(text[:2000])]
    words = max(len(said), len(_UNSPACED.findall(text[:2000])) // 2)
    content = sum(word not in _EMPTY for word in said)
    if content == 0 or (words <= FEW_WORDS and _leans(text, said, content)):
        return Shape(words, content, "follow-up")
    return Shape(words, content, "full" if content >= _TOPIC or words > FEW_WORDS else "short")


def _leans(text: str, said: list[str], content: int) -> bool:
    if _JOINING.match(text) or (_OPENERS.match(text) and content < _TOPIC):
        return True
    if content == 1 and len(said) > 1 and not _DEFINITION.match(text):
        return True
    return content <= _TOPIC and _REFERRING.search(_EXPLETIVE.sub(" ", text)) is not None

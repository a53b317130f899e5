"""From a request's conversation and what is remembered of it to what is left to decide.

Owns: when the memory is believed and when the history is read again. Knows nothing of HTTP or embeddings.
"""

from dataclasses import dataclass

from crma_router.conversation.messages import Conversation
from crma_router.conversation.sessions import SessionKey, Sessions, history_digest
from crma_router.conversation.state import Dialogue


@dataclass(frozen=True)
class OpenDialogue:
    """One request's part of a conversation; `known`: the memory already held what the former turns led to."""

    key: SessionKey
    conversation: Conversation
    dialogue: Dialogue
    known: bool

    def close(self, sessions: Sessions, domain: str | None) -> None:
        """Remember what the conversation is on now."""
        sessions.remember(self.key, domain, history_digest(self.conversation.turns))


def open_dialogue(sessions: Sessions, key: SessionKey, conversation: Conversation) -> OpenDialogue:
    """Go on where the conversation stands.

    Of a request that brings its history, the history decides: the memory only spares reading it again, and is
    believed if it is of exactly these turns. Of a request without one, the memory under a key that the client
    gave decides. A person may hold several conversations at once, and many may begin alike, so of `user` and
    `opening` keys the domain counts in no other conversation.
    """
    turns = conversation.turns
    standing = sessions.recall(key)
    if standing is not None and len(turns) > 1 and standing.history == history_digest(turns[:-1]):
        return OpenDialogue(key, conversation, Dialogue.resume(turns, standing.domain, 1), known=True)
    believed = standing is not None and (key.kind == "session" or (key.kind == "user" and len(turns) <= 1))
    start = standing.domain if standing is not None and believed else None
    return OpenDialogue(
        key, conversation, Dialogue.resume(turns, start, len(turns), begun=believed), known=believed
    )

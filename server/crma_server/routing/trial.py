"""Which sessions a canary answers.

Owns: the draw. It follows from the session, the domain and the canary's version alone, so a session stays
where it is in every process, and a growing weight only adds sessions. Knows nothing of releases or requests.
"""

import hashlib

from crma_router.conversation.sessions import SessionKey
from crma_server.routing.catalog import Trial


def is_drawn(key: SessionKey, domain: str, trial: Trial) -> bool:
    """Whether the canary `trial` of `domain` answers the session known by `key`."""
    version = trial.entry.with_crma.version or ""
    facts = b"\0".join((key.digest, domain.encode("ascii"), version.encode("ascii")))
    drawn = int.from_bytes(hashlib.sha256(facts).digest()[:8], "big") / 2**64
    return drawn < trial.weight

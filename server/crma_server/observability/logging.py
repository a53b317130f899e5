"""One JSON line for each request, for whoever keeps logs.

Owns: what a line says and where it goes. The user's words are in it only where a flag asked for them; a
query is never, it may hold a key.
"""

import json
import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, Literal

from crma_adapters.errors import ConfigError, RouterError
from crma_server.http.request_text import request_conversation
from crma_server.observability.observation import Routed

STDERR = "stderr"
# Asked every few seconds by machines; a line for each would bury the rest. They are logged when they fail.
QUIET_PATHS = frozenset({"/health", "/ready", "/ping", "/metrics"})
MOST_PATH = 512

Ended = Literal["complete", "client left", "failed"]


@dataclass(frozen=True)
class Answered:
    """A request and what became of it. Times are seconds; `started` is seconds since the epoch.

    key: the fingerprint of the key it came with. status: None if no reply was begun. ended: `failed` when the
    reply broke off on our side.
    """

    request_id: str
    method: str
    path: str
    client: str | None
    key: str | None
    trace_id: str | None
    started: float
    seconds: float
    first_byte_seconds: float | None
    status: int | None
    sent_bytes: int
    ended: Ended
    routed: Routed | None


class RequestLog:
    """Writes lines to a file, which may be moved away while it is written to, or to stderr."""

    def __init__(self, where: str, *, prompts: bool = False) -> None:
        """`where` is `stderr` or a file. Raises `ConfigError` for a file that cannot be written."""
        self._prompts = prompts
        self._handler = logging.StreamHandler(sys.stderr) if where == STDERR else _file_handler(Path(where))

    def write(self, answered: Answered) -> None:
        if answered.path in QUIET_PATHS and answered.status == 200:
            return
        document = line(answered, prompts=self._prompts)
        # ASCII: nothing a client sends can end a line or move a terminal's cursor.
        text = json.dumps(document, ensure_ascii=True, separators=(",", ":"))
        self._handler.handle(logging.makeLogRecord({"msg": text}))

    def close(self) -> None:
        self._handler.close()


def line(answered: Answered, *, prompts: bool) -> dict[str, Any]:
    """What is written of a request; a member without a value is left out."""
    at = datetime.fromtimestamp(answered.started, UTC).isoformat(timespec="milliseconds")
    document: dict[str, Any] = {
        "at": at.replace("+00:00", "Z"),
        "request_id": answered.request_id,
        "trace_id": answered.trace_id,
        "client": answered.client,
        "key": answered.key,
        "method": answered.method,
        "path": answered.path[:MOST_PATH],
        "status": answered.status,
        "ended": answered.ended,
        "seconds": round(answered.seconds, 4),
        "first_byte_seconds": _rounded(answered.first_byte_seconds),
        "sent_bytes": answered.sent_bytes,
    }
    if answered.routed is not None:
        document |= _route(answered.routed)
        if prompts:
            document["prompt"] = _prompt(answered.routed)
    return {name: value for name, value in document.items() if value is not None}


def _route(routed: Routed) -> dict[str, Any]:
    target, decision = routed.choice.target, routed.choice.decision
    return {
        "asked": routed.asked,
        "adapter": target.adapter,
        "version": target.version,
        "canary": True if routed.choice.canary else None,
        "backbone": target.backbone,
        "release": routed.choice.release,
        "route": routed.choice.path,
        "route_seconds": _rounded(routed.seconds),
        "domain": decision.domain if decision else None,
        "confidence": _rounded(decision.confidence) if decision else None,
        "cause": decision.cause if decision else None,
    }


def _prompt(routed: Routed) -> str | None:
    try:
        conversation = request_conversation(routed.document)
    except RouterError:  # explicit names are answered without reading what was said
        return None
    return "\n".join(conversation.turns)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _file_handler(path: Path) -> logging.Handler:
    try:
        path.touch(mode=0o600)
        return WatchedFileHandler(path, encoding="ascii")
    except OSError as error:
        raise ConfigError(
            f"the request log {path} cannot be written ({error.strerror}): expected a file in a folder that "
            f"is there, or {STDERR!r}; pass another --request-log"
        ) from error

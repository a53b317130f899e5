"""One JSON line for each request, for whoever keeps logs. The user's words are in it only where a flag asked
for them; a query is never, it may hold a key."""

import json
import logging
import sys
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from crma_adapters.errors import ConfigError, RouterError
from crma_server.http.request import RequestContext, request_conversation
from crma_server.routing.selector import Choice

STDERR = "stderr"
# Asked every few seconds by machines; a line for each would bury the rest. They are logged when they fail.
QUIET_PATHS = frozenset({"/health", "/ready", "/ping", "/metrics"})
MOST_PATH = 512


class RequestLog:
    """Writes lines to a file, which may be moved away while it is written to, or to stderr."""

    def __init__(self, where: str, *, prompts: bool = False) -> None:
        """`where` is `stderr` or a file. Raises `ConfigError` for a file that cannot be written."""
        self._prompts = prompts
        self._handler = logging.StreamHandler(sys.stderr) if where == STDERR else _file_handler(Path(where))

    def write(self, context: RequestContext, seconds: float) -> None:
        """A line for a request that took `seconds` and has ended."""
        if context.path in QUIET_PATHS and context.response.status == 200:
            return
        document = line(context, seconds, prompts=self._prompts)
        # ASCII: nothing a client sends can end a line or move a terminal's cursor.
        text = json.dumps(document, ensure_ascii=True, separators=(",", ":"))
        self._handler.handle(logging.makeLogRecord({"msg": text}))

    def close(self) -> None:
        self._handler.close()


def line(context: RequestContext, seconds: float, *, prompts: bool) -> dict[str, Any]:
    """What is written of a request; a member without a value is left out. Times are seconds."""
    at = datetime.fromtimestamp(context.started, UTC).isoformat(timespec="milliseconds")
    response = context.response
    document: dict[str, Any] = {
        "at": at.replace("+00:00", "Z"),
        "request_id": context.request_id,
        "trace_id": context.trace_id,
        "client": context.client,
        "key": (context.principal.key or None) if context.principal else None,
        "method": context.method,
        "path": context.path[:MOST_PATH],
        "status": response.status,
        "ended": response.ended,
        "seconds": round(seconds, 4),
        "first_byte_seconds": _rounded(response.first_byte_s),
        "sent_bytes": response.sent_bytes,
    }
    if context.choice is not None:
        document |= _route(context, context.choice)
        if prompts:
            document["prompt"] = _prompt(context)
    return {name: value for name, value in document.items() if value is not None}


def _route(context: RequestContext, choice: Choice) -> dict[str, Any]:
    target, decision = choice.target, choice.decision
    return {
        "asked": context.asked,
        "adapter": target.adapter,
        "version": target.version,
        "canary": True if choice.canary else None,
        "backbone": target.backbone,
        "release": choice.release,
        "route": choice.path,
        "route_seconds": _rounded(context.routing_s),
        "domain": decision.domain if decision else None,
        "confidence": _rounded(decision.confidence) if decision else None,
        "cause": decision.cause if decision else None,
    }


def _prompt(context: RequestContext) -> str | None:
    try:
        conversation = request_conversation(context.document or {})
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

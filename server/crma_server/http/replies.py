"""Replies the server gives without asking the engine.

Owns: OpenAI's error form as vLLM writes it. Knows nothing of what went wrong.
"""

import json
from collections.abc import Iterable
from typing import Any

from starlette.types import Send

Header = tuple[bytes, bytes]


def error_document(status: int, kind: str, message: str, param: str | None = None) -> dict[str, Any]:
    """`{"error": {...}}`."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


async def send_error(
    send: Send,
    status: int,
    kind: str,
    message: str,
    param: str | None = None,
    headers: Iterable[Header] = (),
) -> None:
    """Send `{"error": {...}}` with an HTTP `status` and further `headers`."""
    body = json.dumps(error_document(status, kind, message, param)).encode("ascii")
    given = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": given})
    await send({"type": "http.response.body", "body": body, "more_body": False})

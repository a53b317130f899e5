"""Replies the server gives without asking the engine.

Owns: OpenAI's error form as vLLM writes it. Knows nothing of what went wrong.
"""

import json

from starlette.types import Send


async def send_error(send: Send, status: int, kind: str, message: str, param: str | None = None) -> None:
    """Send `{"error": {...}}` with an HTTP `status`."""
    document = {"error": {"message": message, "type": kind, "param": param, "code": status}}
    body = json.dumps(document).encode("ascii")
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})

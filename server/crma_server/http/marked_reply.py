"""A reply on its way out, marked with what answered it.

Owns: adding headers and the `crma` object to ASGI response messages. Streams are never gathered: their first
event is marked in passing. Knows nothing of what the marks say.
"""

from starlette.types import Message, Send

from crma_server.http.marks import MEMBER
from crma_server.http.splice import FirstEventSplicer, splice_member


class MarkedReply:
    """An ASGI `send` that marks one reply and hands it on."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]], member: bytes) -> None:
        self._send = send
        self._headers = headers
        self._member = member
        self._start: Message | None = None  # held back until the length of a JSON body is known
        self._json: list[bytes] = []
        self._events: FirstEventSplicer | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._on_start({**message, "headers": [*message.get("headers", []), *self._headers]})
        elif message["type"] == "http.response.body" and self._start is not None:
            await self._on_json(message)
        elif message["type"] == "http.response.body" and self._events is not None:
            await self._on_events(message, self._events)
        else:
            await self._send(message)

    async def _on_start(self, message: Message) -> None:
        headers = dict(message["headers"])
        content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        marks_body = message["status"] == 200 and b"content-encoding" not in headers
        if marks_body and content_type == b"application/json":
            self._start = message
            return
        if marks_body and content_type == b"text/event-stream":
            self._events = FirstEventSplicer(MEMBER, self._member)
        await self._send(message)

    async def _on_json(self, message: Message) -> None:
        self._json.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body = b"".join(self._json)
        body = splice_member(body, MEMBER, self._member) or body
        assert self._start is not None
        kept = [(name, value) for name, value in self._start["headers"] if name != b"content-length"]
        await self._send({**self._start, "headers": [*kept, (b"content-length", b"%d" % len(body))]})
        self._start = None
        await self._send({**message, "body": body})

    async def _on_events(self, message: Message, events: FirstEventSplicer) -> None:
        more = message.get("more_body", False)
        body = events.feed(message.get("body", b""))
        if not more:
            body += events.flush()
        if body or not more:
            await self._send({**message, "body": body})

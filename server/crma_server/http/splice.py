"""Adding one member to a JSON document in passing, without reading the rest of it.

Owns: where in the bytes the member goes, for a whole body and for the first data line of an event stream.
Knows nothing of what the member says.
"""

import json

# A first event longer than this is let through unmarked: memory stays bounded whatever the stream holds.
MAX_LINE_BYTES = 2**20


def splice_member(document: bytes, name: str, value: bytes) -> bytes | None:
    """`document`, a JSON object, with one more member at its end; None if it is no object."""
    body = document.strip()
    if not (body.startswith(b"{") and body.endswith(b"}") and len(body) >= 2):
        return None
    comma = b"," if body[1:-1].strip() else b""
    return b"%s%s%s:%s}" % (body[:-1], comma, json.dumps(name).encode("ascii"), value)


class FirstEventSplicer:
    """Adds the member to the first JSON object of a server-sent event stream; all else passes untouched.

    Chunks may end anywhere: only an unfinished line is held back, and only until the first object has passed.
    """

    def __init__(self, name: str, value: bytes) -> None:
        self._name = name
        self._value = value
        self._held = b""
        self._done = False

    def feed(self, chunk: bytes) -> bytes:
        """What can be sent on now that `chunk` has come."""
        if self._done:
            return chunk
        lines = (self._held + chunk).splitlines(keepends=True)
        # The last line is unfinished if no newline ends it; "\r" may be half of "\r\n".
        self._held = b"" if not lines or lines[-1].endswith(b"\n") else lines.pop()
        sent = b"".join(line if self._done else self._pass(line) for line in lines)
        if self._done or len(self._held) > MAX_LINE_BYTES:
            self._done = True
            return sent + self.flush()
        return sent

    def flush(self) -> bytes:
        """What is still held back when the stream ends."""
        held, self._held = self._held, b""
        return held

    def _pass(self, line: bytes) -> bytes:
        content = line.rstrip(b"\r\n")
        if not content.startswith(b"data:"):
            return line
        spliced = splice_member(content[len(b"data:") :], self._name, self._value)
        if spliced is None:
            return line
        self._done = True
        return b"data: " + spliced + line[len(content) :]

"""A stand-in for crma-serve that follows its store and says each adapter's word, without an engine.

    python fake_swapping_serve.py --adapters STORE --port N [--model NAME] [--fault KIND]

Faults, in the fifth answer and every tenth after it: `cut`, `mixed`, `mismarked`, `old`, `failed`.
"""

import argparse
import itertools
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from crma_adapters.card import read_card
from crma_adapters.release import Release
from crma_adapters.store import Store

KEPT = 3


class FollowedStore:
    """What a real server would serve of a store."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)

    def releases(self) -> list[Release]:
        """Those kept, the live one last."""
        return self.store.releases()[-KEPT:]

    def versions(self) -> list[str]:
        return [release.adapters["echo"].part.version for release in self.releases()]

    def word(self, version: str) -> str:
        return read_card(self.store.adapter_dir("echo", version)).data.sources[0].rpartition(" ")[2]


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--adapters", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--fault")
    options = parser.parse_args()
    served, count = FollowedStore(options.adapters), itertools.count()
    first = served.versions()[-1]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                return self._send(200, b'crma_release_swaps_total 3.0\nother{x="y"} 1.0\n')
            versions = served.versions()
            listed = [{"id": "echo", "root": f"echo@{versions[-1]}"}]
            listed += [{"id": f"echo@{version}", "root": f"echo@{version}"} for version in versions]
            return self._send(200, json.dumps({"data": listed}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            versions = served.versions()
            version = body["model"].partition("@")[2] or versions[-1]
            if version not in versions:
                return self._send(404, b'{"error": {}}')
            fault = options.fault if body.get("stream") and next(count) % 10 == 4 else None
            if fault == "failed":
                return self._send(503, b"{}")
            return self._answer(body, first if fault == "old" else version, fault)

        def _answer(self, body: Any, version: str, fault: str | None) -> None:
            marked = "0" * 12 if fault == "mismarked" else version
            self.send_response(200)
            self.send_header("x-crma-version", marked)
            self.end_headers()
            if not body.get("stream"):
                return
            own, other = served.word(version), served.word(first)
            for index in range(body["max_tokens"]):
                word = other if fault == "mixed" and index else own
                last = index == body["max_tokens"] - 1
                choice = {"delta": {"content": f" {word}"}, "finish_reason": "length" if last else None}
                self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
                if fault == "cut" and index == 2:
                    return
                time.sleep(0.005)
            self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, *_: object) -> None:
            pass

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    print(f"crma ready on http://127.0.0.1:{options.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

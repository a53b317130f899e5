"""A stand-in for crma-serve that follows its store and says each adapter's word, without an engine.

    python fake_swapping_serve.py --adapters STORE --port N [--model NAME] [--fault KIND]

Faults, in the fifth answer and every tenth after it: `cut`, `mixed`, `mismarked`, `old`, `failed`. Of a whole
server: `half`, the last domain stays at the release of the start; `behind`, all of them do; `swapped`,
each domain says the next one's word; `ends`, it ends before it is ready; `orphan`, it leaves a process behind
that is in no group of its own.
"""

import argparse
import itertools
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from crma_adapters.store.card import read_card
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store

KEPT = 3


class FollowedStore:
    """What a real server would serve of a store."""

    def __init__(self, root: Path, fault: str | None) -> None:
        self.store = Store(root)
        self.fault = fault
        self.first = self.store.live()
        self.domains = sorted(self.first.adapters)

    def releases(self) -> list[Release]:
        """Those kept, the live one last."""
        return [self.first] if self.fault == "behind" else self.store.latest(KEPT)

    def versions(self) -> dict[str, list[str]]:
        """By domain, all of one look at the store."""
        releases = self.releases()
        found = {name: [each.adapters[name].part.version for each in releases] for name in self.domains}
        if self.fault == "half":
            found[self.domains[-1]] = [self.first.adapters[self.domains[-1]].part.version]
        return found

    def word(self, domain: str, version: str) -> str:
        if self.fault == "swapped":
            versions = self.versions()
            other = self.domains[self.domains.index(domain) - 1]
            domain, version = other, versions[other][versions[domain].index(version)]
        return read_card(self.store.adapter_dir(domain, version)).data.sources[0].rpartition(" ")[2]

    def follow(self) -> None:
        """Say what changes, as a real server does."""
        seen = self.first.number
        while True:
            time.sleep(0.05)
            if (number := self.store.pointer().release) != seen:
                seen = number
                say(f"release {number}: loading")
                time.sleep(0.1)
                say(f"release {number} is live after 0.1 s, 2 bundles new")


def say(step: str) -> None:
    print(f"[{time.monotonic() % 100:5.1f} s] {step}", flush=True)


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--adapters", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--fault")
    options = parser.parse_args()
    say("checking the store")
    served, count = FollowedStore(options.adapters, options.fault), itertools.count()
    if options.fault == "orphan":
        code = "import os, time; os.setpgid(0, 0); time.sleep(20)"
        subprocess.Popen([sys.executable, "-c", code])
    say(f"loading {len(served.domains)} adapters")
    time.sleep(0.1)
    if options.fault == "ends":
        sys.exit("error: there is no model")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                return self._send(200, b'crma_release_swaps_total 3.0\nother{x="y"} 1.0\n')
            listed = []
            for domain, versions in served.versions().items():
                listed += [{"id": domain, "root": f"{domain}@{versions[-1]}"}]
                listed += [{"id": f"{domain}@{each}", "root": f"{domain}@{each}"} for each in versions]
            return self._send(200, json.dumps({"data": listed}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            domain, _, version = body["model"].partition("@")
            versions = served.versions()[domain]
            version = version or versions[-1]
            if version not in versions:
                return self._send(404, b'{"error": {}}')
            fault = options.fault if body.get("stream") and next(count) % 10 == 4 else None
            if fault == "failed":
                return self._send(503, b"{}")
            first = served.first.adapters[domain].part.version
            return self._answer(body, domain, first if fault == "old" else version, fault)

        def _answer(self, body: Any, domain: str, version: str, fault: str | None) -> None:
            marked = "0" * 12 if fault == "mismarked" else version
            self.send_response(200)
            self.send_header("x-crma-version", marked)
            self.end_headers()
            if not body.get("stream"):
                return
            own = served.word(domain, version)
            other = served.word(domain, served.first.adapters[domain].part.version)
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
    threading.Thread(target=served.follow, daemon=True).start()
    say("ready")
    print(f"crma ready on http://127.0.0.1:{options.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

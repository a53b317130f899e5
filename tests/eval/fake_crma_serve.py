"""A stand-in for crma-serve: its flags, its model names, its ready line, and no engine.

    python fake_crma_serve.py --adapters STORE --port N [--model NAME]

With CRMA on it answers the last word of the question, else "no". Every request is noted in `requests.jsonl`
beside the store.
"""

import argparse
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from crma_adapters.store.store import Store


def exact_names(root: Path) -> dict[str, str]:
    """The model names of a store, as crma-serve gives them."""
    store = Store(root)
    release = store.live()
    assert release.backbone is not None
    names = {"base": "base", "backbone": f"backbone@{release.backbone.version}"}
    for name, entry in release.adapters.items():
        backbone = release.backbone_of(entry)
        names[name] = f"{name}@{entry.part.version}" + (f"+{backbone}" if backbone else "")
        names[f"{name}:crma-off"] = f"{name}@{entry.part.version}:crma-off"
    return names | {name: f"{name}@plain" for name in store.plain_adapters()}


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--adapters", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="tiny")
    options = parser.parse_args()
    exact = exact_names(options.adapters)
    routing: dict[str, str | None] = {"auto": None, options.model: None}
    notes = options.adapters.with_name("requests.jsonl")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"data": [{"id": name, "root": root} for name, root in (routing | exact).items()]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with notes.open("a") as file:
                file.write(json.dumps(body) + "\n")
            model = exact[body["model"]]
            word = body["messages"][-1]["content"].rstrip("?").split()[-1]
            message = {"content": word if "+" in model else "no"}
            self._send({"model": model, "choices": [{"message": message, "finish_reason": "stop"}]})

        def log_message(self, *_: object) -> None:
            pass

        def _send(self, document: Any) -> None:
            content = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    print("starting", file=sys.stderr, flush=True)
    print(f"crma ready on http://127.0.0.1:{options.port}\n", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

"""Stand-ins for what `crma-eval bench` starts: `python fake_bench.py serve|client ...`.

`serve` takes vllm serve's or crma-serve's flags and answers /health with its own command line. `client` reads
runs as the real client does, asks the server whether it is there, and writes a result: each request's time to
first token is 1 s for `base`, 2 s for an adapter, 3 s for `auto`, 4 s for a copy; a run takes the sum.
"""

import json
import os
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any


def serve(arguments: list[str]) -> None:
    """Until stopped. crma-serve's flags name a store: then it says so when it is ready."""
    port = int(arguments[arguments.index("--port") + 1])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps([arguments, os.environ.get("VLLM_PLUGINS")]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", port), Handler)
    if "--adapters" in arguments:
        print(f"crma ready on http://127.0.0.1:{port}", flush=True)
    server.serve_forever()


def client() -> None:
    """One run a line."""
    for line in sys.stdin:
        flags = json.loads(line)
        try:
            _run(flags)
        except Exception as error:
            print(json.dumps(str(error)), flush=True)
        else:
            print("done", flush=True)


def _run(flags: list[str]) -> None:
    def value(flag: str) -> str:
        return flags[flags.index(flag) + 1]

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(value("--base-url") + "/health") as reply:
        assert reply.status == 200
    count = int(value("--num-prompts"))
    assert int(value("--seed")) >= 0
    start = flags.index("--lora-modules") + 1
    models = flags[start : start + count]
    if value("--dataset-name") == "random":
        length = int(value("--random-output-len"))
    else:
        length = int(value("--sharegpt-output-len"))
        rows = json.loads(Path(value("--dataset-path")).read_text())
        assert len(rows) == count and all(len(row["conversations"]) == 2 for row in rows)
    broken = os.environ.get("BROKEN_MODEL")
    failed = [model == broken for model in models]
    waits = [_wait_s(model) for model in models]
    result: dict[str, Any] = {
        "duration": sum(waits),
        "completed": count - sum(failed),
        "total_output_tokens": length * (count - sum(failed)),
        "ttfts": waits,
        "itls": [[0.0] + [wait / 100] * (length - 1) for wait in waits],
        "errors": ["Traceback\nServerError: no such adapter" if bad else "" for bad in failed],
    }
    (Path(value("--result-dir")) / value("--result-filename")).write_text(json.dumps(result))


def _wait_s(model: str) -> float:
    return {"base": 1.0, "auto": 3.0}.get(model, 4.0 if model.startswith("copy-") else 2.0)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2:])
    else:
        client()

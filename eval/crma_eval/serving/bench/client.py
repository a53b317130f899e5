"""vLLM's own benchmark client, started once and given one run after another."""

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from crma_adapters.errors import ConfigError
from crma_eval.serving.bench.turn import Turn

TIMEOUT_S = 900.0
# A line on its stdin: the flags of one run as a JSON list. A line of its answer: "done", or what went wrong.
_CLIENT = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser(prog="vllm bench serve")
add_cli_args(parser)
for line in sys.stdin:
    try:
        main(parser.parse_args(json.loads(line)))
        answers.write("done\\n")
    except BaseException as error:
        answers.write(json.dumps(f"{type(error).__name__}: {error}") + "\\n")
"""
COMMAND = (sys.executable, "-c", _CLIENT)


@dataclass(frozen=True)
class Timings:
    """One run as the client saw it, in s; per request in order of sending."""

    duration_s: float
    output_tokens: int
    ttft_s: tuple[float, ...]
    itl_s: tuple[tuple[float, ...], ...]


class BenchClient:
    """The process. Leave it with `with`; its files go to `folder`."""

    def __init__(self, folder: Path, tokenizer: Path, command: Sequence[str] = COMMAND) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._tokenizer = folder, tokenizer
        self._log = (folder / "client.log").open("ab")
        # Proxies are for the world outside; the servers are here.
        here = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "VLLM_LOGGING_LEVEL": "ERROR"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=os.environ | here
        )

    def run(self, url: str, turn: Turn) -> Timings:
        """Send the turn's requests to the server at `url`.

        Raises:
            ConfigError: the client failed or hung, a request failed, or an answer was cut short.
        """
        result = self._folder / f"{turn.key}.result.json"
        result.unlink(missing_ok=True)
        self._ask(self._flags(url, turn, result))
        return _read(result, turn)

    def _flags(self, url: str, turn: Turn, result: Path) -> list[str]:
        return [
            "--backend", "openai-chat", "--endpoint", "/v1/chat/completions", "--base-url", url,
            "--model", str(self._tokenizer), "--tokenizer", str(self._tokenizer),
            # One name a request: taken in turn, the i-th request gets the i-th.
            "--served-model-name", turn.models[0], "--lora-assignment", "round-robin",
            "--lora-modules", *turn.models,
            "--num-prompts", str(len(turn.models)), "--max-concurrency", str(turn.concurrency),
            *self._dataset(turn), "--ignore-eos", "--temperature", "0", "--seed", str(turn.repeat + 1),
            "--ready-check-timeout-sec", "0", "--disable-tqdm",
            "--save-result", "--save-detailed", "--result-dir", str(result.parent),
            "--result-filename", result.name,
        ]  # fmt: skip

    def _dataset(self, turn: Turn) -> list[str]:
        length = str(turn.output_tokens)
        if isinstance(turn.prompts, int):
            return ["--dataset-name", "random", "--random-input-len", str(turn.prompts),
                    "--random-output-len", length]  # fmt: skip
        path = self._folder / f"{turn.key}.prompts.json"
        # The client's "custom" dataset needs pandas; this one does not. The second turn is only for its form.
        rows = [{"conversations": [{"value": prompt}, {"value": ""}]} for prompt in turn.prompts]
        path.write_text(json.dumps(rows), encoding="utf-8")
        return ["--dataset-name", "sharegpt", "--dataset-path", str(path), "--sharegpt-output-len", length,
                "--disable-shuffle"]  # fmt: skip

    def _ask(self, flags: list[str]) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        log = self._folder / "client.log"
        with contextlib.suppress(BrokenPipeError):  # it has ended: there will be no answer
            self._process.stdin.write(json.dumps(flags).encode() + b"\n")
            self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], TIMEOUT_S)[0]:
            raise ConfigError(f"the benchmark client did not end within {TIMEOUT_S:g} s; see {log}")
        answer = self._process.stdout.readline().decode().strip()
        if answer != "done":
            raise ConfigError(f"the benchmark client failed: {answer or 'it ended'}; see {log}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


def _read(path: Path, turn: Turn) -> Timings:
    try:
        row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        failed, done = [error for error in row["errors"] if error], int(row["completed"])
        timings = Timings(
            float(row["duration"]),
            int(row["total_output_tokens"]),
            tuple(float(value) for value in row["ttfts"]),
            # The first interval is between the role's event and the first token's, which come together.
            tuple(tuple(float(value) for value in intervals[1:]) for intervals in row["itls"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"the benchmark client left no result in {path} ({error})") from error
    expected = len(turn.models) * turn.output_tokens
    if failed or done != len(turn.models) or timings.output_tokens != expected:
        raise ConfigError(
            f"{turn.key}: {done} of {len(turn.models)} requests were answered, with {timings.output_tokens} "
            f"tokens where {expected} were asked for; expected all, so nothing is compared"
            + (f"; the first error: {failed[0].strip().splitlines()[-1]}" if failed else "")
        )
    return timings

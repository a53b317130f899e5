"""`crma-eval fuzz`: hostile requests to every route of a server, and every route without its key."""

import argparse
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crma_adapters.errors import ConfigError
from crma_eval.serve import live_server

REQUESTS = 10_000


def add_command(commands: Any) -> None:
    """Add `fuzz` to the subcommands of `crma-eval`."""
    parser = commands.add_parser("fuzz", help="hostile requests to every route of a server")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--serve", type=Path, metavar="STORE", help="start crma-serve on a copy of this store")
    where.add_argument(
        "--url", help="a server that runs already; its releases will be changed, so not one in use"
    )
    parser.add_argument("--key-file", type=Path, help="an inference key of --url, alone in a file")
    parser.add_argument("--admin-key-file", type=Path, help="an admin key of --url, alone in a file")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the requests (default: 0)")
    parser.add_argument(
        "--leave-out", action="append", default=[], metavar="PATH", help="a route not to send to (repeatable)"
    )
    parser.add_argument("--report", type=Path, help="folder to write fuzz.{json,md} into")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Generate, send, print, write; status 1 if a request failed or a route was open."""
    if args.requests < 1:
        raise ConfigError(f"--requests is {args.requests}; give 1 or more")
    try:
        import hypothesis  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "crma-eval fuzz draws its requests with hypothesis, which is not installed: "
            "pip install 'crma[dev]', or hypothesis itself"
        ) from error
    from crma_eval.serving.fuzz.summary import fuzz_report, reached

    with _server(args) as (url, keys):
        setting, outcome, doors = _fuzz(args, url, keys)
    report = fuzz_report(setting, outcome, doors)
    print(report.markdown())
    if args.report is not None:
        report.write(args.report)
    return 0 if reached(outcome, doors) else 1


def _fuzz(args: argparse.Namespace, url: str, keys: Any) -> Any:
    import httpx
    from tqdm import tqdm

    from crma_eval.serving.fuzz.cases import generate
    from crma_eval.serving.fuzz.doors import UNLISTED, header, key_for, try_door
    from crma_eval.serving.fuzz.operations import Api, read_api
    from crma_eval.serving.fuzz.sending import send_all
    from crma_eval.serving.fuzz.summary import Setting

    with httpx.Client(base_url=url, headers=header(keys.inference), timeout=60, trust_env=False) as client:
        api = read_api(_json(client, "/openapi.json"))
        models = [model["id"] for model in _json(client, "/v1/models?names=all")["data"]]
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        doors = [try_door(client, operation, keys) for operation in (*api.operations, *UNLISTED)]
    kept = tuple(each for each in api.operations if each.path not in args.leave_out)
    cases = generate(Api(kept, api.schemas), models, args.requests, args.seed)
    with tqdm(total=len(cases), desc="fuzz", unit="request", file=sys.stderr, dynamic_ncols=True) as bar:
        outcome = send_all(url, cases, lambda case: key_for(case.operation, keys), lambda: _advance(bar))
    return Setting(args.seed, tuple(args.leave_out)), outcome, doors


def _advance(bar: Any) -> None:
    bar.update()


def _json(client: Any, path: str) -> Any:
    import httpx

    try:
        reply = client.get(path)
        reply.raise_for_status()
    except httpx.HTTPError as error:
        raise ConfigError(f"{client.base_url}{path} cannot be read: {error}") from error
    return reply.json()


@contextmanager
def _server(args: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """The address and a key of each kind."""
    from crma_eval.serving.fuzz.doors import Keys

    if args.url:
        if args.key_file is None or args.admin_key_file is None:
            raise ConfigError("--url needs --key-file and --admin-key-file, so that every route is reached")
        yield args.url, Keys(_first_line(args.key_file), _first_line(args.admin_key_file))
        return
    with tempfile.TemporaryDirectory(prefix="crma-fuzz-") as folder:
        beside = Path(folder)
        store = Path(shutil.copytree(args.serve, beside / "store"))
        keys = Keys(secrets.token_urlsafe(), secrets.token_urlsafe())
        flags = []
        for flag, key in (("--api-key-file", keys.inference), ("--admin-key-file", keys.admin)):
            file = beside / flag.strip("-")
            file.touch(mode=0o600)
            file.write_text(key + "\n", encoding="ascii")
            flags += [flag, str(file)]
        log = (args.report or Path("runs")) / "fuzz-serve.log"
        with live_server(store, log, flags=flags) as url:
            yield url, keys


def _first_line(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8").split()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); expected a key") from error
    if not lines:
        raise ConfigError(f"{file}: holds no key")
    return lines[0]

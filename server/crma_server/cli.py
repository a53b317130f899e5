"""`crma-serve`: one store, one model, every domain; a start does what is cheap and can fail before what is
slow."""

import argparse
import errno
import os
import socket
import sys

from crma_adapters.cli.argument_types import location
from crma_adapters.cli.command import run_command
from crma_adapters.errors import ConfigError
from crma_server.observability.logging import RequestLog
from crma_server.progress import report
from crma_server.releases.following import open_served
from crma_server.releases.snapshot import StoreSnapshot, open_snapshot
from crma_server.settings import add_flags, check_exposure, read_settings, with_admin_key

_EPILOG = """\
Every other flag is vLLM's own and does what `vllm serve --help` says, for example:
  --host 0.0.0.0 --port 8080 --api-key KEY --max-model-len 4096 --dtype float32

Defaults that differ from vLLM's: --host 127.0.0.1, LoRA on with slots, ranks and --lora-target-modules that
fit the store (`--lora-target-modules all`: on every module, for releases to come that adapt others), model
classes that have CRMA's modules, --served-model-name after the base model; on a CPU also 2 GiB of
key-value cache, at most 8192 tokens of context, and float32 where it has no AVX-512. --shutdown-timeout 30.
VLLM_LOGGING_LEVEL=INFO shows all of vLLM's own log, its warnings are shown as it is.
"""


def main(argv: list[str] | None = None) -> int:
    """Entry point of `crma-serve`; returns the exit status."""
    options, vllm_argv = _parser().parse_known_args(sys.argv[1:] if argv is None else argv)
    return run_command(lambda: _serve(options, vllm_argv))


def _serve(options: argparse.Namespace, vllm_argv: list[str]) -> int:
    report(f"checking the store {options.adapters}")
    store = open_served(options.adapters, options.store_cache, keep=options.keep_releases)
    contents = open_snapshot(store, options.model, options.keep_releases)
    report(_summary(contents))
    quieten()
    # Imported late: it takes seconds, and a broken store should be refused at once.
    from crma_server.engine.vllm.serve import Needs, parse_flags, serve
    from crma_server.releases.plan import make_plan

    names = contents.plain.keys() | (contents.release.adapters.keys() if contents.release else set())
    args = parse_flags(vllm_argv, Needs(contents.base, len(names), contents.demand))
    report(lora_summary(args.lora_target_modules, args.max_lora_rank, args.max_loras))
    settings = read_settings(options, args.api_key, os.environ)
    if not args.uds:
        check_exposure(settings, args.host)
        check_port(args.host, args.port)
    if settings.request_log:
        RequestLog(settings.request_log).close()
    settings = with_admin_key(settings)
    report("composing bundles")
    plan = make_plan(contents, args.served_model_name or [], keep=settings.keep_releases)
    if plan.router is None:
        report("no router in this release: 'auto' is always the fallback")
    else:
        plan.router.start()
    usual = "minutes the first time, to compile the model" if settings.compile else "about half a minute"
    report(f"starting the engine with {contents.base.name} (on a CPU {usual})")
    serve(args, plan, settings)
    return 0


def lora_summary(modules: list[str] | None, rank: int, slots: int) -> str:
    """What of the engine adapters get, in one line."""
    where = ", ".join(modules) if modules else "every module that can have one"
    return f"LoRA on {where}; rank up to {rank}, {slots} at once"


def check_port(host: str | None, port: int) -> None:
    """Raise `ConfigError` if something already listens there."""
    family = socket.AF_INET6 if ":" in (host or "") else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host or "", port))
        except OSError as error:
            what = (
                "already in use" if error.errno == errno.EADDRINUSE else f"not to be had ({error.strerror})"
            )
            raise ConfigError(
                f"port {port} on {host or 'all interfaces'} is {what}: expected a free one; stop what "
                "listens there or pass another --port"
            ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crma-serve",
        description="Serve every adapter of a store behind vLLM's OpenAI-compatible API, routed per request.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="crma-serve --adapters DIR [--model NAME] [any vllm serve flag]",
        # vLLM's flags share prefixes with ours (--model, --model-impl).
        allow_abbrev=False,
    )
    parser.add_argument(
        "--adapters",
        type=location,
        required=True,
        metavar="DIR|URL",
        help="the store: a folder of releases or plain PEFT folders, or the URL of one with releases "
        "(s3://bucket/adapters)",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="base model: a packaged one, a local folder or a hub id (default: the release's own)",
    )
    add_flags(parser)
    return parser


def quieten() -> None:
    """Keep vLLM's and torch's chatter, in every process of theirs, from drowning our lines; warnings pass."""
    if "VLLM_LOGGING_LEVEL" not in os.environ:
        os.environ["VLLM_LOGGING_LEVEL"] = "WARNING"
        os.environ["CRMA_QUIET"] = "1"
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _summary(contents: StoreSnapshot) -> str:
    release = contents.release
    plain = f"plain adapters: {', '.join(contents.plain)}" if contents.plain else ""
    if release is None:
        return plain
    domains = ", ".join(release.adapters) or "none"
    return f"release {release.number} for {contents.base.name}, adapters: {domains}" + (
        f"; {plain}" if plain else ""
    )

"""Every flag of `crma-serve` that is the project's own, and whom a server with them is open to; each default
stands once, in `Settings`, and what of vLLM's flags matters here (`--api-key`) is handed in."""

import argparse
import dataclasses
import ipaddress
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crma_adapters.errors import ConfigError
from crma_adapters.models.cache import cache_dir
from crma_server.http.keys import ApiKeyStore, KeySource, own_admin_key
from crma_server.progress import report

INFERENCE_VARIABLES = ("VLLM_API_KEY", "CRMA_API_KEYS")
ADMIN_VARIABLE = "CRMA_ADMIN_KEYS"
ADMIN_KEY_FILE = "admin-key"


@dataclass(frozen=True)
class Settings:
    """What was asked for; it travels to every API server process. 0 means no limit where it says so.

    `key_rate` is requests a minute and key, `deadline_s` seconds from the arrival of a request to its answer.
    """

    inference_keys: KeySource = field(default_factory=KeySource)
    admin_keys: KeySource = field(default_factory=KeySource)
    allow_no_key: bool = False
    max_in_flight: int = 256
    key_concurrency: int = 0
    key_rate: int = 0
    max_body_bytes: int = 64 * 2**20
    deadline_s: float = 0.0
    keep_releases: int = 3
    poll: bool = False
    store_cache: Path | None = None
    store_poll_s: float = 5.0
    request_log: str | None = None
    log_prompts: bool = False
    compile: bool = False


_DEFAULTS = Settings()


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a parser. `read_settings` makes `Settings` of what it parses."""
    _add_key_flags(parser.add_argument_group("keys"))
    _add_limit_flags(parser.add_argument_group("limits"))
    _add_release_flags(parser.add_argument_group("releases and logs"))
    parser.add_argument(
        "--compile",
        action="store_true",
        help="on a CPU: compile the model, as vLLM does there only without LoRA; the start takes minutes "
        "longer, the answers less time (a GPU compiles anyway; --enforce-eager never does)",
    )


def read_settings(
    options: argparse.Namespace, api_keys: Sequence[str] | None, environment: MutableMapping[str, str]
) -> Settings:
    """Settings of parsed flags, vLLM's `--api-key` values and the environment's keys.

    The keys are taken out of `environment`, so that no child process inherits them. As in vLLM, `--api-key`
    replaces VLLM_API_KEY; the other sources add up.

    Raises:
        ConfigError: a value that cannot be used.
    """
    from_environment = {name: _split(environment.pop(name, "")) for name in (*INFERENCE_VARIABLES,)}
    if api_keys:
        from_environment.pop("VLLM_API_KEY")
    given = (*(api_keys or ()), *(key for keys in from_environment.values() for key in keys))
    settings = Settings(
        inference_keys=KeySource(tuple(given), options.api_key_file),
        admin_keys=KeySource(_split(environment.pop(ADMIN_VARIABLE, "")), options.admin_key_file),
        **{
            each.name: getattr(options, each.name)
            for each in dataclasses.fields(Settings)
            if not each.name.endswith("_keys")
        },
    )
    _check(settings)
    return settings


def check_exposure(settings: Settings, host: str | None) -> None:
    """Raise `ConfigError` if other machines could reach `host` (None: every interface) without a key."""
    if settings.inference_keys or settings.allow_no_key or is_loopback(host):
        return
    raise ConfigError(
        f"--host {host or '(every interface)'} without a key lets every machine that reaches it use the "
        "model: expected an inference key; pass --api-key or --api-key-file, or --allow-no-key if it is meant"
    )


def is_loopback(host: str | None) -> bool:
    """Whether only this machine can reach `host`. Of names only `localhost` is known to mean that."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def shown_admin_key(settings: Settings, host: str | None) -> str:
    """The admin key for the terminal of whoever starts a server: only the one that was made here, only where
    this machine alone can reach the server, and only on a terminal, so that no log keeps it; else empty."""
    path = cache_dir(ADMIN_KEY_FILE)
    if settings.admin_keys.file != path or not is_loopback(host) or not sys.stdout.isatty():
        return ""
    return path.read_text(encoding="ascii").strip()


def with_admin_key(settings: Settings) -> Settings:
    """The settings with an admin key, made in the cache if none was given; every key file can be read.

    Raises:
        ConfigError: a key file cannot be used.
    """
    if not settings.admin_keys:
        path = own_admin_key(cache_dir(ADMIN_KEY_FILE))
        report(f"no admin key was given: the admin API takes the one in {path}")
        settings = dataclasses.replace(settings, admin_keys=KeySource(file=path))
    for source in (settings.inference_keys, settings.admin_keys):
        ApiKeyStore(source)
    return settings


def _add_key_flags(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="inference keys, one a line, read again when the file changes; also: --api-key, VLLM_API_KEY, "
        "CRMA_API_KEYS",
    )
    group.add_argument(
        "--admin-key-file",
        type=Path,
        metavar="FILE",
        help="keys of the admin API, as above; also: CRMA_ADMIN_KEYS (default: one is made in the cache)",
    )
    group.add_argument(
        "--allow-no-key",
        action="store_true",
        help="let anyone who reaches a --host other than this machine use the model without a key",
    )


def _add_limit_flags(group: "argparse._ArgumentGroup") -> None:
    numbers = {
        "max_in_flight": "requests answered or waiting at once, per API server; more get 429",
        "key_concurrency": "of these with one key (0: no limit of its own)",
        "key_rate": "requests a minute with one key (0: no limit)",
        "max_body_bytes": "largest request body; larger ones get 413",
    }
    for name, text in numbers.items():
        default = getattr(_DEFAULTS, name)
        flag = "--" + name.replace("_", "-")
        group.add_argument(flag, type=int, default=default, metavar="N", help=f"{text} (default: {default})")
    group.add_argument(
        "--deadline-s",
        type=float,
        default=_DEFAULTS.deadline_s,
        metavar="S",
        help="seconds a request may take before it gets 504 (default: no limit); the header "
        "x-crma-deadline-ms shortens it",
    )


def _add_release_flags(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--keep-releases",
        type=int,
        default=_DEFAULTS.keep_releases,
        metavar="N",
        help="releases whose versions answer by exact name, the live one included "
        f"(default: {_DEFAULTS.keep_releases})",
    )
    group.add_argument(
        "--poll",
        action="store_true",
        help="look for a new release every second, where the file system (a network one) does not tell of it",
    )
    group.add_argument(
        "--store-cache",
        type=Path,
        metavar="DIR",
        help="where the files of a store behind a URL are kept (default: stores in the cache folder)",
    )
    group.add_argument(
        "--store-poll-s",
        type=float,
        default=_DEFAULTS.store_poll_s,
        metavar="S",
        help=f"seconds between two looks at a store behind a URL (default: {_DEFAULTS.store_poll_s:g})",
    )
    group.add_argument(
        "--request-log",
        metavar="stderr|FILE",
        help="write one JSON line a request there (default: no log)",
    )
    group.add_argument("--log-prompts", action="store_true", help="let the request log hold what users wrote")


def _split(value: str) -> tuple[str, ...]:
    return tuple(key for key in re.split(r"[\s,]+", value) if key)


def _check(settings: Settings) -> None:
    least: Mapping[str, float] = {
        "max_in_flight": 1,
        "key_concurrency": 0,
        "key_rate": 0,
        "max_body_bytes": 1,
        "deadline_s": 0,
        "keep_releases": 1,
        "store_poll_s": 0.1,
    }
    for name, bound in least.items():
        value = getattr(settings, name)
        if not value >= bound:  # also NaN
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"{flag} is {value}: expected {bound:g} or more")

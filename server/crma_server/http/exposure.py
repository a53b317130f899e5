"""Whom a server is open to.

Owns: refusing to open a server without keys to other machines, and making sure that there is an admin key.
"""

import dataclasses
import ipaddress

from crma_adapters.errors import ConfigError
from crma_adapters.models.cache import cache_dir
from crma_server.http.admin_key import own_admin_key
from crma_server.http.key_ring import KeyRing, KeySource
from crma_server.progress import report
from crma_server.settings import Settings

ADMIN_KEY_FILE = "admin-key"


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
        KeyRing(source)
    return settings

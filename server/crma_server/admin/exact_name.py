"""Exact names that operators load and unload by.

Owns: telling an exact name from an alias. Knows nothing of engines.
"""

from crma_adapters.errors import ConfigError
from crma_server.routing.catalog import BASE, Catalog, Target


def find_exact(catalog: Catalog, name: str) -> Target:
    """What an exact name stands for.

    Raises:
        UnknownModelError: no release that is live or kept has it.
        ConfigError: the name is an alias, or the base model's.
    """
    selection = catalog.select(name)
    if selection.entry is None or "@" not in name:
        raise ConfigError(f"{name!r} is an alias, which releases move: expected NAME@VERSION")
    target = selection.entry.target(crma=selection.crma)
    if target.adapter == BASE:
        raise ConfigError(f"{name!r} is the base model: expected an adapter's exact name")
    return target

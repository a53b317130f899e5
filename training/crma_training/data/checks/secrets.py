"""Passwords, keys and tokens, found by the plugins of detect-secrets.

Only their patterns are used: no baseline file is read or written, and `verify`, which asks the issuer over
the network, is never called. A finding shows the secret masked.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator, Sequence
from typing import Any

from crma_training.data.checks.finding import Finding, Severity, masked
from crma_training.data.checks.record import Record

# Guesses by the words around or by entropy; the other plugins know the form of one issuer's tokens.
GUESSING = frozenset(
    {"KeywordDetector", "Base64HighEntropyString", "HexHighEntropyString", "BasicAuthDetector"}
)
LEFT_OUT = frozenset({"IPPublicDetector"})  # personal data, and found there
KEYWORD_PLUGIN = "KeywordDetector"
TOGETHER = 64  # rows
LONGEST_PREFIX = 7
_KEYWORDS = re.compile(r"key|pass|pwd|secret|contrase", re.IGNORECASE)


def check_secrets(records: Sequence[Record]) -> Iterator[Finding]:
    """One finding for each kind of secret in a row."""
    plugins = _plugins()
    for start in range(0, len(records), TOGETHER):
        chunk = records[start : start + TOGETHER]
        # Calls cost more than matching, and most rows hold nothing: first all of them as one text.
        everything = "\n".join(text for record in chunk for text in record.texts)
        suspicious = [plugin for plugin in plugins if _may_hold(plugin, everything)]
        for record in chunk if suspicious else ():
            yield from _in_row(record, suspicious)


def _may_hold(plugin: Any, text: str) -> bool:
    if type(plugin).__name__ == KEYWORD_PLUGIN:  # its patterns reach over lines, and are slow
        return _KEYWORDS.search(text) is not None
    return next(iter(plugin.analyze_string(text)), None) is not None


def _in_row(record: Record, plugins: Sequence[Any]) -> Iterator[Finding]:
    lines = [line for text in record.texts for line in text.splitlines()]
    for plugin in plugins:
        secret = next((found for line in lines for found in _secrets(plugin, line)), None)
        if secret is not None:
            severity: Severity = "warning" if type(plugin).__name__ in GUESSING else "error"
            # Some plugins give the prefix alone ("ghp"), which says nothing.
            detail = plugin.secret_type + (f" {masked(secret)}" if len(secret) > LONGEST_PREFIX else "")
            yield Finding("secret", severity, record.domain, record.where, detail)


def _secrets(plugin: Any, line: str) -> Iterator[str]:
    if type(plugin).__name__ == KEYWORD_PLUGIN and not _KEYWORDS.search(line):
        return
    limit = getattr(plugin, "entropy_limit", None)
    for secret in plugin.analyze_string(line):
        if limit is None or plugin.calculate_shannon_entropy(secret) > limit:
            yield str(secret)


def _plugins() -> list[Any]:
    """An instance of every plugin with its defaults, by name, so that findings have a fixed order."""
    import detect_secrets.plugins as package
    from detect_secrets.plugins.base import BasePlugin

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    classes = {found.__name__: found for found in _below(BasePlugin) if not found.__abstractmethods__}
    return [classes[name]() for name in sorted(classes.keys() - LEFT_OUT)]


def _below(parent: Any) -> Iterator[Any]:
    for child in parent.__subclasses__():
        yield child
        yield from _below(child)

"""What an argument of `crma-adapters` may look like.

Owns: turning its text into a value, or into argparse's error. Knows nothing of the commands.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import ConfigError
from crma_adapters.store.sources.location import Location, StoreUrl, parse_location
from crma_adapters.store.store import Store

Command = Callable[[Store, argparse.Namespace], int]
AddCommand = Callable[[str, Command, str], argparse.ArgumentParser]


@dataclass(frozen=True)
class WantedCanary:
    """Which canary is meant: a folder's content, a version of the store, or, with neither, the live one."""

    name: str
    folder: Path | None = None
    version: str | None = None


def location(text: str) -> Location:
    """A store's folder, or its URL."""
    try:
        return parse_location(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def store_url(text: str) -> StoreUrl:
    """The URL of a store elsewhere."""
    where = location(text)
    if isinstance(where, Path):
        raise argparse.ArgumentTypeError(f"{text!r} is no URL such as s3://bucket/adapters")
    return where


def named_folder(text: str) -> tuple[str, Path]:
    """NAME=FOLDER"""
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER")
    return name, Path(folder)


def wanted_canary(text: str) -> WantedCanary:
    """NAME=FOLDER, NAME@VERSION or NAME"""
    if "=" in text:
        return WantedCanary(*named_folder(text))
    name, at, version = text.partition("@")
    if not name or (at and not version):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER, NAME@VERSION or NAME")
    return WantedCanary(name, version=version or None)


def named_number(text: str) -> tuple[str, float]:
    """NAME=NUMBER"""
    name, _, value = text.partition("=")
    if not name or not math.isfinite(_float(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER")
    return name, float(value)


def number(text: str) -> float:
    """A finite number."""
    if not math.isfinite(_float(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return float(text)


def share(text: str) -> float:
    """A number between 0 and 1, neither of them."""
    if not 0 < _float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 1, such as 0.1")
    return float(text)


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan

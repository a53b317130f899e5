"""Command-line flags of `TrainConfig`, derived from its fields."""

import argparse
import dataclasses
from collections.abc import Collection
from typing import Any

from crma_adapters.errors import ConfigError
from crma_training.config import TrainConfig


def add_options(parser: argparse.ArgumentParser, leave_out: Collection[str] = ()) -> None:
    """A flag per field, but for those left out."""
    for option in dataclasses.fields(TrainConfig):
        if option.name not in leave_out:
            parser.add_argument("--" + option.name.replace("_", "-"), **_flag(option))


def config_from(args: argparse.Namespace) -> TrainConfig:
    """The configuration that the flags give. Raises `ConfigError` on values that cannot work."""
    given = vars(args)
    known = {option.name for option in dataclasses.fields(TrainConfig)}
    return TrainConfig(**{name: value for name, value in given.items() if name in known})


def names(text: str) -> tuple[str, ...]:
    """Comma-separated names. Raises `ConfigError` if one is empty."""
    found = tuple(name.strip() for name in text.split(","))
    if not all(found):
        raise ConfigError(f"{text!r} has an empty name; separate names with single commas")
    return found


def _flag(option: dataclasses.Field[Any]) -> dict[str, Any]:
    """argparse's keywords for one field of `TrainConfig`."""
    shown = ",".join(option.default) if isinstance(option.default, tuple) else option.default
    settings: dict[str, Any] = {"default": option.default, "help": option.metadata["help"]}
    if isinstance(option.default, bool):
        return {**settings, "action": argparse.BooleanOptionalAction}
    if shown != "":
        settings["help"] += f" (default: {shown})"
    kind = names if isinstance(option.default, tuple) else type(option.default)
    return {**settings, "type": kind, "choices": option.metadata["choices"] or None}

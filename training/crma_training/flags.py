"""Command-line flags of `TrainConfig`, derived from its fields, under transformers' names."""

import argparse
import dataclasses
import re
import sys
from collections.abc import Collection, Sequence
from typing import Any

from crma_adapters.errors import ConfigError
from crma_training.config import TrainConfig, flag_of

_NO_NAME = re.compile(r"[^\w.\-,\s]")  # what a regular expression has and a list of names has not


def add_options(parser: argparse.ArgumentParser, leave_out: Collection[str] = ()) -> None:
    """A flag per field, but for those left out; a former name of a flag is understood and said."""
    for option in dataclasses.fields(TrainConfig):
        if option.name in leave_out:
            continue
        parser.add_argument(flag_of(option), dest=option.name, **_flag(option))
        if option.metadata["flag"]:
            former = "--" + option.name.replace("_", "-")
            kind = type(option.default)
            parser.add_argument(former, action=_Former, dest=option.name, type=kind, now=flag_of(option))


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


def names_or_expression(text: str) -> tuple[str, ...]:
    """Comma-separated names, or one regular expression. Raises `ConfigError` as `names`, or if it is none."""
    if not _NO_NAME.search(text):
        return names(text)
    try:
        re.compile(text)
    except re.error as error:
        raise ConfigError(f"{text!r} is no regular expression ({error}); give names or a good one") from error
    return (text,)


def dashed(arguments: Sequence[str]) -> list[str]:
    """The arguments with flags as ours are spelt: transformers' have underscores."""
    found = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        found.append(flag.replace("_", "-") + equals + value if flag.startswith("--") else argument)
    return found


class _Former(argparse.Action):
    """A flag's former name."""

    def __init__(self, option_strings: Sequence[str], dest: str, now: str, **settings: Any) -> None:
        super().__init__(option_strings, dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **settings)
        self._now = now

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        print(f"{option_string} is now {self._now}", file=sys.stderr)
        setattr(namespace, self.dest, values)


def _flag(option: dataclasses.Field[Any]) -> dict[str, Any]:
    """argparse's keywords for one field of `TrainConfig`."""
    shown = ",".join(option.default) if isinstance(option.default, tuple) else option.default
    settings: dict[str, Any] = {"default": option.default, "help": option.metadata["help"]}
    if isinstance(option.default, bool):
        return {**settings, "action": argparse.BooleanOptionalAction}
    if shown != "":
        settings["help"] += f" (default: {shown})"
    kind: Any = type(option.default)
    if isinstance(option.default, tuple):
        kind = names_or_expression if option.name == "target_modules" else names
    return {**settings, "type": kind, "choices": option.metadata["choices"] or None}

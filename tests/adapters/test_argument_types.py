"""What may stand on the command line, and what argparse tells of anything else."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from crma_adapters.cli.argument_types import (
    WantedCanary,
    named_folder,
    named_number,
    number,
    positive,
    share,
    wanted_canary,
)


def test_what_may_stand() -> None:
    assert named_folder("a=b=c") == ("a", Path("b=c"))
    assert named_number("a=-1e-3") == ("a", -0.001)
    assert number("-2.5") == -2.5
    assert share("0.25") == 0.25
    assert positive("12") == 12


def test_a_canary_is_a_folder_a_version_or_the_one_there_is() -> None:
    assert wanted_canary("medical=./new@home") == WantedCanary("medical", folder=Path("new@home"))
    assert wanted_canary("medical@" + "a" * 12) == WantedCanary("medical", version="a" * 12)
    assert wanted_canary("medical") == WantedCanary("medical")


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (named_folder, ["", "a", "=b", "a="]),
        (named_number, ["", "a", "=1", "a=", "a=x", "a=nan", "a=inf"]),
        (number, ["", "x", "nan", "-inf"]),
        (share, ["", "x", "0", "1", "-0.1", "1.5", "nan", "inf"]),
        (positive, ["", "0", "-1", "1.5", "x", "1e3"]),
        (wanted_canary, ["", "=folder", "medical=", "@" + "a" * 12, "medical@"]),
    ],
)
def test_what_may_not(kind: Callable[[str], object], texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError, match="is not"):
            kind(text)

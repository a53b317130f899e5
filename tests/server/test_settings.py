"""Our own flags, and where keys come from."""

import argparse
import dataclasses
import pickle
from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError
from crma_server.settings import Settings, add_flags, read_settings


def read(
    *argv: str, api_keys: list[str] | None = None, environment: dict[str, str] | None = None
) -> Settings:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return read_settings(parser.parse_args(argv), api_keys, {} if environment is None else environment)


def test_without_flags_the_defaults_of_the_dataclass_hold() -> None:
    assert read() == Settings()


def test_every_setting_has_a_flag(tmp_path: Path) -> None:
    numbers = (
        "max-in-flight",
        "key-concurrency",
        "key-rate",
        "max-body-bytes",
        "deadline-s",
        "keep-releases",
    )
    argv = [word for name in numbers for word in (f"--{name}", "7")]
    argv += ["--allow-no-key", "--poll", "--log-prompts", "--request-log", "stderr", "--compile"]
    settings = read(*argv, "--api-key-file", str(tmp_path / "a"), "--admin-key-file", str(tmp_path / "b"))
    plain = Settings()
    for each in dataclasses.fields(Settings):
        assert getattr(settings, each.name) != getattr(plain, each.name), each.name
    assert (settings.inference_keys.file, settings.admin_keys.file) == (tmp_path / "a", tmp_path / "b")


def test_keys_come_from_flags_and_the_environment_and_leave_it() -> None:
    environment = {"CRMA_API_KEYS": "two, three", "CRMA_ADMIN_KEYS": "boss", "PATH": "/bin"}
    settings = read(api_keys=["one"], environment=environment)
    assert settings.inference_keys.given == ("one", "two", "three")
    assert settings.admin_keys.given == ("boss",)
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize(("api_keys", "expected"), [(None, ("v",)), (["k"], ("k",))])
def test_vllms_variable_counts_unless_its_flag_is_given(
    api_keys: list[str] | None, expected: tuple[str, ...]
) -> None:
    environment = {"VLLM_API_KEY": "v"}
    assert read(api_keys=api_keys, environment=environment).inference_keys.given == expected
    assert environment == {}


@pytest.mark.parametrize(
    "argv",
    [
        ("--max-in-flight", "0"),
        ("--key-concurrency", "-1"),
        ("--key-rate", "-1"),
        ("--max-body-bytes", "0"),
        ("--deadline-s", "-0.1"),
        ("--deadline-s", "nan"),
        ("--keep-releases", "0"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(argv: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match=argv[0]):
        read(*argv)


def test_settings_reach_other_processes_and_show_no_key() -> None:
    settings = read(api_keys=["secret-key"], environment={"CRMA_ADMIN_KEYS": "secret-admin"})
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301
    assert "secret" not in repr(settings)

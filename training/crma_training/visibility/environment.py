"""What a domain was trained with: versions, processor, threads."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

FILE_NAME = "environment.json"
PACKAGES = ("crma", "torch", "transformers", "peft")


def write_environment(directory: Path) -> None:
    """Writes what this process runs with."""
    text = json.dumps(_environment(), indent=2, sort_keys=True)
    (directory / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def _environment() -> dict[str, str]:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {
        **{package: _version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "device": device,
        "threads": str(torch.get_num_threads()),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

"""What the ablation serves, trained: a release as it would ship, and beside each domain its controls.

work/release/        the run folder of the release
work/lora-only/      of LoRAs on the bare base model, domains <domain>-lora of the same release
work/mixer-only/     of mixers on the bare base model, domains <domain>-mixer
work/store/          the release
"""

import dataclasses
import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from crma_adapters.errors import ConfigError
from crma_adapters.store.names import check_domain_name
from crma_eval.learning.ablation.arms import LORA, LORA_ONLY, MIXER, MIXER_ONLY
from crma_training.config import TrainConfig
from crma_training.sequence import Job, train_sequence

Say = Callable[[str], None]


@dataclass(frozen=True)
class Preparation:
    """What is trained on what, and where it goes. The rates are those of the controls, None: the release's
    own for that kind of adapter.
    """

    data: Path
    config: TrainConfig
    domains: tuple[str, ...]
    work: Path
    lora_rate: float | None = None
    mixer_rate: float | None = None

    @property
    def store(self) -> Path:
        """The store to serve."""
        return self.work / "store"

    def controls(self) -> dict[str, tuple[str, TrainConfig]]:
        """By arm the names of its domains and how they are trained: as the release is (rows, steps, seed,
        early stopping), each kind at its own rate. A control that is the release itself is left out.
        """
        config = dataclasses.replace(self.config, router=False, backbone="none", start="fresh")
        lora = dataclasses.replace(
            config, adapter="lora", learning_rate=self.lora_rate or config.learning_rate
        )
        mixer = dataclasses.replace(
            config, adapter="mixer", crma_learning_rate=self.mixer_rate or config.crma_learning_rate
        )
        found = {LORA_ONLY.name: (LORA, lora), MIXER_ONLY.name: (MIXER, mixer)}
        shipped = dataclasses.replace(config, adapter=self.config.adapter)
        alone = self.config.backbone != "shared" and self.config.start == "fresh"
        return {name: each for name, each in found.items() if not (alone and each[1] == shipped)}


def prepare(job: Preparation, say: Say = print) -> Path:
    """Trains what is not trained yet; returns the store to serve.

    Raises:
        CrmaError: of the kind that tells what is wrong; what is trained is kept.
    """
    controls = job.controls()
    for pattern, _ in controls.values():
        for domain in job.domains:
            if check_domain_name(pattern.format(domain=domain)) in job.domains:
                raise ConfigError(f"domains {domain} and {pattern.format(domain=domain)}: rename the latter")
    config = dataclasses.replace(job.config, router=False)
    train_sequence(Job(job.data, job.store, config, job.domains, job.work / "release"), say)
    for arm, (pattern, config) in controls.items():
        names = tuple(pattern.format(domain=domain) for domain in job.domains)
        data = job.work / "data" / arm
        for domain, name in zip(job.domains, names, strict=True):
            link(job.data, domain, data, name)
        train_sequence(Job(data, job.store, config, names, job.work / arm), say)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # the server, another process, needs the memory
    return job.store


def link(data: Path, domain: str, folder: Path, name: str) -> None:
    """The domain's rows under another name in `folder`. Raises `ConfigError` for rows that are elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [path for path in sorted(data.iterdir()) if domain in (path.name, path.stem)]
    if not found:
        raise ConfigError(
            f"{data} has no folder or file of {domain}; the ablation needs its rows beside each other"
        )
    target = folder / (name + ("" if found[0].is_dir() else found[0].suffix))
    if not target.exists():
        target.symlink_to(found[0].resolve())

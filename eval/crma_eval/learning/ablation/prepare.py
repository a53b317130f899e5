"""What the ablation serves, trained: the release with CRMA, and beside it each domain's LoRA without.

work/with-crma/      the run folder of the release
work/without-crma/   LoRAs on the bare base model, the same rows, order, steps and seeds
work/store/          the release, and the latter as plain PEFT folders
"""

import dataclasses
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from crma_adapters.errors import ConfigError
from crma_adapters.io.durable import copy_folder_durably, move_folder_durably
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE
from crma_adapters.models.base_model import resolve_base_model
from crma_adapters.store.names import check_domain_name
from crma_adapters.store.store import Store
from crma_eval.learning.ablation.arms import PLAIN
from crma_training.config import TrainConfig
from crma_training.data.dataset import load_dataset
from crma_training.learn import ADAPTER
from crma_training.methods.method import Lesson
from crma_training.methods.per_domain import FROZEN
from crma_training.run_folder import RunFolder
from crma_training.sequence import Job, train_sequence
from crma_training.workbench import load_workbench

Say = Callable[[str], None]


@dataclass(frozen=True)
class Preparation:
    """What is trained on what, and where it goes."""

    data: Path
    config: TrainConfig
    domains: tuple[str, ...]
    work: Path

    @property
    def store(self) -> Path:
        """The store to serve."""
        return self.work / "store"


def prepare(job: Preparation, say: Say = print) -> Path:
    """Trains what is not trained yet; returns the store to serve.

    Raises:
        CrmaError: of the kind that tells what is wrong; what is trained is kept.
    """
    for domain in job.domains:
        if check_domain_name(PLAIN.format(domain=domain)) in job.domains:
            raise ConfigError(f"domains {domain} and {PLAIN.format(domain=domain)}: rename the latter")
    config = dataclasses.replace(job.config, router=False, adapter="lora", backbone="shared", start="fresh")
    train_sequence(Job(job.data, job.store, config, job.domains, job.work / "with-crma"), say)
    loras = _without_crma(job, config, say)
    for domain, folder in zip(job.domains, loras, strict=True):
        drop_in(job.store, PLAIN.format(domain=domain), folder)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # the server, another process, needs the memory
    return job.store


def _without_crma(job: Preparation, config: TrainConfig, say: Say) -> Sequence[Path]:
    data, base, method = load_dataset(job.data, job.domains), resolve_base_model(config.model), FROZEN
    identity = {
        "method": method.name,
        "config": config.to_json(),
        "base_fingerprint": base.fingerprint,
        "data_sha256": data.sha256,
        "domains": list(job.domains),
    }
    with RunFolder(job.work / "without-crma", identity) as run:
        if all(run.finished(name) for name in job.domains):
            say("without CRMA: finished before, not trained again")
        else:
            bench = load_workbench(base, config)
            tasks = tuple(bench.task(domain) for domain in data.domains)
            for index, task in enumerate(tasks):
                if run.finished(task.name) is None:
                    say(f"{task.name}, without CRMA: {len(task.train)} rows")
                    before = tuple(run.path / name for name in job.domains[:index])
                    with run.stage(task.name) as folder:
                        method.learn(Lesson(bench, tasks, index, before), folder)
        return [run.path / name / ADAPTER for name in job.domains]


def drop_in(root: Path, name: str, source: Path) -> None:
    """Copy a PEFT folder into the store, whole or not at all."""
    target, files = root / name, (CONFIG_FILE, WEIGHTS_FILE)
    with Store(root).publishing():
        same = all(
            (target / file).is_file() and (target / file).read_bytes() == (source / file).read_bytes()
            for file in files
        )
        if not same:
            move_folder_durably(root, copy_folder_durably(root, source, files), target)

"""What the ablation serves, taken from a work folder of `crma-eval forgetting`: nothing is trained twice.

MODULAR's LoRAs and its last backbone make the release, FROZEN's LoRAs (same rows, order, steps and seed,
without CRMA) are dropped in beside it.

Owns: how finished cells become a store. Knows nothing of training or serving.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from crma_adapters.errors import ConfigError
from crma_adapters.store.card import CARD_FILE, AdapterCard, CardLoss
from crma_adapters.store.release import AdapterEntry, Part
from crma_adapters.store.store import Store
from crma_eval.learning.ablation.arms import PLAIN
from crma_eval.learning.ablation.prepare import drop_in
from crma_eval.learning.protocol import Cell, Experiment
from crma_eval.learning.scores import MethodRun
from crma_eval.learning.setup import Protocol, Sizes
from crma_training.config import TrainConfig
from crma_training.data.tokens import collate
from crma_training.domain import ADAPTER, BACKBONE, adapter_card, backbone_version
from crma_training.fit import own_batches, steps_for
from crma_training.methods.modular import Modular
from crma_training.methods.plain import Frozen
from crma_training.run_folder import IDENTITY

Say = Callable[[str], None]


@dataclass(frozen=True)
class Finished:
    """A forgetting experiment's work folder, the data it was trained on, and which seed is served."""

    data: Path
    work: Path
    seed: int


def finished_config(given: Finished) -> TrainConfig:
    """The hyperparameters that MODULAR was trained with. Raises `ConfigError` if there is no such run."""
    return _protocol(given).config_for(given.seed)


def reuse(given: Finished, root: Path, say: Say = print) -> Path:
    """Publish into the store `root` what was trained; returns `root`.

    Raises:
        ConfigError: MODULAR or FROZEN is not finished for the seed, or trained on other data.
        TrainingError: a finished stage was changed.
    """
    experiment = Experiment(_protocol(given), given.work, say)
    modular, frozen = Cell(Modular(), given.seed), Cell(Frozen(), given.seed)
    # Refused if not complete: nothing is trained here.
    stages, plain = experiment.stages(modular), experiment.stages(frozen)
    run = experiment.run(modular, lambda _: None)
    store = Store(root)
    with store.publishing():
        backbone = store.add_backbone(stages[-1] / BACKBONE)
        adapters = {
            name: _add(store, experiment, run, index, backbone)
            for index, name in enumerate(experiment.domains)
        }
        base = experiment.bench.base
        store.publish(
            base_model=base.name,
            base_fingerprint=base.fingerprint,
            backbone=backbone,
            adapters=adapters,
            router=None,
            note=f"MODULAR, seed {given.seed}, of a forgetting experiment",
        )
    for name, stage in zip(experiment.domains, plain, strict=True):
        drop_in(root, PLAIN.format(domain=name), stage / ADAPTER)
    return root


def _protocol(given: Finished) -> Protocol:
    path = given.work / Modular().name / f"seed-{given.seed}" / IDENTITY
    try:
        identity: dict[str, Any] = json.loads(path.read_bytes())
        cut = identity["cut"]
        sizes = Sizes(cut["train"], cut["holdout"], cut["short_answer"])
        config = TrainConfig(
            **identity["config"] | {"target_modules": tuple(identity["config"]["target_modules"])}
        )
        return Protocol(given.data, config, sizes, tuple(identity["domains"]), cut["split"])
    except FileNotFoundError as error:
        raise ConfigError(
            f"{given.work} has no run of MODULAR with seed {given.seed} ({path} is missing): expected the "
            "--work of `crma-eval forgetting`; train it there first"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is not what `crma-eval forgetting` writes ({error}); restore it"
        ) from error


def _add(store: Store, experiment: Experiment, run: MethodRun, index: int, backbone: Part) -> AdapterEntry:
    cell = Cell(Modular(), run.seed)
    stages = experiment.stages(cell)
    trained_on = backbone_version(stages[index] / BACKBONE)
    learnt, final = run.matrix[index][index].loss, run.final[index].loss
    with TemporaryDirectory() as folder:
        draft = Path(shutil.copytree(stages[index] / ADAPTER, Path(folder) / ADAPTER))
        (draft / CARD_FILE).write_bytes(_card(experiment, run, stages[:index], trained_on).to_json())
        part = store.add_adapter(run.domains[index], draft)
    drift = None if trained_on == backbone.version else (final - learnt) / learnt
    return AdapterEntry(part, trained_on, drift)


def _card(experiment: Experiment, run: MethodRun, before: Sequence[Path], trained_on: str) -> AdapterCard:
    index, config = len(before), experiment.protocol.config_for(run.seed)
    task, bench = experiment.tasks[index], replace(experiment.bench, config=config)
    steps = steps_for(task, config)
    found = run.matrix[index - 1][index] if index else run.base[index]
    loss = CardLoss(run.base[index].loss, found.loss, run.matrix[index][index].loss)
    tokens = sum(collate(rows, bench.pad_id).answer_tokens for rows in own_batches(task, config, steps))
    return adapter_card(bench, task, trained_on, steps, tokens, loss)

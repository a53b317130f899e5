"""The whole path: domains in sequence, each on the backbone the one before left, then one release.

    data -> start -> for each domain: train, seal -> drift -> router -> publish

Owns: the order of things and what makes two runs the same run. Everything else is done by the modules it names.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.backbone import load_backbone
from crma_adapters.base_model import BaseModel, resolve_base_model
from crma_adapters.card import AdapterCard
from crma_adapters.crma import Crma
from crma_adapters.errors import ConfigError
from crma_adapters.names import check_domain_name
from crma_adapters.release import Release
from crma_adapters.store import Store
from crma_training.config import TrainConfig, digest
from crma_training.dataset import Dataset, load_dataset
from crma_training.domain import ADAPTER, BACKBONE, backbone_version, train_domain
from crma_training.drift import TrainedAdapter, measure_drift
from crma_training.publication import Harvest, publish
from crma_training.routing import fit_release_router
from crma_training.run_folder import RunFolder, json_bytes
from crma_training.start import Start, choose_start
from crma_training.workbench import Workbench, load_workbench

START, DRIFT, ROUTER = "start", "drift", "router"


@dataclass(frozen=True)
class Job:
    """What the command line asks for. `run` None: a folder under `runs/` named by what the run is."""

    data: Path
    adapters: Path
    config: TrainConfig
    domains: tuple[str, ...] | None = None
    run: Path | None = None


def train_sequence(job: Job, say: Callable[[str], None] = print) -> Release:
    """Trains what is not trained yet and publishes; `say` gets a line per stage.

    Raises:
        CrmaError: of the kind that tells what is wrong; finished domains stay finished.
    """
    data = load_dataset(job.data, job.domains)
    for domain in data.domains:
        check_domain_name(domain.name)
    base, store = resolve_base_model(job.config.model), Store(job.adapters)
    identity = _identity(job.config, base, data)
    run = RunFolder(job.run or Path("runs") / digest(identity)[:12], identity)
    say(f"{', '.join(domain.name for domain in data.domains)} on {base.name}, run folder {run.path}")
    start = _start(run, store, base, data, job.config)
    bench = load_workbench(base, job.config)

    trained = _train_domains(run, bench, store, start, data, say)
    backbone = trained[-1].adapter.parent / BACKBONE
    drift = _drift(run, bench, [*trained, *_carried(store, start, data)], backbone)
    for item in trained:
        say(_summary(item.card, drift[item.card.name]))
    router = _router(run, data, start, job.config)
    release = publish(store, Harvest(base, start, backbone, tuple(trained), drift, router, job.config.note))
    run.close()
    return release


def _train_domains(
    run: RunFolder,
    bench: Workbench,
    store: Store,
    start: Start,
    data: Dataset,
    say: Callable[[str], None],
) -> list[TrainedAdapter]:
    backbone = store.backbone_dir(start.backbone) if start.backbone else None
    done: list[TrainedAdapter] = []
    for domain in data.domains:
        folder = run.finished(domain.name)
        if folder is None:
            crma = _backbone(bench, backbone)
            with run.stage(domain.name) as working:
                train_domain(bench, crma, domain, working)
            folder = run.path / domain.name
        else:
            say(f"{domain.name}: finished before, not trained again")
        backbone = folder / BACKBONE
        done.append(TrainedAdapter.read(domain, folder / ADAPTER))
        for earlier in done:
            run.finished(earlier.card.name)  # the LoRAs on disk are frozen too: their digests must still hold
    return done


def _backbone(bench: Workbench, saved: Path | None) -> Crma:
    """The backbone to train on. Always read back from disk, so a resumed run sees what an uninterrupted one saw."""
    config = bench.config
    if saved is None:
        return Crma.from_model(bench.model, mode=config.mode, streams=config.streams)
    crma = load_backbone(saved)
    found = (crma.config.mode, crma.config.streams)
    if found != (config.mode, config.streams):
        raise ConfigError(
            f"{saved}: this backbone is {found[0]} with {found[1]} streams, the run wants {config.mode} with "
            f"{config.streams}; give --mode {found[0]} --streams {found[1]}, or train every domain again"
        )
    return crma


def _carried(store: Store, start: Start, data: Dataset) -> list[TrainedAdapter]:
    if not start.carried:
        return []
    adapters = store.release(start.release).adapters
    return [
        TrainedAdapter.read(domain, store.adapter_dir(domain.name, adapters[domain.name].part.version))
        for domain in data.others
        if domain.name in start.carried
    ]


def _start(run: RunFolder, store: Store, base: BaseModel, data: Dataset, config: TrainConfig) -> Start:
    """Chosen once: after this run has published, the live release is no longer what it started from."""
    if run.finished(START) is None:
        start = choose_start(store, base, data, config)
        with run.stage(START) as working:
            (working / "start.json").write_bytes(json_bytes(start.to_json()))
    return Start.from_json(json.loads((run.path / START / "start.json").read_bytes()))


def _drift(
    run: RunFolder, bench: Workbench, adapters: list[TrainedAdapter], backbone: Path
) -> dict[str, float | None]:
    if run.finished(DRIFT) is None:
        measured = measure_drift(bench, load_backbone(backbone), backbone_version(backbone), adapters)
        with run.stage(DRIFT) as working:
            (working / "drift.json").write_bytes(json_bytes(measured))
    drift: dict[str, float | None] = json.loads((run.path / DRIFT / "drift.json").read_bytes())
    return drift


def _router(run: RunFolder, data: Dataset, start: Start, config: TrainConfig) -> Path | None:
    if not config.router:
        return None
    if run.finished(ROUTER) is None:
        with run.stage(ROUTER) as working:
            fit_release_router(data, start.carried, config.seed, working)
    return run.path / ROUTER


def _identity(config: TrainConfig, base: BaseModel, data: Dataset) -> dict[str, Any]:
    return {
        "config": config.to_json(),
        "base_fingerprint": base.fingerprint,
        "data_sha256": data.sha256,
        "domains": [domain.name for domain in data.domains],
    }


def _summary(card: AdapterCard, drift: float | None) -> str:
    loss = card.holdout_loss
    under_final = "" if drift is None else f", drift under the final backbone {drift:+.2%}"
    return (
        f"{card.name}: holdout loss base {loss.base:.3f}, before {loss.before:.3f}, after {loss.after:.3f}"
        f"{under_final}"
    )

"""The whole path: domains in sequence, each on the backbone the one before left, then one release.

    data -> start -> tasks -> router -> for each domain: train, seal -> drift -> publish

What can be refused is refused before the first step of training, which is why the router comes early.

Owns: the order of things and what makes two runs the same run. The modules it names do the rest.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.crma.backbone import load_backbone
from crma_adapters.crma.crma import Crma
from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import BaseModel, resolve_base_model
from crma_adapters.store.card import AdapterCard, read_card
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_training.config import TrainConfig, digest
from crma_training.data.checks.run import refuse_leaks
from crma_training.data.dataset import Dataset, DomainData, domain_names, load_dataset, load_domain
from crma_training.domain import ADAPTER, BACKBONE, backbone_version, train_domain
from crma_training.drift import TrainedAdapter, check_same_holdout, measure_drift
from crma_training.publication import Harvest, publish
from crma_training.routing import fit_release_router
from crma_training.run_folder import RunFolder, json_bytes
from crma_training.start import Start, choose_start, live_release
from crma_training.visibility.holdout import HoldoutLog, measure_earlier
from crma_training.visibility.tensorboard import EVENTS, EventWriter
from crma_training.workbench import Task, Workbench, load_workbench

# Stages beside the domains; no domain's name starts with a dot.
START, ROUTER, DRIFT = ".start", ".router", ".drift"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What the command line asks for. `run` None: a folder under `runs/` named by what the run is."""

    data: Path
    adapters: Path
    config: TrainConfig
    domains: tuple[str, ...] | None = None
    run: Path | None = None


def train_sequence(job: Job, say: Say = print) -> Release:
    """Trains what is not trained yet and publishes; `say` gets a line per stage.

    Raises:
        CrmaError: of the kind that tells what is wrong; finished domains stay finished.
    """
    data = load_dataset(job.data, job.domains, validation_share=job.config.validation_share)
    refuse_leaks(job.data, [domain.name for domain in data.domains], say)
    base, store = resolve_base_model(job.config.model), Store(job.adapters)
    identity = _identity(job.config, base, data)
    with RunFolder(job.run or Path("runs") / digest(identity)[:12], identity) as run:
        say(f"{', '.join(domain.name for domain in data.domains)} on {base.name}; run folder {run.path}")
        start = _start(run, job, store, base, data)
        at_hand = [load_domain(job.data, name) for name in start.carried if name in domain_names(job.data)]
        bench = load_workbench(base, job.config)
        tasks = [bench.task(domain) for domain in data.domains]
        carried = _carried(bench, store, start, at_hand)
        router = _router(run, [*data.domains, *at_hand], data.out_of_domain, job.config)
        trained = _train_domains(run, bench, _start_backbone(store, start), tasks, carried, say)
        backbone = trained[-1].adapter.parent / BACKBONE
        drift = _drift(run, bench, [*trained, *carried], backbone)
        for item in [*trained, *carried]:
            say(_summary(item.card, drift[item.card.name]))
        say(f"report: {_report(run)}; curves: tensorboard --logdir {run.path.parent}")
        live = live_release(store)
        release = publish(
            store, Harvest(base, start, backbone, tuple(trained), drift, router, job.config.note)
        )
        if live is not None and live.number == release.number:
            say(f"nothing new: release {live.number} has this content already")
        return release


def _identity(config: TrainConfig, base: BaseModel, data: Dataset) -> dict[str, Any]:
    return {
        "config": config.to_json(),
        "base_fingerprint": base.fingerprint,
        "data_sha256": data.sha256,
        "domains": [domain.name for domain in data.domains],
    }


def _start(run: RunFolder, job: Job, store: Store, base: BaseModel, data: Dataset) -> Start:
    """Chosen once: after this run has published, the live release is no longer what it started from."""
    if run.finished(START) is None:
        trained = {domain.name for domain in data.domains}
        start = choose_start(store, base, trained, set(domain_names(job.data)), job.config)
        with run.stage(START) as working:
            (working / "start.json").write_bytes(json_bytes(start.to_json()))
    return Start.from_json(json.loads((run.path / START / "start.json").read_bytes()))


def _start_backbone(store: Store, start: Start) -> Path | None:
    return store.backbone_dir(start.backbone) if start.backbone else None


def _carried(
    bench: Workbench, store: Store, start: Start, at_hand: Sequence[DomainData]
) -> list[TrainedAdapter]:
    if not at_hand:
        return []
    entries = store.release(start.release).adapters
    found = []
    for domain in at_hand:
        folder = store.adapter_dir(domain.name, entries[domain.name].part.version)
        found.append(TrainedAdapter(bench.task(domain), folder, read_card(folder)))
        check_same_holdout(bench, found[-1])
    return found


def _router(
    run: RunFolder, domains: Sequence[DomainData], out_of_domain: Sequence[str], config: TrainConfig
) -> Path | None:
    if not config.router:
        return None
    if run.finished(ROUTER) is None:
        with run.stage(ROUTER) as working:
            fit_release_router(
                domains, out_of_domain, config.seed, working, keep_examples=config.keep_examples
            )
    return run.path / ROUTER


def _train_domains(
    run: RunFolder,
    bench: Workbench,
    backbone: Path | None,
    tasks: Sequence[Task],
    carried: Sequence[TrainedAdapter],
    say: Say,
) -> list[TrainedAdapter]:
    done: list[TrainedAdapter] = []
    for task in tasks:
        if run.finished(task.name) is None:
            cut = f", {task.cut} answers cut at {bench.config.max_length} tokens" if task.cut else ""
            say(f"{task.name}: {len(task.train)} rows{cut}")
            crma = _backbone(bench, backbone)
            with run.stage(task.name) as working, EventWriter(run.path / EVENTS / task.name) as events:
                card = train_domain(bench, crma, task, working, events)
                for earlier in done:
                    run.finished(earlier.card.name)  # LoRAs on disk are frozen too: their digests must hold
                log, left = HoldoutLog(working, events.holdout), load_backbone(working / BACKBONE)
                measure_earlier(bench, left, [*carried, *done], card.training.steps, log)
            _report(run)
        else:
            say(f"{task.name}: finished before, not trained again")
        backbone = run.path / task.name / BACKBONE
        adapter = run.path / task.name / ADAPTER
        done.append(TrainedAdapter(task, adapter, read_card(adapter)))
    return done


def _backbone(bench: Workbench, saved: Path | None) -> Crma:
    """The backbone to train on; read back from disk, so a resumed run sees what an uninterrupted one saw."""
    config = bench.config
    if saved is None:
        return Crma.from_model(bench.model, mode=config.mode, rank=config.mixing_rank, seed=config.seed)
    crma = load_backbone(saved)
    found = (crma.config.form, crma.config.mode, crma.config.rank)
    if found != (2, config.mode, config.mixing_rank):
        raise ConfigError(
            f"{saved}: this backbone is of form {found[0]}, mode {found[1]} and rank {found[2]}; the run "
            f"wants form 2, {config.mode}, rank {config.mixing_rank}: give --mode and --mixing-rank as it "
            "has them, or train every domain again"
        )
    return crma


def _drift(
    run: RunFolder, bench: Workbench, adapters: Sequence[TrainedAdapter], backbone: Path
) -> dict[str, float | None]:
    if run.finished(DRIFT) is None:
        measured = measure_drift(bench, load_backbone(backbone), backbone_version(backbone), adapters)
        with run.stage(DRIFT) as working:
            (working / "drift.json").write_bytes(json_bytes(measured))
    drift: dict[str, float | None] = json.loads((run.path / DRIFT / "drift.json").read_bytes())
    return drift


def _report(run: RunFolder) -> Path:
    # Imports this module, which has the stages' names, and matplotlib, which takes a second.
    from crma_training.visibility.html_report import write_report

    return write_report(run.path)


def _summary(card: AdapterCard, drift: float | None) -> str:
    loss = card.holdout_loss
    under_final = "" if drift is None else f", drift under the final backbone {drift:+.2%}"
    return (
        f"{card.name}: holdout loss base {loss.base:.3f}, before {loss.before:.3f}, after {loss.after:.3f}"
        f"{under_final}"
    )

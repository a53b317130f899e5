"""The whole path: domains in sequence, each pinned to what it was trained on, then one release.

    data -> start -> tasks -> router -> for each domain: train, seal -> backbone -> publish

What can be refused is refused before the first step of training, which is why the router comes early.
"""

import dataclasses
import json
import operator
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.crma.backbone import save_backbone
from crma_adapters.crma.crma import Crma
from crma_adapters.models.base_model import BaseModel, resolve_base_model
from crma_adapters.store.card import AdapterCard, read_card
from crma_adapters.store.refresh import MIN_ROWS, PairedLosses
from crma_adapters.store.release import Release
from crma_adapters.store.sources.location import Location
from crma_adapters.store.sources.opening import open_store
from crma_adapters.store.sources.retry import until_no_conflict
from crma_adapters.store.store import Store
from crma_training.config import TrainConfig, digest
from crma_training.consolidate import STAGE, Consolidation, answer_all, consolidate
from crma_training.data.checks.run import check_before_training
from crma_training.data.dataset import Dataset, DomainData, load_dataset
from crma_training.data.formats import parse_columns
from crma_training.data.tokens import end_ids
from crma_training.domain import Beginning, read_backbone, train_domain
from crma_training.learn import ADAPTER, BACKBONE
from crma_training.methods.modular import losses_under
from crma_training.processes import is_main, run_folder_of, wait
from crma_training.publication import RunOutputs, TrainedAdapter, publish
from crma_training.routing import fit_release_router
from crma_training.run_folder import RunFolder, json_bytes
from crma_training.start import Start, choose_start, live_release
from crma_training.starts import starting_point
from crma_training.store_questions import StoreQuestions
from crma_training.taught import Teacher
from crma_training.trainer.checkpoints import last_checkpoint
from crma_training.visibility.tensorboard import EVENTS, EventWriter
from crma_training.workbench import Task, Workbench, load_workbench, resolved

# Stages beside the domains; no domain's name starts with a dot.
START, ROUTER, DRIFT = ".start", ".router", ".drift"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What the command line asks for. `run` None: a folder under `runs/` named by what the run is."""

    data: Path
    adapters: Location
    config: TrainConfig
    domains: tuple[str, ...] | None = None
    run: Path | None = None


def train_sequence(job: Job, say: Say = print) -> Release:
    """Trains what is not trained yet and publishes; `say` gets a line per stage.

    Of several processes (`accelerate launch`) each does the same; the first alone says, fits the router and
    publishes.

    Raises:
        CrmaError: of the kind that tells what is wrong; finished domains stay finished.
    """
    say = say if is_main() else _silent
    data = _data(job, say)
    job = dataclasses.replace(job, config=resolved(job.config))
    base, store = resolve_base_model(job.config.model), open_store(job.adapters)
    identity = _identity(job.config, base, data)
    with (
        run_folder_of(job.run or Path("runs") / digest(identity)[:12]) as folder,
        RunFolder(folder, identity) as run,
    ):
        say(f"{', '.join(domain.name for domain in data.domains)} on {base.name}; run folder {run.path}")
        start = _start(run, job, store, base, data)
        needed = job.config.router or job.config.backbone == "consolidated"
        carried = start.carried if needed else ()
        questions = StoreQuestions.of(store, carried, job.data, data.out_of_domain)
        bench = load_workbench(base, job.config)
        for note in bench.chat.notes:
            say(f"{base.name}: {note}")
        tasks = [bench.task(domain) for domain in data.domains]
        router = _router(run, [*data.domains, *questions.domains], questions.out_of_domain, job.config)
        trained = _train_domains(run, bench, store, start, tasks, say)
        backbone = _backbone(run, bench, store, start, trained, questions, say)
        losses, drift = _refresh(run, bench, trained, backbone)
        for item in trained:
            say(_summary(item.card, drift.get(item.card.name)))
        say(f"report: {_report(run)}; curves: tensorboard --logdir {run.path.parent}")
        if not is_main():
            wait()
            return store.live()
        live = live_release(store)
        router = with_newer_domains(store, start, router, data, questions, job.config)
        outputs = RunOutputs(base, tuple(trained), backbone, losses, drift, router, job.config.note)
        release = until_no_conflict(lambda: publish(store, outputs))
        if live is not None and live.number == release.number:
            say(f"nothing new: release {live.number} has this content already")
        wait()
        return release


def _silent(_line: str) -> None:
    """What all processes but the first say."""


def _data(job: Job, say: Say) -> Dataset:
    """The rows to train on, looked over as `--checks` says; what they were read as is said."""
    config, columns = job.config, parse_columns(job.config.columns)
    data = load_dataset(
        job.data,
        job.domains,
        validation_share=config.validation_share,
        validation_split=config.validation_split,
        columns=columns,
        refuse_leaks=config.checks == "error",
    )
    if config.checks != "off":
        names = [domain.name for domain in data.domains]
        check_before_training(job.data, names, say, refuse=config.checks == "error", columns=columns)
    for domain in data.domains:
        forms = ", ".join(sorted({row.form for row in domain.train}))
        say(f"data: {domain.name}: {len(domain.train)} training rows read as {forms}")
    return data


def _identity(config: TrainConfig, base: BaseModel, data: Dataset) -> dict[str, Any]:
    return {
        "config": config.identity(),
        "base_fingerprint": base.fingerprint,
        "data_sha256": data.sha256,
        "domains": [domain.name for domain in data.domains],
    }


def _start(run: RunFolder, job: Job, store: Store, base: BaseModel, data: Dataset) -> Start:
    """Chosen once: after this run has published, the live release is no longer what it started from."""
    if run.finished(START) is None:
        start = choose_start(store, base, {domain.name for domain in data.domains}, job.config)
        with run.stage(START) as working:
            (working / "start.json").write_bytes(json_bytes(start.to_json()))
    return Start.from_json(json.loads((run.path / START / "start.json").read_bytes()))


def _router(
    run: RunFolder, domains: Sequence[DomainData], out_of_domain: Sequence[str], config: TrainConfig
) -> Path | None:
    if not config.router or not is_main():
        return None
    if run.finished(ROUTER) is None:
        with run.stage(ROUTER) as working:
            fit_release_router(
                domains, out_of_domain, config.seed, working, keep_examples=config.keep_examples
            )
    return run.path / ROUTER


def with_newer_domains(
    store: Store,
    start: Start,
    router: Path | None,
    data: Dataset,
    questions: StoreQuestions,
    config: TrainConfig,
) -> Path | None:
    """The router, fitted again if another run has published domains since this one began."""
    live = live_release(store)
    known = {domain.name for domain in data.domains} | set(start.carried)
    if router is None or live is None or not (newer := sorted(live.adapters.keys() - known)):
        return router
    more = StoreQuestions.of(store, tuple(newer), None, ())
    folder = Path(tempfile.mkdtemp(prefix="crma-router-"))
    domains = [*data.domains, *questions.domains, *more.domains]
    fit_release_router(
        domains, questions.out_of_domain, config.seed, folder, keep_examples=config.keep_examples
    )
    return folder


def _train_domains(
    run: RunFolder, bench: Workbench, store: Store, start: Start, tasks: Sequence[Task], say: Say
) -> list[TrainedAdapter]:
    config, done = bench.config, list[TrainedAdapter]()
    shared = store.backbone_dir(start.backbone) if start.backbone else None
    for task in tasks:
        if run.finished(task.name) is None:
            cut = f", {task.cut} answers cut at {config.max_length} tokens" if task.cut else ""
            dropped = f", {task.dropped} rows dropped as too long" if task.dropped else ""
            say(f"{task.name}: {len(task.train)} rows{cut}{dropped}")
            if checkpoint := last_checkpoint(run.unfinished(task.name)):
                say(f"{task.name}: goes on after step {checkpoint.step}")
            with tempfile.TemporaryDirectory() as scratch:
                beginning = _beginning(bench, task, done, shared, Path(scratch))
                curves = run.path / EVENTS / task.name
                with run.stage(task.name, keep=True) as working, EventWriter(curves) as events:
                    train_domain(bench, task, working, beginning, events)
                    for earlier in done:
                        run.finished(earlier.card.name)  # adapters on disk are frozen too: digests must hold
            _report(run)
        else:
            say(f"{task.name}: finished before, not trained again")
        stage = run.path / task.name
        own = stage / BACKBONE if (stage / BACKBONE).exists() else None
        shared = own or shared
        done.append(TrainedAdapter(task, stage / ADAPTER, read_card(stage / ADAPTER), own))
    return done


def _beginning(
    bench: Workbench, task: Task, done: Sequence[TrainedAdapter], shared: Path | None, scratch: Path
) -> Beginning:
    config = bench.config
    earlier = {item.card.name: (item.adapter, item.task.domain.questions) for item in done}
    start, start_of = starting_point(config, task.domain.questions, earlier, scratch)
    versions = {item.card.name: backbone_free_version(item.adapter) for item in done}
    backbone = None
    if config.backbone == "shared":
        backbone = read_backbone(shared) or _fresh(bench)
    return Beginning(start, tuple(f"{name}@{versions[name]}" for name in start_of), backbone)


def backbone_free_version(adapter: Path) -> str:
    """The version an adapter folder has in any store."""
    from crma_adapters.store.parts import ADAPTER as ADAPTER_PART
    from crma_adapters.store.parts import describe_part

    return describe_part(adapter, ADAPTER_PART).version


def _fresh(bench: Workbench) -> Crma:
    config = bench.config
    return Crma.from_model(bench.model, mode=config.mode, rank=config.rank_of_backbone, seed=config.seed)


def _backbone(
    run: RunFolder,
    bench: Workbench,
    store: Store,
    start: Start,
    trained: Sequence[TrainedAdapter],
    questions: StoreQuestions,
    say: Say,
) -> Path | None:
    """The newest backbone: what the last domain left, the consolidated one if it passes its gate, or None."""
    if bench.config.backbone == "shared":
        return trained[-1].backbone
    if bench.config.backbone == "none":
        return None
    teachers = [
        Teacher(item.card.name, item.adapter, item.backbone, _prompts(item.task, bench)) for item in trained
    ]
    teachers += questions.teachers(bench, store)
    result = consolidated(
        run, bench, teachers, end_ids(bench.chat), start_from=_previous(store, start), say=say
    )
    return run.path / STAGE / BACKBONE if result.passes else None


def consolidated(
    run: RunFolder,
    bench: Workbench,
    teachers: Sequence[Teacher],
    ends: Sequence[int],
    *,
    start_from: Path | None,
    say: Say,
) -> Consolidation:
    """The consolidation as a stage of a run: answered, taught, saved, judged; a finished one is read."""
    if run.finished(STAGE) is None:
        say(f"consolidation: {len(teachers)} teachers answer {sum(len(t.prompts) for t in teachers)} prompts")
        taught = answer_all(run, bench, teachers, ends)
        student = read_backbone(start_from) or _fresh(bench)
        with run.stage(STAGE, keep=True) as working:
            consolidate(bench, student, taught, working)
            base = bench.base
            save_backbone(
                student, working / BACKBONE, base_model=base.name, base_fingerprint=base.fingerprint
            )
    values = json.loads((run.path / STAGE / "consolidation.json").read_bytes())
    passes = values.pop("passes")
    result = Consolidation(**values)
    told = ", ".join(
        f"{name} {before:.3f} -> {result.divergence[name]:.3f}" for name, before in result.before.items()
    )
    verdict = "passes its gate" if passes else "does not pass its gate, so it is not published"
    say(
        f"consolidated backbone: divergence from its teachers {told}; "
        f"generic prompts {result.generic_rise:+.1%}; {verdict}"
    )
    return result


def _previous(store: Store, start: Start) -> Path | None:
    return store.backbone_dir(start.backbone) if start.backbone else None


def _prompts(task: Task, bench: Workbench) -> tuple[tuple[int, ...], ...]:
    from crma_training.taught import sampled

    found = [example.token_ids[: example.answer_start] for example in task.train]
    return sampled(found, bench.config.consolidation_questions, f"{bench.config.seed}/{task.name}")


def _refresh(
    run: RunFolder, bench: Workbench, trained: Sequence[TrainedAdapter], backbone: Path | None
) -> tuple[dict[str, PairedLosses], dict[str, float]]:
    """Validation losses of earlier domains under the last shared backbone, and drift of their holdouts."""
    if run.finished(DRIFT) is None:
        losses, drift = {}, {}
        if bench.config.backbone == "shared" and backbone is not None:
            for item in trained[:-1]:
                if len(item.task.validation) < MIN_ROWS:
                    continue
                own, newest = (
                    losses_under(bench, item.adapter, under, item.task.validation)
                    for under in (item.backbone, backbone)
                )
                version = backbone_free_version(item.adapter)
                losses[item.card.name] = dataclasses.asdict(PairedLosses(version, own, newest))
                then = item.card.holdout_loss.after
                holdout = losses_under(bench, item.adapter, backbone, item.task.holdout)
                weights = [example.learnt_tokens for example in item.task.holdout]
                now = sum(map(operator.mul, holdout, weights)) / sum(weights)
                drift[item.card.name] = (now - then) / then
        with run.stage(DRIFT) as working:
            known = {item.card.name: drift.get(item.card.name) for item in trained}
            (working / "drift.json").write_bytes(json_bytes(known))
            (working / "losses.json").write_bytes(json_bytes(losses))
    stage = run.path / DRIFT
    known = json.loads((stage / "drift.json").read_bytes())
    read = json.loads((stage / "losses.json").read_bytes())
    paired = {n: PairedLosses(v["version"], tuple(v["own"]), tuple(v["newest"])) for n, v in read.items()}
    return paired, {name: value for name, value in known.items() if value is not None}


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

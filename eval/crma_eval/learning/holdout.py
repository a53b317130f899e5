"""`crma-eval holdout`: does each adapter of the live release help on its own domain's held-out rows?

Owns: the comparison. Losses are measured in-process by `crma_training`, on the same rows and precision.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from crma_adapters.crma.attach import attach
from crma_adapters.crma.backbone import load_backbone
from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import resolve_base_model
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release
from crma_eval.report import Report
from crma_training.config import TrainConfig
from crma_training.data.dataset import DomainData, load_dataset
from crma_training.lora import DomainLora
from crma_training.workbench import Workbench, load_workbench


@dataclass(frozen=True)
class HoldoutLoss:
    """Mean loss of one domain's holdout (nats per answer token), by what is attached to the base model."""

    domain: str
    rows: int
    base: float
    backbone: float
    adapter: float
    adapter_without_crma: float

    @property
    def reduction(self) -> float:
        """Relative loss reduction of the served adapter against the bare base model."""
        return 1 - self.adapter / self.base


def add_command(commands: Any) -> None:
    """Add `holdout` to the subcommands of `crma-eval`."""
    parser = commands.add_parser("holdout", help="loss on held-out rows: base, backbone, each adapter")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, as given to crma-train")
    parser.add_argument("--adapters", type=Path, required=True, help="store with a live release")
    parser.add_argument("--rows", type=int, default=0, help="holdout rows per domain (default: all)")
    parser.add_argument("--report", type=Path, help="folder to write holdout.json and holdout.md into")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print, write; status 1 if some adapter does not lower its domain's loss."""
    store = Store(args.adapters)
    release = store.live()
    base = resolve_base_model(release.base_model)
    verify_release(store, release, base_fingerprint=base.fingerprint)
    dataset = load_dataset(args.data)
    domains = [domain for domain in dataset.domains if domain.name in release.adapters]
    if not domains:
        raise ConfigError(
            f"{args.data} has none of the release's domains ({', '.join(release.adapters)}); "
            "pass the data they were trained on"
        )
    bench = load_workbench(base, TrainConfig(model=release.base_model))
    losses = [
        _measure(bench, store, release, domain, args.rows)
        for domain in tqdm(domains, desc="holdout", unit="domain", file=sys.stderr)
    ]
    report = _report(release, losses)
    print(report.markdown())
    if args.report is not None:
        report.write(args.report)
    return 0 if all(loss.reduction > 0 for loss in losses) else 1


def _measure(bench: Workbench, store: Store, release: Release, domain: DomainData, limit: int) -> HoldoutLoss:
    examples = bench.task(domain).holdout[: limit or None]
    base = bench.loss(examples)
    backbone = base
    folder = store.adapter_dir(domain.name, release.adapters[domain.name].part.version)
    if release.backbone is None:
        lora = DomainLora.saved(bench.model, folder)
        adapter = without = bench.loss(examples)
    else:
        with attach(bench.model, load_backbone(store.backbone_dir(release.backbone.version))) as attachment:
            backbone = bench.loss(examples)
            lora = DomainLora.saved(bench.model, folder)
            adapter = bench.loss(examples)
            attachment.enabled = False
            without = bench.loss(examples)
    lora.remove()
    return HoldoutLoss(domain.name, len(examples), base, backbone, adapter, without)


def _report(release: Release, losses: list[HoldoutLoss]) -> Report:
    rows = tuple(
        (
            loss.domain,
            str(loss.rows),
            f"{loss.base:.3f}",
            f"{loss.backbone:.3f}",
            f"{loss.adapter:.3f}",
            f"{loss.adapter_without_crma:.3f}",
            f"{100 * loss.reduction:.1f} %",
        )
        for loss in losses
    )
    figures = {
        "release": release.number,
        "base_model": release.base_model,
        "domains": [vars(x) for x in losses],
    }
    return Report(
        name="holdout",
        title=f"Holdout loss, release {release.number} on {release.base_model}",
        header=("domain", "rows", "base", "backbone", "adapter", "adapter, CRMA off", "loss reduction"),
        rows=rows,
        figures=figures,
        remarks=(
            "Nats per answer token on rows never trained on; `adapter` is what is served: "
            "the domain's LoRA on the release's backbone.",
        ),
    )

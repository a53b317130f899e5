"""One arm of the comparison, in a process of its own: trains block after block, each when told to."""

import contextlib
import io
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import torch

from crma_adapters.crma.attach import Attachment, attach
from crma_adapters.crma.crma import Crma
from crma_adapters.models.base_model import resolve_base_model
from crma_training.config import TrainConfig
from crma_training.data.dataset import load_dataset
from crma_training.data.tokens import Example
from crma_training.fit import fit, own_batches
from crma_training.learn import domain_seed
from crma_training.lora import DomainLora
from crma_training.trainer.groups import ParameterGroup, lora_group, parameter_groups
from crma_training.trainer.metrics import MetricsLog
from crma_training.workbench import Workbench, load_workbench

ArmName = Literal["lora", "crma"]
ARMS: tuple[ArmName, ...] = ("lora", "crma")


@dataclass(frozen=True)
class Work:
    """What both arms do: `blocks` of `steps` optimizer steps each on the rows of `domain`, in one order."""

    data: Path
    domain: str
    config: TrainConfig
    blocks: int
    steps: int


@dataclass(frozen=True)
class Block:
    """One block of steps as measured inside the arm's process. `tokens`: prompts included, padding not."""

    tokens: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Footprint:
    """What an arm took up. `memory_bytes` is the peak: of a GPU's tensors where there is one, else of the
    process.
    """

    parameters: int
    memory_bytes: int
    threads: int
    device: str


def work(task: Work, arm: ArmName, channel: Connection) -> None:
    """The process: waits for a message before each block, answers with its `Block`; at last a `Footprint`.

    An error is sent as text instead.
    """
    try:
        channel.send(_train(task, arm, channel))
    except Exception as error:  # whatever it is, the parent must hear of it
        channel.send(f"{type(error).__name__}: {error}")


def _train(task: Work, arm: ArmName, channel: Connection) -> Footprint:
    bench = load_workbench(resolve_base_model(task.config.model), task.config)
    rows = bench.task(load_dataset(task.data, [task.domain]).domains[0])
    steps = task.blocks * task.steps
    with contextlib.ExitStack() as stack:
        attachment = None
        if arm == "crma":
            crma = Crma.from_model(bench.model, mode=task.config.mode, rank=task.config.mixing_rank)
            attachment = stack.enter_context(attach(bench.model, crma))
        groups = _groups(bench, attachment, task.domain)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))  # the parent has the bar
        log = stack.enter_context(MetricsLog(folder, arm, steps))
        batches = paced(own_batches(rows, task.config, steps), task.steps, channel)
        fit(bench, groups, batches, log, attachment=attachment)
    size = sum(p.numel() for group in groups for p in group.parameters)
    device = next(bench.model.parameters()).device.type
    return Footprint(size, _peak_bytes(), torch.get_num_threads(), device)


def _groups(bench: Workbench, attachment: Attachment | None, domain: str) -> list[ParameterGroup]:
    lora = DomainLora.fresh(bench.model, bench.config, domain_seed(bench.config.seed, domain))
    if attachment is None:
        return [lora_group(bench.config, lora)]
    return parameter_groups(bench.config, lora, attachment.crma)


def paced(
    batches: Iterator[Sequence[Example]], per_block: int, channel: Connection
) -> Iterator[Sequence[Example]]:
    """The batches, held back before every block until a message comes; the block's times are sent after it.

    The loop asks for the next batch when a step is done, so all that a step does lies inside the clocks.
    """
    for first in batches:
        channel.recv()
        tokens, wall_s, cpu_s = 0, time.perf_counter(), time.process_time()
        for number in range(per_block):
            batch = first if number == 0 else next(batches)
            tokens += sum(len(example.token_ids) for example in batch)
            yield batch
        _wait_for_device()
        channel.send(Block(tokens, time.perf_counter() - wall_s, time.process_time() - cpu_s))


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak_bytes() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.is_file():  # unlike getrusage, it does not remember the parent's size across exec
        lines = (line.split() for line in status.read_text(encoding="utf-8").splitlines())
        return next(int(line[1]) * 1024 for line in lines if line[0] == "VmHWM:")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

"""Experience replay: a few stored rows of earlier domains in every later domain's batches."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import TrainingError
from crma_training.data.tokens import Example
from crma_training.fit import Batches
from crma_training.learn import ADAPTER
from crma_training.methods.lora_training import continued_lora, train_lora
from crma_training.methods.method import Lesson, Serving
from crma_training.workbench import Task

BUFFER = "buffer.json"


@dataclass(frozen=True)
class Replay:
    """NAIVE with a memory: `percent` of each domain's training rows are kept, and `percent` of the rows of
    later batches are drawn from what is kept.

    Experience replay with a uniform sample per task (Chaudhry et al. 2019, arXiv:1902.10486; with 1% for
    language models: de Masson d'Autume et al. 2019, arXiv:1906.01076). Two deviations, so that the budget of
    steps and rows stays that of every other method: stored rows replace rows of the batch instead of coming
    on top, and the sample is drawn at a domain's end, when all its rows are known, not by a reservoir.
    """

    name: str
    percent: int
    basis: None = None

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`."""
        batches = self._batches(lesson)
        lora = continued_lora(lesson)
        train_lora(lesson, lora, folder, batches=batches)
        lora.remove()
        stored = {"domain": lesson.task.name, "rows": self.sample(lesson.task, lesson.bench.config.seed)}
        (folder / BUFFER).write_text(json.dumps(stored) + "\n", encoding="utf-8")

    def serving(self, stages: Sequence[Path], domain: int) -> Serving:  # noqa: ARG002
        """The one LoRA, whatever the domain."""
        return Serving(stages[-1] / ADAPTER)

    def sample(self, task: Task, seed: int) -> list[int]:
        """Indices of the training rows to store, ascending: a uniform sample without replacement."""
        count = max(1, self.percent * len(task.train) // 100)
        return sorted(random.Random(f"{seed}/{task.name}/stored").sample(range(len(task.train)), count))

    def _batches(self, lesson: Lesson) -> Batches:
        memory = [row for pair in zip(lesson.earlier, lesson.stages, strict=True) for row in _stored(*pair)]
        if not memory:
            return lesson.batches
        seed = f"{lesson.bench.config.seed}/{lesson.task.name}/replayed"
        return mixed(lesson.batches, memory, self.percent, random.Random(seed))


def mixed(
    batches: Batches, memory: Sequence[Example], percent: int, generator: random.Random
) -> Iterator[list[Example]]:
    """The batches with rows at random places replaced by rows of the memory.

    After every batch exactly `percent` of all rows so far, rounded down, have been replaced. The memory's
    rows come in random order, each of them once before any comes again.
    """
    seen = replayed = 0
    waiting: list[Example] = []
    for batch in batches:
        seen += len(batch)
        due = percent * seen // 100 - replayed
        replayed += due
        rows = list(batch)
        for place in generator.sample(range(len(rows)), due):
            if not waiting:
                waiting = generator.sample(memory, len(memory))
            rows[place] = waiting.pop()
        yield rows


def _stored(task: Task, stage: Path) -> list[Example]:
    stored = json.loads((stage / BUFFER).read_text(encoding="utf-8"))
    if stored["domain"] != task.name or max(stored["rows"]) >= len(task.train):
        raise TrainingError(
            f"{stage / BUFFER} holds rows of {stored['domain']}, not of {task.name} as it is now; "
            "the sequence of domains or their data changed: start the run anew"
        )
    return [task.train[index] for index in stored["rows"]]

"""The rows that `crma-eval routed` asks: holdout and short-answer rows of every domain that a release
serves.
"""

from collections.abc import Sequence
from pathlib import Path

from crma_adapters.errors import ConfigError
from crma_eval.learning.retention.matrix import Asked
from crma_eval.learning.setup import Exam
from crma_router.conversation.messages import conversation_text
from crma_training.data.dataset import load_dataset
from crma_training.data.rows import Row
from crma_training.data.sources import read_rows
from crma_training.data.tokens import encode
from crma_training.workbench import Workbench

SHORT_ANSWERS = "short_answer.jsonl"


def load_asked(bench: Workbench, data: Path, served: Sequence[str], limit: int) -> list[Asked]:
    """Domains of `data` that are `served`, in the data's order; `limit` rows of each kind (0: all).

    Raises:
        ConfigError: none of the domains is served.
        DataError: as `load_dataset`, `read_rows` and `encode`.
    """
    domains = [domain for domain in load_dataset(data).domains if domain.name in served]
    if not domains:
        raise ConfigError(
            f"{data} has none of the release's domains ({', '.join(served)}); "
            "pass the data they were trained on"
        )
    found = []
    for domain in domains:
        path = data / domain.name / SHORT_ANSWERS
        short = read_rows(path) if path.is_file() else ()
        found.append(_asked(bench, domain.name, domain.holdout[: limit or None], short[: limit or None]))
    return found


def _asked(bench: Workbench, name: str, holdout: Sequence[Row], short: Sequence[Row]) -> Asked:
    exam = Exam(
        tuple(encode(row, bench.tokenizer, bench.config.max_length, chat=bench.chat) for row in holdout),
        tuple(encode(row, bench.tokenizer, bench.config.max_length, chat=bench.chat) for row in short),
    )
    return Asked(name, tuple(map(routed_text, holdout)), tuple(map(routed_text, short)), exam)


def routed_text(row: Row) -> str:
    """What the server would route: of a conversation, the last user turns."""
    return conversation_text([{"role": m.role, "content": m.content} for m in row.prompt])

"""Finished cells of a protocol, one small JSON file each, so that none is trained twice."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.io.durable import make_folder_durably, write_durably
from crma_eval.learning.scores import DomainScores, MethodRun, RowScore
from crma_training.config import digest

PARTS = ("holdout", "short_answer")


@dataclass(frozen=True)
class StageCost:
    """What training one domain took: optimizer steps, tokens (prompts included) and seconds of training."""

    steps: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class CellResult:
    """A finished cell.

    Attributes:
        identity: plain JSON of all that decides the run; the journal's key.
        parameters: that answer one query beside the base model's.
        costs: a stage each; empty for a method that trains nothing.
        commit: of the code that trained it.
        routed: its figures with a router choosing; None while they are not measured.
        generic_rise: rise of the loss of the base model's own answers to generic prompts, as a share of the
            base's loss; None for a method that does not answer all domains with one model, or unmeasured.
    """

    run: MethodRun
    identity: Mapping[str, Any]
    parameters: int
    costs: tuple[StageCost, ...]
    commit: str
    routed: Mapping[str, Any] | None = None
    generic_rise: float | None = None

    @property
    def learning_rates(self) -> tuple[float, float]:
        """Of LoRAs and of CRMA's projections."""
        recipe = self.identity["recipe"]
        return recipe["learning_rate"], recipe["crma_learning_rate"]

    @property
    def tokens_per_s(self) -> float | None:
        """Over all stages; None for a method that trains nothing."""
        seconds = sum(cost.seconds for cost in self.costs)
        return sum(cost.tokens for cost in self.costs) / seconds if seconds else None


class Journal:
    """A folder of finished cells. Several processes may share it: a file is written whole or not at all."""

    def __init__(self, folder: Path, say: Callable[[str], None] = print) -> None:
        self._folder, self._say = folder, say

    def find(self, identity: Mapping[str, Any]) -> CellResult | None:
        """The cell of that identity, if it was finished; a damaged file counts as none, and is said."""
        path = self._path(identity)
        if not path.exists():
            return None
        try:
            document = json.loads(path.read_bytes())
            if document.pop("sha256") != digest(document) or document["identity"] != _plain(identity):
                raise ValueError("its content is not what was written")
            return _result(document)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            self._say(f"{path}: damaged ({error}), run again")
            return None

    def keep(self, result: CellResult) -> CellResult:
        """Writes the cell; returns it as it will be read, its losses rounded to six digits."""
        document = _document(result)
        text = json.dumps(document | {"sha256": digest(document)}, separators=(",", ":")) + "\n"
        make_folder_durably(self._folder)
        write_durably(self._folder, self._path(result.identity), text.encode())
        return _result(document)

    def _path(self, identity: Mapping[str, Any]) -> Path:
        name = f"{identity['name']}-seed-{identity['seed']}-{digest(_plain(identity))[:12]}.json"
        return self._folder / name


def _document(result: CellResult) -> dict[str, Any]:
    run = result.run
    states, tables = _Distinct(), []
    for stage in (run.base, *run.matrix):
        tables.append([states.index(name, scores) for name, scores in zip(run.domains, stage, strict=False)])
    return {
        "identity": _plain(result.identity),
        "domains": list(run.domains),
        "tokens": {name: _tokens(scores) for name, scores in zip(run.domains, run.base, strict=True)},
        "states": states.found,
        "base": tables[0],
        "matrix": tables[1:],
        "parameters": result.parameters,
        "costs": [[cost.steps, cost.tokens, round(cost.seconds, 3)] for cost in result.costs],
        "commit": result.commit,
        "routed": None if result.routed is None else dict(result.routed),
        "generic_rise": result.generic_rise,
    }


def _result(document: Mapping[str, Any]) -> CellResult:
    identity, domains = document["identity"], tuple(document["domains"])

    def stage(indices: Sequence[int]) -> tuple[DomainScores, ...]:
        pairs = zip(domains, indices, strict=False)
        return tuple(
            _scores(document["states"][name][index], document["tokens"][name]) for name, index in pairs
        )

    run = MethodRun(
        identity["name"],
        identity["seed"],
        domains,
        stage(document["base"]),
        tuple(stage(indices) for indices in document["matrix"]),
    )
    costs = tuple(StageCost(*cost) for cost in document["costs"])
    return CellResult(
        run,
        identity,
        document["parameters"],
        costs,
        document["commit"],
        document.get("routed"),
        document.get("generic_rise"),
    )


class _Distinct:
    """Every state a domain was measured in, once: most entries of a matrix repeat an earlier one."""

    def __init__(self) -> None:
        self.found: dict[str, list[dict[str, Any]]] = {}

    def index(self, domain: str, scores: DomainScores) -> int:
        """Where the scores stand among the domain's."""
        state = {part: _rows(getattr(scores, part)) for part in PARTS}
        known = self.found.setdefault(domain, [])
        if state not in known:
            known.append(state)
        return known.index(state)


def _rows(rows: Sequence[RowScore]) -> list[Any]:
    return [[float(f"{row.loss:.6g}") for row in rows], "".join("01"[row.exact] for row in rows)]


def _tokens(scores: DomainScores) -> dict[str, list[int]]:
    return {part: [row.tokens for row in getattr(scores, part)] for part in PARTS}


def _scores(state: Mapping[str, Any], tokens: Mapping[str, Sequence[int]]) -> DomainScores:
    parts = (
        tuple(
            RowScore(loss, count, exact == "1")
            for loss, count, exact in zip(state[part][0], tokens[part], state[part][1], strict=True)
        )
        for part in PARTS
    )
    return DomainScores(*parts)


def cell_figures(result: CellResult) -> dict[str, Any]:
    """What the report's JSON says of one cell beside its scores."""
    learning_rate, crma_learning_rate = result.learning_rates
    return {
        "method": result.run.method,
        "seed": result.run.seed,
        "learning_rate": learning_rate,
        "crma_learning_rate": crma_learning_rate,
        "parameters": result.parameters,
        "steps": sum(cost.steps for cost in result.costs),
        "training_seconds": round(sum(cost.seconds for cost in result.costs), 1),
        "training_tokens_per_s": result.tokens_per_s and round(result.tokens_per_s, 1),
        "generic_rise": result.generic_rise,
        "commit": result.commit,
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: tuples are lists."""
    plain: dict[str, Any] = json.loads(json.dumps(values, sort_keys=True))
    return plain


def settings(method: Any) -> dict[str, Any]:
    """A method's class and fields."""
    return {"class": type(method).__name__} | dataclasses.asdict(method)

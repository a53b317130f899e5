"""Eight designs on the same rows: fitted on a part of the training side, chosen on the rest of it.

    training side -> fitted part (and its variants) | validation part, its mistyped copy, neighbouring fields
    fitted part   -> design -> score on validation -> the kept one; the sets of the report only beside it

Owns: the split, the score and the rule. Knows nothing of how a design works, or of tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crma_eval.routing.designs import DESIGNS, Fit, Judge
from crma_eval.routing.embeddings import kept
from crma_eval.routing.history import weighted
from crma_eval.routing.metrics import Floats, auroc, false_positive_rate, macro_f1
from crma_eval.routing.readings import Reader, fit_readers
from crma_eval.routing.sets import EvalSet, load_sets
from crma_eval.routing.slips import mistype
from crma_eval.routing.static_embedder import StaticEmbedder
from crma_router.augment import Augmentation, augment
from crma_router.embedder import DEFAULT_EMBEDDER, Embedder, Embeddings
from crma_router.features import clip
from crma_router.linear import Labels
from crma_router.spelling import spelling
from crma_training.dataset import OUT_OF_DOMAIN, load_dataset
from crma_training.demo_data.clusters import clusters
from crma_training.demo_data.rows import digest
from crma_training.rows import parse_object
from crma_training.small_talk import SMALL_TALK

VALIDATION_SHARE = 4  # one cluster of near-duplicates in four
TIE = 0.005
# Fields whose questions are kept out of the fitted part: what neighbours are in validation.
NEIGHBOURS = ("cqadupstack-tex", "cqadupstack-android", "cqadupstack-wordpress")


@dataclass(frozen=True, eq=False)
class Split:
    """Training-side texts; labels (N,), the last one "none of them". Masks (N,): `fitted`, `validated`,
    `near`."""

    domains: tuple[str, ...]
    texts: tuple[str, ...]
    labels: Labels
    fitted: np.ndarray
    validated: np.ndarray
    near: np.ndarray


@dataclass(frozen=True)
class Scored:
    """One design on one embedding. `score` is the mean of the four figures of validation; test: the same
    figures and macro-F1 of other inside sets, by name."""

    embedding: str
    design: str
    in_domain: float
    typos: float
    far: float
    near: float
    test: Mapping[str, float]

    @property
    def score(self) -> float:
        return (self.in_domain + self.typos + self.far + self.near) / 4


@dataclass(frozen=True)
class ReadOutside:
    """One out-of-domain reading on validation: AUROC and FPR@95TPR."""

    name: str
    far: float
    far_fpr: float
    near: float
    near_fpr: float


@dataclass(frozen=True)
class Comparison:
    """`kept` names the design that the rule chooses. history: macro-F1 of the multi-turn set by way of
    reading."""

    scored: tuple[Scored, ...]
    kept: Scored
    readings: tuple[ReadOutside, ...]
    history: Mapping[str, float]


def compare(data: Path, folder: Path) -> Comparison:
    """Fit, score and choose; embeddings are kept in `folder`."""
    split, sets = read_split(data), load_sets(data)
    texts = [*split.texts, *(_read(text) for one in sets for text in one.texts)]
    mini = kept(DEFAULT_EMBEDDER, folder)
    bench = Bench(split, sets, mini)
    scored = [bench.scored(name, fit) for name, fit in DESIGNS.items()]
    static = Bench(split, sets, StaticEmbedder.distilled(mini, texts))
    scored += [static.scored(name, fit) for name, fit in DESIGNS.items()]
    best = choose(scored)
    return Comparison(tuple(scored), best, bench.outside_readings(), bench.history(DESIGNS[best.design]))


def choose(scored: Sequence[Scored]) -> Scored:
    """The highest score; of those within `TIE` of it, the first, which is the simplest."""
    highest = max(one.score for one in scored)
    return next(one for one in scored if one.score >= highest - TIE)


def read_split(directory: Path) -> Split:
    """The training side of a dataset folder, near-duplicates on one side. Raises as `load_dataset`."""
    data = load_dataset(directory)
    texts = [text for domain in data.domains for text in domain.questions]
    labels = [place for place, domain in enumerate(data.domains) for _ in domain.questions]
    outside = [*data.out_of_domain, *SMALL_TALK]
    sources = _sources(directory / OUT_OF_DOMAIN / "router_train.jsonl")
    near = np.array([False] * len(texts) + [sources.get(text, "").endswith(NEIGHBOURS) for text in outside])
    texts, labels = texts + outside, labels + [len(data.domains)] * len(outside)
    held = np.array([digest("validation", texts[c]) % VALIDATION_SHARE == 0 for c in clusters(texts)])
    names = tuple(domain.name for domain in data.domains)
    return Split(names, tuple(texts), np.array(labels), ~held & ~near, held & ~near, near)


def _sources(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    rows = [parse_object(line, str(path)) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return {str(row["question"]): str(row.get("source", "")) for row in rows}


class Bench:
    """The rows of a split and the sets, embedded by one embedder."""

    def __init__(self, split: Split, sets: Sequence[EvalSet], embedder: Embedder) -> None:
        self._split, self._sets, self._embedder = split, sets, embedder
        vectors, asked = self._encode(split.texts), self._ask(split.texts)
        rows = np.flatnonzero(split.fitted)
        variants = augment([split.texts[row] for row in rows], Augmentation(), seed=0)
        self._fitted = np.concatenate([vectors[rows], self._encode([text for _, text in variants])])
        self._labels = split.labels[np.concatenate([rows, rows[[origin for origin, _ in variants]]])]
        inside = split.labels < len(split.domains)
        self._inside = split.validated & inside
        self._valid = asked[self._inside]
        self._far, self._near = asked[split.validated & ~inside], asked[split.near]
        mistyped = [mistype(split.texts[row], "validation") for row in np.flatnonzero(self._inside)]
        self._typos = self._ask(mistyped)
        self._tested = {one.name: self._ask(one.texts) for one in sets}

    def scored(self, name: str, fit: Fit) -> Scored:
        """One design, fitted and judged."""
        judge = fit(self._fitted, self._labels, 0)
        inside, labels = judge(self._valid), self._split.labels[self._inside]
        return Scored(
            self._embedder.name,
            name,
            self._f1(labels, inside.domains),
            self._f1(labels, judge(self._typos).domains),
            auroc(inside.outside, _read_outside(judge, self._far)),
            auroc(inside.outside, _read_outside(judge, self._near)),
            self._test(judge),
        )

    def outside_readings(self) -> tuple[ReadOutside, ...]:
        """Every out-of-domain reading, of the same fitted rows."""
        readers = fit_readers(self._fitted, self._labels, self._valid)
        return tuple(self._read(name, reader) for name, reader in readers.items())

    def history(self, fit: Fit) -> dict[str, float]:
        """Macro-F1 of the conversations, by the way their turns are read."""
        judge = fit(self._fitted, self._labels, 0)
        one = next(one for one in self._sets if one.name == "multi-turn")
        ways = {
            "last turn alone": self._ask([question.turns[-1] for question in one.questions]),
            "last turn, behind those before while it is short": self._tested[one.name],
            "turns weighted 1, 1/2, 1/4 ...": weighted(one, self._ask),
        }
        return {way: self._f1(self._places(one), judge(vectors).domains) for way, vectors in ways.items()}

    def _test(self, judge: Judge) -> dict[str, float]:
        readings = {one.name: judge(self._tested[one.name]) for one in self._sets}
        inside = readings["in-domain"].outside
        return {
            one.name: self._f1(self._places(one), readings[one.name].domains)
            if one.inside
            else auroc(inside, readings[one.name].outside)
            for one in self._sets
        }

    def _read(self, name: str, reader: Reader) -> ReadOutside:
        inside, far, near = (reader(part) for part in (self._valid, self._far, self._near))
        return ReadOutside(
            name, auroc(inside, far), false_positive_rate(inside, far), auroc(inside, near),
            false_positive_rate(inside, near),
        )  # fmt: skip

    def _places(self, one: EvalSet) -> Labels:
        return np.array([self._split.domains.index(label) for label in one.labels])

    def _f1(self, labels: Labels, logits: Floats | Embeddings) -> float:
        names = self._split.domains
        return macro_f1([names[label] for label in labels], [names[place] for place in logits.argmax(axis=1)])

    def _encode(self, texts: Sequence[str]) -> Embeddings:
        """As a fit reads them."""
        return self._embedder.encode([clip(text) for text in texts])

    def _ask(self, texts: Sequence[str]) -> Embeddings:
        """As a router reads them: typing mistakes put right."""
        return self._encode([_read(text) for text in texts])


def _read(text: str) -> str:
    return spelling().corrected(clip(text))


def _read_outside(judge: Judge, vectors: Embeddings) -> Floats:
    return np.asarray(judge(vectors).outside if len(vectors) else (), dtype=np.float64)

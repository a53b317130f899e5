"""The sides of the router's queries: what it is fitted on, and what it is only asked.

A query that says nearly the same as another lies on its side (clusters.py), whatever their labels.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from crma_training.demo_data.clusters import clusters
from crma_training.demo_data.query_sets import BEIR
from crma_training.demo_data.rows import FieldQuery, Query, digest, shuffled
from crma_training.demo_data.sentence import normalised

OUT_OF_DOMAIN = "out_of_domain"


@dataclass(frozen=True)
class RouterSizes:
    """At most this many packaged queries: of a domain, and of everyday life; for training and as many for
    evaluation. What is written to be fitted on comes on top.
    `field`: of each field, whichever side it is on."""

    domain: int = 400
    out_of_domain: int = 1000
    field: int = 60


@dataclass(frozen=True)
class RouterQueries:
    """The two sides; no query is on both, nor says nearly the same as one of the other. What is asked has
    none of the fields that are fitted on."""

    train: list[Query]
    evaluation: list[Query]


@dataclass(frozen=True)
class DemoQueries:
    """`routed`: by domain, and those of none under `out_of_domain`. Only ever asked: `near` (neighbouring
    fields) and `far` (others), no field of which is fitted on."""

    routed: Mapping[str, RouterQueries]
    near: list[FieldQuery]
    far: list[FieldQuery]


@dataclass(frozen=True)
class Labelled:
    """`label`: a domain or `out_of_domain`. `field`: of a neighbouring or far field, and `judged` if no query
    of it may be fitted on. `fitted`: written to be fitted on, all of them beside the size; never asked."""

    query: Query
    label: str
    field: str = ""
    judged: str = ""
    fitted: bool = False


def drawn(labelled: list[Labelled], sizes: RouterSizes) -> DemoQueries:
    """The sides: a query is trained on or asked by the hash of its cluster, or trained on where one of the
    cluster is `fitted`; `judged` ones are only asked, but not where one of the cluster is trained on."""
    distinct = list({_key(one.query.question): one for one in labelled}.values())
    texts = [one.query.question for one in distinct]
    groups = clusters(texts)
    written = {group for one, group in zip(distinct, groups, strict=True) if one.fitted}
    trained = [group in written or digest("side", _key(texts[group])) % 2 == 0 for group in groups]
    fitted = {g for one, g, side in zip(distinct, groups, trained, strict=True) if side and not one.judged}
    train = [one for one, side in zip(distinct, trained, strict=True) if side and not one.judged]
    asked = [one for one, group in zip(distinct, groups, strict=True) if group not in fitted]
    labels = sorted({one.label for one in distinct})
    return DemoQueries(
        routed={
            name: RouterQueries(
                _side(train, name, sizes), _side([one for one in asked if not one.field], name, sizes)
            )
            for name in labels
        },
        near=_judged(asked, "near", sizes),
        far=_judged(asked, "far", sizes),
    )


def _side(labelled: Iterable[Labelled], label: str, sizes: RouterSizes) -> list[Query]:
    own = [one for one in labelled if one.label == label]
    size = sizes.out_of_domain if label == OUT_OF_DOMAIN else sizes.domain
    plain = [one.query for one in own if not one.field and not one.fitted]
    talk, rest = [q for q in plain if _is_talk(q)], [q for q in plain if not _is_talk(q)]
    kept = [one.query for one in own if one.fitted]
    kept += _mixed(talk, label) + _mixed(rest, label)[: size - len(talk)]
    for _, of_field in _by_field(one for one in own if one.field):
        kept += [one.query for one in of_field[: sizes.field]]
    return _mixed(kept, label)


def _judged(asked: Iterable[Labelled], kind: str, sizes: RouterSizes) -> list[FieldQuery]:
    found: list[FieldQuery] = []
    for field, group in _by_field(one for one in asked if one.judged == kind):
        for one in group[: sizes.field]:
            query = one.query
            found.append(FieldQuery(query.question, query.source, query.entry, query.licence, field))
    return found


def _by_field(labelled: Iterable[Labelled]) -> Iterator[tuple[str, list[Labelled]]]:
    mixed = shuffled(labelled, lambda one: one.query.source + one.query.entry, "field")
    for field, group in groupby(sorted(mixed, key=lambda one: one.field), key=lambda one: one.field):
        yield field, list(group)


def _key(text: str) -> str:
    return normalised(text) or text.casefold()


def _mixed(queries: Iterable[Query], salt: str) -> list[Query]:
    return shuffled(queries, lambda query: query.source + query.entry, salt)


def _is_talk(query: Query) -> bool:
    return not query.source.startswith(BEIR)

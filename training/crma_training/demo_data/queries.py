"""Real queries for the router: by domain, of neighbouring fields, and of no domain at all."""

from collections.abc import Iterator, Mapping

from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.query_sets import asked, asked_to_fit, misjudged, read_query_sets
from crma_training.demo_data.rows import Query
from crma_training.demo_data.sides import OUT_OF_DOMAIN, DemoQueries, Labelled, RouterSizes, drawn
from crma_training.demo_data.topics import Topics, read_topics

# Sets that are a domain's, and those of which only a query that names something of it is: bioasq and nfcorpus
# are of molecular biology and groceries too, the exchanges for programmers and physicists of careers and
# books.
_WHOLE = {"medical": ("trec-covid",), "financial": ("fiqa",), "code": ("cqadupstack-unix",)}
_WHERE_STRONG = {"medical": ("bioasq", "nfcorpus")}
_WHERE_NAMED = {"code": ("cqadupstack-programmers",), "science": ("cqadupstack-physics",)}
_GENERAL = ("quora", "nq", "nq-dev")
_TALK = ("chat", "small talk")
# Fields outside that have a set of their own, neighbouring ones and others; more neighbours are found in the
# general sets by their words (topics.toml).
_FITTED_FIELDS = {
    "cqadupstack-tex": "typesetting",
    "cqadupstack-android": "android",
    "cqadupstack-wordpress": "wordpress",
    "hotpotqa": "encyclopaedia",
    "dbpedia-entity": "names",
    **{f"miracl-{language}": f"language {language}" for language in ("de", "es", "fr", "id", "ru", "zh")},
}
_MIXED = ("hotpotqa", "dbpedia-entity")  # of these, only what touches no domain
_JUDGED_FIELDS = {
    "cqadupstack-gis": "maps",
    "cqadupstack-webmasters": "webmasters",
    "cqadupstack-stats": "statistics",
    "cqadupstack-mathematica": "mathematica",
}
_FAR_FIELDS = {"cqadupstack-gaming": "games", "cqadupstack-english": "english"}


def read_queries(archives: Archives, sizes: RouterSizes) -> DemoQueries:
    """All of them, each with one label, from the pinned packages."""
    topics = read_topics()
    names = [*_WHOLE.values(), *_WHERE_STRONG.values(), *_WHERE_NAMED.values(), _GENERAL, _TALK]
    wanted = [name for group in names for name in group] + [*_FITTED_FIELDS, *_JUDGED_FIELDS, *_FAR_FIELDS]
    wrong = misjudged()
    sets = {
        name: [q for q in queries if not topics.unfit(q.question) and q.question not in wrong]
        for name, queries in read_query_sets(archives, wanted).items()
    }
    return drawn(list(_labelled(sets, topics)), sizes)


def _labelled(sets: Mapping[str, list[Query]], topics: Topics) -> Iterator[Labelled]:
    for domain, queries in asked().items():
        yield from (Labelled(query, domain) for query in queries)
    for domain, queries in asked_to_fit().items():
        yield from (Labelled(query, domain, fitted=True) for query in queries)
    for domain in topics.strong:
        for query in _of_domain(sets, topics, domain):
            yield Labelled(query, domain)
    for name in _GENERAL:
        for query in sets[name]:
            yield from _general(query, topics)
    for name in _TALK:
        yield from (Labelled(query, OUT_OF_DOMAIN) for query in sets[name])
    for fields, judged in ((_FITTED_FIELDS, ""), (_JUDGED_FIELDS, "near"), (_FAR_FIELDS, "far")):
        for name, field in fields.items():
            kept = (q for q in sets[name] if name not in _MIXED or not topics.mentions(q.question))
            yield from (Labelled(query, OUT_OF_DOMAIN, field, judged) for query in kept)


def _of_domain(sets: Mapping[str, list[Query]], topics: Topics, domain: str) -> Iterator[Query]:
    found = [query for name in _WHOLE.get(domain, ()) for query in sets[name]]
    strong = [query for name in _WHERE_STRONG.get(domain, ()) for query in sets[name]]
    found += [query for query in strong if topics.strong[domain].search(query.question)]
    named = [query for name in _WHERE_NAMED.get(domain, ()) for query in sets[name]]
    found += [q for q in named if topics.touches(domain, q.question) and not topics.about_work(q.question)]
    return (query for query in found if not topics.claimed(domain, query.question))


def _general(query: Query, topics: Topics) -> Iterator[Labelled]:
    """A query of a general set: a domain's, a neighbour's or everyday life's; most are none of these."""
    domain = topics.speaks_of(query.question)
    fitted, judged = topics.borders(query.question)
    if domain is not None:
        yield Labelled(query, domain)
    elif fitted is not None:
        yield Labelled(query, OUT_OF_DOMAIN, fitted)
    elif judged is not None:
        yield Labelled(query, OUT_OF_DOMAIN, judged, "near")
    elif topics.everyday(query.question):
        yield Labelled(query, OUT_OF_DOMAIN)

"""Which words give a general query away as one domain's."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Topics:
    """What is asked of a query; every test is on whole words."""

    strong: dict[str, re.Pattern[str]]
    any_domain: re.Pattern[str]
    touching: dict[str, re.Pattern[str]]
    everyday_life: re.Pattern[str]
    show: re.Pattern[str]
    not_for_a_demo: re.Pattern[str]
    elsewhere: dict[str, re.Pattern[str]]
    career: re.Pattern[str]
    trivia: re.Pattern[str]
    fitted_neighbours: dict[str, re.Pattern[str]]
    judged_neighbours: dict[str, re.Pattern[str]]

    def speaks_of(self, query: str) -> str | None:
        """The one domain whose strong words stand in `query` in their own sense; None if there is none or
        more than one, or if the query asks about a profession, a show or general knowledge."""
        if self.show.search(query) or self.career.search(query) or self.trivia.search(query):
            return None
        domains = [domain for domain, pattern in self.strong.items() if pattern.search(query)]
        if len(domains) != 1 or self.elsewhere[domains[0]].search(query):
            return None
        return domains[0]

    def claimed(self, domain: str, query: str) -> bool:
        """Whether `query`, from a source of `domain`, is another domain's by its strong words, or about the
        profession: then it is nobody's."""
        others = any(pattern.search(query) for name, pattern in self.strong.items() if name != domain)
        return others or self.elsewhere[domain].search(query) is not None

    def about_work(self, query: str) -> bool:
        """Whether `query` is about a profession or its study rather than its subject."""
        return self.career.search(query) is not None

    def borders(self, query: str) -> tuple[str | None, str | None]:
        """The one neighbouring field that `query` speaks of, fitted and judged; None where it is not one
        alone, where it is a domain's, or of a show."""
        if self.show.search(query) or any(pattern.search(query) for pattern in self.strong.values()):
            return None, None
        fitted, judged = (
            [name for name, pattern in fields.items() if pattern.search(query)]
            for fields in (self.fitted_neighbours, self.judged_neighbours)
        )
        if len(fitted) + len(judged) != 1:
            return None, None
        return (fitted[0], None) if fitted else (None, judged[0])

    def mentions(self, query: str) -> bool:
        """Whether `query` touches any of the domains, in the widest sense."""
        return self.any_domain.search(query) is not None

    def everyday(self, query: str) -> bool:
        """Whether `query` is about everyday life and touches none of the domains."""
        return self.everyday_life.search(query) is not None and not self.mentions(query)

    def touches(self, domain: str, query: str) -> bool:
        """Whether any word of `domain`, strong or weak, stands in `query`."""
        return self.touching[domain].search(query) is not None

    def unfit(self, query: str) -> bool:
        """Whether `query` is one that no demo should carry."""
        return self.not_for_a_demo.search(query) is not None


@cache
def read_topics() -> Topics:
    """The topics of topics.toml."""
    table = tomllib.loads(files(__package__).joinpath("topics.toml").read_text("utf-8"))
    strong, wide = table["strong"], table["wide"]
    return Topics(
        strong=_patterns(strong),
        any_domain=_pattern(word for group in (strong, wide) for words in group.values() for word in words),
        touching={domain: _pattern([*strong[domain], *wide[domain]]) for domain in strong},
        everyday_life=_pattern(table["everyday"]),
        show=_pattern(table["show"]),
        not_for_a_demo=_pattern(table["unfit"]),
        elsewhere=_patterns(table["elsewhere"]),
        career=_pattern(table["career"]),
        trivia=_pattern(table["trivia"]),
        fitted_neighbours=_patterns(table["fitted_neighbours"]),
        judged_neighbours=_patterns(table["judged_neighbours"]),
    )


def _patterns(groups: Mapping[str, Iterable[str]]) -> dict[str, re.Pattern[str]]:
    return {name: _pattern(words) for name, words in groups.items()}


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w+#])(?:{'|'.join(words)})(?![\w+#])", re.IGNORECASE)

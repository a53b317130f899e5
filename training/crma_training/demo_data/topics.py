"""Which words give a general query away as one domain's.

Owns: reading queries by their words; the words lie in topics.toml. Does not know where queries come from.
`speaks_of` is strict (strong words of one domain only); `mentions` is wide, so that what is kept as out of
domain is so.
"""

import re
import tomllib
from collections.abc import Iterable
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

    def speaks_of(self, query: str) -> str | None:
        """The one domain whose strong words stand in `query`; None if there is none or more than one."""
        if self.show.search(query):
            return None
        domains = [domain for domain, pattern in self.strong.items() if pattern.search(query)]
        return domains[0] if len(domains) == 1 else None

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
        strong={domain: _pattern(words) for domain, words in strong.items()},
        any_domain=_pattern(word for group in (strong, wide) for words in group.values() for word in words),
        touching={domain: _pattern([*strong[domain], *wide[domain]]) for domain in strong},
        everyday_life=_pattern(table["everyday"]),
        show=_pattern(table["show"]),
        not_for_a_demo=_pattern(table["unfit"]),
    )


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w+#])(?:{'|'.join(words)})(?![\w+#])", re.IGNORECASE)

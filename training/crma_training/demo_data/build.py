"""From archives to rows: reads every domain, splits it, adds the router's queries."""

from collections.abc import Callable

from tqdm import tqdm

from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.financial import read_financial
from crma_training.demo_data.legal import read_legal
from crma_training.demo_data.medical import read_medical
from crma_training.demo_data.packages import PACKAGES
from crma_training.demo_data.python_code import read_code
from crma_training.demo_data.queries import read_queries
from crma_training.demo_data.rows import DomainEntries
from crma_training.demo_data.science import read_science
from crma_training.demo_data.sides import RouterSizes
from crma_training.demo_data.split import DomainRows, Sizes, split
from crma_training.demo_data.wordnet import Synset, read_synsets
from crma_training.demo_data.write import DemoData

Reader = Callable[[Archives, list[Synset]], DomainEntries]

READERS: dict[str, Reader] = {
    "medical": lambda archives, _: read_medical(archives),
    "legal": read_legal,
    "financial": read_financial,
    "code": read_code,
    "science": read_science,
}


def build(archives: Archives, sizes: Sizes, router_sizes: RouterSizes) -> DemoData:
    """The whole demo data. Raises DataError if a package holds less than is asked for."""
    synsets = read_synsets(archives)
    domains: dict[str, DomainRows] = {}
    progress = tqdm(READERS.items(), desc="build", unit="domain")
    for name, read in progress:
        progress.set_postfix_str(name)
        domains[name] = split(name, read(archives, synsets), sizes)
    return DemoData(domains, read_queries(archives, router_sizes), PACKAGES)

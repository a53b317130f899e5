"""The questions of a store's domains: from a data folder at hand, else those that its router keeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import ConfigError
from crma_adapters.store.parts import ROUTER_EXAMPLES_FILE
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_router.classifier.data import RouterData
from crma_router.classifier.kept_examples import load_examples
from crma_training.consolidate import GENERIC
from crma_training.data.dataset import DomainData, domain_names, load_domain
from crma_training.data.tokens import prompt_ids
from crma_training.small_talk import SMALL_TALK
from crma_training.start import live_release
from crma_training.taught import Teacher, sampled
from crma_training.workbench import Workbench

GENERIC_SHARE = 2  # as many generic prompts as questions of two domains


@dataclass(frozen=True)
class StoreQuestions:
    """Questions of the release's domains that are not trained now, and of none."""

    domains: tuple[DomainData, ...]
    out_of_domain: tuple[str, ...]

    @classmethod
    def of(
        cls, store: Store, names: Sequence[str], data: Path | None, out_of_domain: Sequence[str]
    ) -> "StoreQuestions":
        """Raises `ConfigError` for a domain whose questions are neither in `data` nor kept by the router."""
        at_hand = set(domain_names(data)) if data is not None else set()
        live = live_release(store)
        kept = kept_questions(store, live) if set(names) - at_hand or not out_of_domain else None
        found = []
        for name in names:
            if data is not None and name in at_hand:
                found.append(load_domain(data, name))
            elif kept is not None and name in kept.examples:
                found.append(DomainData(name, (), (), tuple(kept.examples[name])))
            else:
                raise ConfigError(
                    f"{store.root}: the live release also serves {name}, whose questions are needed and its "
                    "router has not kept; put its data beside the other domains, or give --no-router"
                )
        elsewhere = tuple(out_of_domain) or tuple(kept.out_of_domain if kept else ())
        return cls(tuple(found), elsewhere)

    def teachers(self, bench: Workbench, store: Store) -> list[Teacher]:
        """The live bundles of these domains, and the base model for generic prompts."""
        live, config = live_release(store), bench.config
        most, found = config.consolidation_questions, []
        for domain in self.domains:
            assert live is not None
            entry = live.placed().adapters[domain.name]
            version = live.placed().backbone_of(entry)
            prompts = [prompt_ids(text, bench.chat) for text in domain.questions]
            found.append(
                Teacher(
                    domain.name,
                    store.adapter_dir(domain.name, entry.part.version),
                    store.backbone_dir(version) if version else None,
                    sampled(prompts, most, f"{config.seed}/{domain.name}"),
                )
            )
        generic = [prompt_ids(text, bench.chat) for text in (*SMALL_TALK, *self.out_of_domain)]
        prompts_of_none = sampled(generic, GENERIC_SHARE * most, f"{config.seed}/{GENERIC}")
        return [*found, Teacher(GENERIC, None, None, prompts_of_none)]


def kept_questions(store: Store, live: Release | None) -> RouterData | None:
    """The questions that the live router keeps; None if there is no router, or it keeps none."""
    if live is None or live.router is None:
        return None
    folder = store.root / "router" / live.router.version
    return load_examples(folder) if (folder / ROUTER_EXAMPLES_FILE).exists() else None

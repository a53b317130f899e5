"""The arms of the ablation: what answers a question, by the model name a request asks for."""

from collections.abc import Container, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Arm:
    """`pattern` gives the model name for a domain; `meaning` says in words what then answers."""

    name: str
    pattern: str
    meaning: str

    def model(self, domain: str) -> str:
        """The model name to ask for."""
        return self.pattern.format(domain=domain)


PLAIN = "{domain}-lora"
"""Under which name in the store a domain's LoRA lies that was trained without CRMA."""

ON = Arm("on", "{domain}", "the domain's LoRA on the release's CRMA: what is served")
OFF = Arm("off", "{domain}:crma-off", "the same LoRA, CRMA switched off for this request")
LORA_ONLY = Arm("lora-only", PLAIN, "a LoRA of the same size, data, steps and seed, trained without CRMA")
BASE = Arm("base", "base", "the bare base model")
CRMA_ONLY = Arm("crma-only", "backbone", "the release's CRMA without any LoRA")

ARMS = (ON, OFF, LORA_ONLY, BASE, CRMA_ONLY)


def answerable(domains: Sequence[str], models: Container[str]) -> tuple[Arm, ...]:
    """The arms whose models are there for every domain."""
    return tuple(arm for arm in ARMS if all(arm.model(domain) in models for domain in domains))

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


LORA, MIXER = "{domain}-lora", "{domain}-mixer"
"""Under which names a domain's control adapters stand in the release."""

ON = Arm("on", "{domain}", "the domain's bundle: what is served")
OFF = Arm(
    "off",
    "{domain}:crma-off",
    "the same bundle, every CRMA switched off for this request: of a LoRA trained with CRMA what it is "
    "without it, of a mixer nothing, which is the base model",
)
LORA_ONLY = Arm("lora-only", LORA, "a LoRA on the bare base model: the same rows, steps and seed, no CRMA")
MIXER_ONLY = Arm(
    "mixer-only", MIXER, "a mixer on the bare base model: the same rows, steps and seed, no LoRA"
)
BASE = Arm("base", "base", "the bare base model")
BACKBONE = Arm(
    "backbone", "backbone", "the release's newest backbone alone: one CRMA, no adapter of any domain"
)

ARMS = (ON, OFF, LORA_ONLY, MIXER_ONLY, BASE, BACKBONE)


def answerable(domains: Sequence[str], models: Container[str]) -> tuple[Arm, ...]:
    """The arms whose models are there for every domain."""
    return tuple(arm for arm in ARMS if all(arm.model(domain) in models for domain in domains))

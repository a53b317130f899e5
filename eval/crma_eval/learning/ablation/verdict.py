"""What the counts say, in plain sentences that follow from the numbers either way."""

from crma_eval.learning.ablation.arms import BACKBONE, BASE, LORA_ONLY, MIXER_ONLY, OFF, ON, Arm
from crma_eval.learning.ablation.results import Results
from crma_eval.stats import Paired

ALPHA = 0.05

_OTHER = {
    OFF: "the same weights with CRMA switched off",
    LORA_ONLY: "LoRAs trained without CRMA",
    MIXER_ONLY: "mixers trained without a LoRA",
    BASE: "the base model alone",
    BACKBONE: "the newest backbone alone",
}


def shown_better(result: Paired) -> bool:
    """Whether the first arm is better by more than chance explains."""
    return result.lead > 0 and result.p < ALPHA


def verdicts(results: Results) -> tuple[str, ...]:
    """A sentence per arm that `on` is compared with, CRMA off first."""
    return tuple(_verdict(results, arm) for arm in results.arms if arm != ON)


def _verdict(results: Results, other: Arm) -> str:
    compared = results.paired(ON, other)
    on, off = results.share(ON).right, results.share(other).right
    counts = f"{on} against {off} of {compared.asked} right, McNemar's exact p = {p_text(compared.p)}"
    if compared.p < ALPHA and compared.lead:
        word = "better" if compared.lead > 0 else "worse"
        sentence = (
            f"on is {word} than {other.name} ({_OTHER[other]}) by {abs(compared.lead)} of {compared.asked}: "
            f"{counts}."
        )
    else:
        sentence = (
            f"No difference between on and {other.name} ({_OTHER[other]}) was shown: {counts}. "
            "That does not show that there is none."
        )
    if other == OFF:
        sentence += f" {results.same(ON, OFF)} of {compared.asked} answers are the same in both. "
        sentence += (
            "Off takes away what was trained together: the gap says that the parts depend on each other, not "
            "that CRMA makes a better model, which is what on against lora-only says."
        )
    return sentence


def p_text(p: float) -> str:
    """Three decimals where they say something, else powers of ten."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"

"""The ablation's report: counts, comparisons, what the arms are, the answers that differ."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

from crma_eval.learning.ablation.arms import ARMS, OFF, ON, Arm
from crma_eval.learning.ablation.ask import ORDER_SEED
from crma_eval.learning.ablation.figures import figures
from crma_eval.learning.ablation.plot import draw
from crma_eval.learning.ablation.results import Results
from crma_eval.learning.ablation.verdict import p_text, verdicts
from crma_eval.report import Image, Report, Section
from crma_eval.stats import Share

_SHOWN = 20
_CELL_CHARACTERS = 60


@dataclass(frozen=True)
class Circumstances:
    """What a reader must know besides the answers."""

    base: str
    max_tokens: int
    in_flight: int
    data: str
    training: dict[str, Any] | None = None


def ablation_report(results: Results, about: Circumstances) -> Report:
    """Everything that is written."""
    title = f"CRMA on and off, request by request, on {about.base or 'an unnamed base model'}"
    return Report(
        name="ablation",
        title=title,
        header=("arm", "right", "95% interval", "reference occurs", "cut"),
        rows=tuple(_row(results, arm) for arm in results.arms),
        figures={**dataclasses.asdict(about), "order_seed": ORDER_SEED, **figures(results)},
        remarks=(*verdicts(results), *_left_out(results), _method(results, about)),
        sections=(
            _by_domain(results, title),
            _on_off(results),
            Section("What the arms are", ("arm", "model asked for", "what answers"), _meanings(results)),
            *_disagreements(results),
            *_wrong(results),
        ),
    )


def _row(results: Results, arm: Arm) -> tuple[str, ...]:
    whole = results.share(arm)
    counts = (f"{whole.right}/{whole.asked}", _interval(whole), results.mentioned(arm), results.cut(arm))
    return (arm.name, *map(str, counts))


def _by_domain(results: Results, title: str) -> Section:
    rows = []
    for arm in results.arms:
        parts = [results.share(arm, domain) for domain in results.domains]
        rows.append((arm.name, *(f"{part.right}/{part.asked} ({_interval(part)})" for part in parts)))
    caption = "Share of questions answered exactly, by arm and domain, with Wilson's 95% intervals"
    image = Image("ablation.png", caption, partial(draw, results, title))
    return Section("By domain", ("arm", *results.domains), tuple(rows), images=(image,))


def _interval(part: Share) -> str:
    low, high = part.interval
    return f"{100 * low:.0f}-{100 * high:.0f} %"


def _left_out(results: Results) -> list[str]:
    missing = [arm for arm in ARMS if arm not in results.arms]
    return [
        f"Left out, because the server does not list its model for every domain: {arm.name} "
        f"(`{arm.model('DOMAIN')}`)."
        for arm in missing
    ]


def _method(results: Results, about: Circumstances) -> str:
    asked = len(results.questions)
    return (
        f"{asked} questions from `{about.data}`, evenly spaced, none trained on in these words "
        "(whether their facts were, in other words, is the dataset's to say). One run on one live server; "
        f"every question to every arm before the next, arms in random order (seed {ORDER_SEED}), "
        f"{about.in_flight} requests in flight; greedy, at most {about.max_tokens} tokens. Right: the whole "
        "answer equals the reference but for case, spacing, punctuation at the ends and a leading article. "
        "`reference occurs` counts answers that hold it anywhere, `cut` those that ran out of tokens. "
        "Intervals are Wilson's; p is McNemar's exact, not corrected for the number of comparisons: on "
        "against off is the one this was made for. Every answer stands in ablation.json."
    )


def _on_off(results: Results) -> Section:
    rows = []
    for arm in results.arms:
        if arm == ON:
            continue
        for domain in (None, *results.domains) if arm == OFF else (None,):
            compared = results.paired(ON, arm, domain)
            rows.append(
                (
                    f"on, {arm.name}",
                    domain or "all",
                    str(compared.asked),
                    str(compared.only_first),
                    str(compared.only_second),
                    p_text(compared.p),
                    str(results.same(ON, arm, domain)),
                )
            )
    header = ("arms", "domain", "asked", "only the first right", "only the second right", "p", "same answer")
    return Section("Question by question", header, tuple(rows))


def _meanings(results: Results) -> tuple[tuple[str, ...], ...]:
    return tuple((arm.name, f"`{arm.model('DOMAIN')}`", arm.meaning) for arm in results.arms)


def _disagreements(results: Results) -> list[Section]:
    """Questions that tell on from off."""
    if OFF not in results.arms:
        return []
    differing = [i for i in range(len(results.questions)) if results.right(ON, i) != results.right(OFF, i)]
    title = f"Right in one of on and off ({len(differing)} questions{_first(differing)})"
    return [_answers(results, title, (ON, OFF), differing)] if differing else []


def _wrong(results: Results) -> list[Section]:
    wrong = [i for i in range(len(results.questions)) if not results.right(ON, i)]
    title = f"Wrong with CRMA on ({len(wrong)} questions{_first(wrong)})"
    return [_answers(results, title, results.arms[:3], wrong)] if wrong else []


def _first(indices: list[int]) -> str:
    return f", the first {_SHOWN}" if len(indices) > _SHOWN else ""


def _answers(results: Results, title: str, arms: tuple[Arm, ...], indices: list[int]) -> Section:
    rows = tuple(
        (
            results.questions[i].domain,
            _cell(results.questions[i].text),
            _cell(results.questions[i].gold),
            *(_cell(results.answers[arm.name][i].text) for arm in arms),
        )
        for i in indices[:_SHOWN]
    )
    return Section(title, ("domain", "question", "reference", *(arm.name for arm in arms)), rows)


def _cell(text: str) -> str:
    """One line that cannot break a Markdown table or become markup."""
    line = " ".join(text.split())
    line = line if len(line) <= _CELL_CHARACTERS else line[: _CELL_CHARACTERS - 1] + "…"
    return "".join("\\" + mark if mark in "\\|`*_<>[]" else mark for mark in line)

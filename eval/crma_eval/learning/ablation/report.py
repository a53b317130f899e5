"""The report of the ablation: shares by arm and domain, disagreements, its plot."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from crma_eval.learning.ablation.ask import ORDER_SEED
from crma_eval.learning.ablation.questions import ARMS, OFF, ON, Arm
from crma_eval.learning.ablation.results import Results, p_text, verdicts
from crma_eval.report import Image, Report, Section
from crma_eval.stats import Paired, Share


def figures(results: Results) -> dict[str, Any]:
    """Of all arms, comparisons and questions."""
    return {
        "arms": {arm.name: _arm_figures(results, arm) for arm in results.arms},
        "on_against": {
            arm.name: {
                domain or "all": _paired_figures(results.paired(ON, arm, domain))
                | {"same_answer": results.same(ON, arm, domain)}
                for domain in (None, *results.domains)
            }
            for arm in results.arms
            if arm != ON
        },
        "questions": [_question_figures(results, i) for i in range(len(results.questions))],
    }


def _arm_figures(results: Results, arm: Arm) -> dict[str, Any]:
    shares = {domain or "all": results.share(arm, domain) for domain in (None, *results.domains)}
    return {
        "meaning": arm.meaning,
        "models": sorted({answer.model for answer in results.answers[arm.name]}),
        "right": {name: _share_figures(part) for name, part in shares.items()},
        "reference_occurs": results.mentioned(arm),
        "cut": results.cut(arm),
    }


def _share_figures(part: Share) -> dict[str, Any]:
    return {"right": part.right, "asked": part.asked, "interval": list(part.interval)}


def _paired_figures(compared: Paired) -> dict[str, Any]:
    return {
        "only_on": compared.only_first,
        "only_other": compared.only_second,
        "p": compared.p,
        "asked": compared.asked,
    }


def _question_figures(results: Results, index: int) -> dict[str, Any]:
    question = results.questions[index]
    answers = {}
    for arm in results.arms:
        answer = results.answers[arm.name][index]
        answers[arm.name] = {
            "answer": answer.text,
            "right": results.right(arm, index),
            "model": answer.model,
            "finish": answer.finish,
        }
    return {
        "domain": question.domain,
        "question": question.text,
        "gold": question.gold,
        "answers": answers,
    }


# Okabe and Ito's colours, told apart by colour-blind eyes too; one per arm, whichever arms there are.
COLOURS = {
    "on": "#0072B2",
    "off": "#E69F00",
    "lora-only": "#009E73",
    "base": "#999999",
    "crma-only": "#CC79A7",
}


def draw(results: Results, title: str, path: Path) -> None:
    """Write the PNG `path`."""
    groups: list[str | None] = [None, *results.domains]
    width = 0.82 / len(results.arms)
    figure = Figure(figsize=(10, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    for place, arm in enumerate(results.arms):
        shares = [results.share(arm, group) for group in groups]
        heights = [100 * share.right / share.asked for share in shares]
        whiskers = [
            (height - 100 * share.interval[0], 100 * share.interval[1] - height)
            for height, share in zip(heights, shares, strict=True)
        ]
        centres = [index + (place - (len(results.arms) - 1) / 2) * width for index in range(len(groups))]
        low, high = ([max(0.0, pair[side]) for pair in whiskers] for side in (0, 1))
        style = {"elinewidth": 0.9, "capsize": 2, "ecolor": "#333333"}
        axes.bar(
            centres, heights, 0.94 * width, label=arm.name, color=COLOURS[arm.name], yerr=(low, high),
            error_kw=style,
        )  # fmt: skip
        for centre, height, share in zip(centres, heights, shares, strict=True):
            top = 100 * share.interval[1]
            axes.text(centre, max(top, height) + 1.5, str(share.right), ha="center", fontsize=8)
    labels = [f"{group or 'all'}\n({results.share(results.arms[0], group).asked})" for group in groups]
    axes.set_xticks(range(len(groups)), labels)
    axes.axvline(0.5, color="#bbbbbb", linewidth=0.8)
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("answered exactly (%), Wilson 95% interval")
    axes.set_xlabel("domain (questions asked); figures over the bars: answers that are right")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path)


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

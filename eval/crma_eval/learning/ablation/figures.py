"""The ablation's figures as plain JSON values: every count, every test, every answer."""

from typing import Any

from crma_eval.learning.ablation.arms import ON, Arm
from crma_eval.learning.ablation.results import Results
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

"""The report of `crma-eval routing --on fresh`: goals, tables, single failures."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crma_eval.report import Goal, Report, Section
from crma_eval.routing.alone import Alone
from crma_eval.routing.command import goal_rows
from crma_eval.routing.counted import Counted, Decided, shown
from crma_eval.routing.fresh_judge import JudgedQuestions, JudgedShape, JudgedTalks
from crma_eval.routing.sets.fresh import ENGLISH
from crma_eval.task import Result

LANGUAGE_NAMES = {
    "en": "English",
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "zh": "Chinese",
}
UNSEEN = "questions written later, unseen"
"""The set of conversations that the goals are on."""

TITLE = "Routing what people really send: fresh questions, languages, wrappers, conversations"
_WORDS = (
    "Real questions from public query logs and forums, labelled by reading before the router was built, none "
    "a near-duplicate of what the demo data holds; each was asked as a client asks it. *Wrong adapter*: sent "
    "to a domain that is not its own. Shares come with Wilson's 95 % intervals."
)
_SHAPES = (
    "The same questions as they were asked and inside each shape; *kept* is the wrapped share of the plain "
    "one. Passages that come with a question are of another domain."
)
_PARTS = {"open": "may be trained on", "closed": "looked at since", "unseen": "unseen"}
_TALKS = (
    "*Followed*: a turn of another domain is sent there at once. A follow-up or thanks sent to a third "
    "domain is a false switch; one left to the backbone is dropped. *Left*: a question of no domain goes to "
    "no adapter, whatever the conversation is on. Of the questions written later one half was for tuning the "
    "rules of conversations, the other was not looked at; the goals are on that one."
)


def fresh_result(
    questions: JudgedQuestions,
    shapes: Sequence[JudgedShape],
    talks: Mapping[str, Sequence[JudgedTalks]],
    alone: Alone,
    *,
    quoted: bool,
) -> Result:
    """talks: by the set that they are of, the unseen ones under `UNSEEN`.

    quoted: whether single failures are quoted, or named by their place in a package."""
    goals = _goals(questions, shapes, talks, alone)
    failures = _failures(questions, shapes, talks)
    report = Report(
        name="routing-fresh",
        title=TITLE,
        header=("goal", "bound", "measured", ""),
        rows=goal_rows(goals),
        figures={
            **_figures(questions, shapes, talks),
            "alone": alone.figures(),
            "failures": [_failure(one, part, quoted) for part, one in failures],
        },
        remarks=(_WORDS,),
        sections=(
            _english(questions),
            _languages(questions),
            _shapes(shapes),
            *(_talks(name, of_set) for name, of_set in talks.items()),
            alone.section(),
            _kinds(failures),
            _single(failures, quoted),
        ),
    )
    return Result(report, tuple(goals))


def _languages_of(questions: JudgedQuestions) -> list[str]:
    return [one for one in LANGUAGE_NAMES if one != ENGLISH and questions.inside(one).rows]


def _goals(
    questions: JudgedQuestions,
    shapes: Sequence[JudgedShape],
    talks: Mapping[str, Sequence[JudgedTalks]],
    alone: Alone,
) -> list[Goal]:
    english = questions.inside(ENGLISH)
    goals = [
        _least("English questions right", 0.95, english.share),
        _most("English questions to a wrong adapter", 0.02, english.wrong / english.rows),
        _least("English questions of none left alone", 0.95, questions.outside(ENGLISH).share),
    ]
    goals += [
        _least(f"{LANGUAGE_NAMES[one]} questions right", 0.85, questions.inside(one).share)
        for one in _languages_of(questions)
    ]
    goals += [_least(f"{one.shape.name}: kept", 0.9, one.kept) for one in shapes]
    outside = Counted.of(decided for one in shapes for decided in one.outside.decided)
    goals.append(_least("wrapped questions of none left alone", 0.9, outside.share))
    changes = Counted.of(decided for one in talks[UNSEEN] for decided in one.changes.decided)
    following = Counted.of(decided for one in talks[UNSEEN] for decided in one.following.decided)
    goals.append(_least("changes of topic followed at once", 0.95, changes.share))
    goals.append(_most("false switches", 0.01, following.wrong / following.rows))
    return [
        *goals,
        _most("decision alone, CPU p50, ms", 10, alone.p50),
        _most("decision alone, CPU p99, ms", 25, alone.p99),
    ]


def _least(what: str, bound: float, value: float) -> Goal:
    return Goal(what, f">= {bound:g}", f"{value:.3f}", value >= bound)


def _most(what: str, bound: float, value: float) -> Goal:
    return Goal(what, f"<= {bound:g}", f"{value:.3f}", value <= bound)


def _figures(
    questions: JudgedQuestions, shapes: Sequence[JudgedShape], talks: Mapping[str, Sequence[JudgedTalks]]
) -> dict[str, Any]:
    return {
        "english": {
            **{domain: questions.inside(ENGLISH, domain).figures() for domain in _domains(questions)},
            "all": questions.inside(ENGLISH).figures(),
            "none": questions.outside(ENGLISH).figures(),
            "near": questions.outside(ENGLISH, near=True).figures(),
        },
        "languages": {
            language: {
                "domains": questions.inside(language).figures(),
                "none": questions.outside(language).figures(),
            }
            for language in _languages_of(questions)
        },
        "shapes": {
            one.shape.name: {
                "part": one.shape.part,
                "kept": round(one.kept, 4),
                "domains": one.inside.figures(),
                "none": one.outside.figures(),
            }
            for one in shapes
        },
        "conversations": {
            name: {
                one.language: {
                    "changes": one.changes.figures(),
                    "following": one.following.figures(),
                    "leaving": one.leaving.figures() if one.leaving.rows else None,
                }
                for one in of_set
            }
            for name, of_set in talks.items()
        },
    }


def _domains(questions: JudgedQuestions) -> list[str]:
    return sorted({one.domain for one in questions.questions if one.domain is not None})


def _english(questions: JudgedQuestions) -> Section:
    rows = [(domain, questions.inside(ENGLISH, domain)) for domain in _domains(questions)]
    rows.append(("all domains", questions.inside(ENGLISH)))
    rows += [
        ("none", questions.outside(ENGLISH)),
        ("none, near a domain", questions.outside(ENGLISH, near=True)),
    ]
    return Section(
        "English questions",
        ("of", "right", "to a wrong adapter", "fell back"),
        tuple((name, shown(c.right, c.rows), shown(c.wrong, c.rows), str(c.fell_back)) for name, c in rows),
    )


def _languages(questions: JudgedQuestions) -> Section:
    rows = []
    for language in _languages_of(questions):
        inside, outside = questions.inside(language), questions.outside(language)
        rows.append(
            (
                LANGUAGE_NAMES[language],
                shown(inside.right, inside.rows),
                str(inside.wrong),
                str(inside.fell_back),
                shown(outside.right, outside.rows),
            )
        )
    header = ("language", "right", "to a wrong adapter", "fell back", "of none, left alone")
    return Section("Other languages", header, tuple(rows))


def _shapes(shapes: Sequence[JudgedShape]) -> Section:
    plain = shapes[0].plain
    rows = [("as asked", "", shown(plain.right, plain.rows), "1.000", str(plain.wrong), "")]
    rows += [
        (
            one.shape.name,
            _PARTS[one.shape.part],
            shown(one.inside.right, one.inside.rows),
            f"{one.kept:.3f}",
            str(one.inside.wrong),
            f"{one.outside.right} of {one.outside.rows}",
        )
        for one in shapes
    ]
    header = ("shape", "", "right", "kept", "to a wrong adapter", "of none, left alone")
    return Section("Wrappers", header, tuple(rows), (_SHAPES,))


def _talks(name: str, talks: Sequence[JudgedTalks]) -> Section:
    rows = tuple(
        (
            LANGUAGE_NAMES[one.language],
            shown(one.changes.right, one.changes.rows),
            shown(one.following.wrong, one.following.rows),
            shown(one.following.fell_back, one.following.rows),
            f"{one.leaving.right} of {one.leaving.rows}" if one.leaving.rows else "",
        )
        for one in talks
    )
    header = ("language", "changes followed", "false switches", "dropped", "left")
    return Section(f"Conversations: {name}", header, rows, (_TALKS,) if name == UNSEEN else ())


def _failures(
    questions: JudgedQuestions, shapes: Sequence[JudgedShape], talks: Mapping[str, Sequence[JudgedTalks]]
) -> list[tuple[str, Decided]]:
    parts: list[tuple[str, Iterable[Decided]]] = [
        (LANGUAGE_NAMES[language], questions.of(language).decided) for language in LANGUAGE_NAMES
    ]
    parts += [("wrapped", (*one.inside.decided, *one.outside.decided)) for one in shapes]
    parts += [
        ("conversation", (*one.changes.decided, *one.following.decided, *one.leaving.decided))
        for of_set in talks.values()
        for one in of_set
    ]
    return [(part, one) for part, decided in parts for one in decided if not one.right]


def _kinds(failures: Sequence[tuple[str, Decided]]) -> Section:
    counts = Counter((part, one.wanted or "none", one.given or "none") for part, one in failures)
    rows = tuple((*kind, str(count)) for kind, count in counts.most_common())
    return Section("Kinds of failure", ("set", "belongs to", "sent to", "times"), rows)


def _failure(one: Decided, part: str, quoted: bool) -> dict[str, Any]:
    return {
        "set": part,
        "what": one.text if quoted else one.place,
        "wanted": one.wanted,
        "given": one.given,
        "confidence": round(one.confidence, 4),
    }


def _single(failures: Sequence[tuple[str, Decided]], quoted: bool) -> Section:
    rows = tuple(
        (
            part,
            one.text if quoted else one.place,
            one.wanted or "none",
            one.given or "none",
            f"{one.confidence:.2f}",
        )
        for part, one in failures
    )
    return Section("Single failures", ("set", "what", "belongs to", "sent to", "confidence"), rows)

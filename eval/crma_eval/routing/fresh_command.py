"""`crma-eval routing-fresh`: a release's router on what people really send."""

import argparse

from crma_eval.routing.command import add_router_arguments, check_domains, router_folder
from crma_eval.task import Context, Result

DESCRIPTION = """\
Asks a router of the five demo domains real questions that no router was fitted on or tuned to, in six
languages, alone, inside eighteen shapes in which clients send them, and in conversations; and times a
decision. The questions are read from published packages, fetched once. Status 1 if a goal is missed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the router is."""
    add_router_arguments(parser)
    parser.add_argument(
        "--quote", action="store_true", help="quote what failed; else it is named by its place in a package"
    )


def run(context: Context) -> Result:
    """Time, then ask."""
    from crma_eval.routing.alone import measure_alone
    from crma_eval.routing.fresh_judge import judge_questions, judge_shapes, judge_talks
    from crma_eval.routing.fresh_summary import UNSEEN, fresh_result
    from crma_eval.routing.sets.dialogues import later_talks, talks
    from crma_eval.routing.sets.fresh import fresh_questions
    from crma_eval.routing.sets.wrapped import questions_to_wrap, shapes
    from crma_router.router import Router

    router = Router.load(router_folder(context.args))
    questions, every_shape = fresh_questions(), shapes()
    check_domains({one.domain for one in questions if one.domain}, router.domains, "the fresh set")
    wrapped = questions_to_wrap(questions)
    texts = [one.text for one in questions] + [shape.around(one) for shape in every_shape for one in wrapped]
    alone = measure_alone(router, texts)
    return fresh_result(
        judge_questions(router, questions),
        judge_shapes(router, every_shape, wrapped),
        {
            UNSEEN: judge_talks(router, later_talks("unseen", questions)),
            "questions written later, for tuning": judge_talks(router, later_talks("tuning", questions)),
            "the fresh questions": judge_talks(router, talks(questions)),
        },
        alone,
        quoted=context.args.quote,
    )

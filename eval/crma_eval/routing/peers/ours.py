"""This project's router in the table: as it was fitted, with the threshold that its fit gave."""

import math
from pathlib import Path

import numpy as np

from crma_eval.routing.as_served import decide_text
from crma_eval.routing.peers.measure import Measured, figures, one_by_one
from crma_eval.routing.peers.peers import Guess
from crma_eval.routing.peers.split import Split
from crma_router.policy import RoutingDecision
from crma_router.router import Router


def measure_ours(folder: Path, split: Split) -> Measured:
    """Ask the router in `folder` every set; it is not fitted again."""
    router = Router.load(folder)
    times = one_by_one(lambda texts: decide_text(router, texts[0]), split.asked[1].texts)
    sets = {}
    for one in split.asked:
        decisions = [decide_text(router, text) for text in one.texts]
        sent = [decision.domain is not None for decision in decisions]
        sets[one.name] = figures([_guess(decision) for decision in decisions], one.labels, sent)
    return Measured(
        f"crma, {router.model.embedder}",
        {},
        sets,
        None,
        float(np.percentile(times, 50)),
        float(np.percentile(times, 99)),
    )


def _guess(decision: RoutingDecision) -> Guess:
    """Its confidence is given that any domain is right; a logistic curve of the distance says whether."""
    over = decision.ood_distance - decision.ood_threshold
    leader = max(decision.scores, key=decision.scores.__getitem__)
    return Guess(leader, decision.scores[leader] / (1 + math.exp(over)), -decision.ood_distance)

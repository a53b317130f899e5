"""What counts as overlap."""

from dataclasses import replace

from crma_router.classifier.model import FitReport
from crma_router.cli.overlap import overlaps
from crma_router.router import Router, RouterData


def _with(report: FitReport, name: str, share: float, examples: int = 60) -> FitReport:
    routed, counts = report.routed | {name: share}, report.examples | {name: examples}
    return replace(report, routed=routed, examples=counts)


def test_of_few_examples_the_share_that_is_found_says_nothing(router: Router, data: RouterData) -> None:
    assert (
        overlaps(router, "chess", data.out_of_domain[:20], _with(router.model.report, "chess", 0.4, 5)) == []
    )


def test_a_domain_of_its_own_meets_no_objection(router: Router, data: RouterData) -> None:
    after = _with(router.model.report, "chess", 0.9)
    assert overlaps(router, "chess", data.out_of_domain[:20], after) == []


def test_examples_another_domain_takes_are_told(router: Router, data: RouterData) -> None:
    after = _with(router.model.report, "nursing", 0.9)
    (said,) = overlaps(router, "nursing", data.examples["medical"], after)
    assert said.endswith("examples of nursing are routed to medical now")


def test_what_others_lose_and_the_new_one_does_not_find_is_told(router: Router, data: RouterData) -> None:
    report = router.model.report
    before = {"code": 1.0, "legal": 1.0, "medical": 1.0}
    known = Router(replace(router.model, report=replace(report, routed=before)), router.embedder)
    after = _with(replace(report, routed={"code": 0.97, "legal": 1.0, "medical": 0.6}), "chess", 0.5)
    said = overlaps(known, "chess", data.out_of_domain[:20], after)
    assert said == [
        "medical would keep 60% of its held-out questions, 100% now",
        "only 50% of the held-out examples of chess would reach it",
    ]


def test_a_loss_that_chance_explains_is_none(router: Router, data: RouterData) -> None:
    report = replace(router.model.report, examples=dict.fromkeys(router.domains, 11))
    before = replace(report, routed=dict.fromkeys(router.domains, 10 / 11))
    known = Router(replace(router.model, report=before), router.embedder)
    after = replace(report, routed={"code": 8 / 11, "legal": 10 / 11, "medical": 10 / 11})
    after = _with(after, "chess", 1.0)
    assert overlaps(known, "chess", data.out_of_domain[:20], after) == []

"""Changes of a stream, on made-up domains: clusters of unit vectors."""

from collections.abc import Sequence

import numpy as np
import pytest

from crma_training.stream.boundary import BoundaryDetector, BoundarySettings, Seen
from crma_training.stream.two_samples import Vectors, discrepancy, permutation_mmd, place_cut

WIDTH = 64


def cluster(domain: int, count: int, seed: int = 0) -> Vectors:
    """(count, WIDTH): unit vectors around a direction of the domain's own."""
    centre = np.random.default_rng((domain, 99)).normal(size=WIDTH) / 4
    rows = centre + np.random.default_rng((domain, seed)).normal(size=(count, WIDTH)) / 8
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def read(detector: BoundaryDetector, rows: Vectors) -> list[Seen]:
    return [*(detector.observe(row) for row in rows), detector.finish()]


def domains_of(seen: Sequence[Seen]) -> list[str]:
    """The settled domain by row; every row once, in order."""
    settled = [pair for one in seen for pair in one.settled]
    assert [at for at, _ in settled] == list(range(len(settled)))
    return [domain for _, domain in settled]


def test_changes_are_noticed_placed_and_known_domains_found_again() -> None:
    rows = np.concatenate([cluster(1, 100), cluster(2, 100), cluster(1, 100, seed=5), cluster(3, 60)])
    seen = read(BoundaryDetector(), rows)
    begun = [one.segment for one in seen if one.segment]
    assert [(segment.domain, segment.returned) for segment in begun] == [
        ("stream-1", False),
        ("stream-2", False),
        ("stream-1", True),
        ("stream-3", False),
    ]
    assert [segment.at for segment in begun] == pytest.approx([0, 100, 200, 300], abs=3)
    noticed = [one.boundary.noticed for one in seen if one.boundary]
    assert all(0 <= found - true <= 32 for found, true in zip(noticed, (100, 200, 300), strict=True))
    found = domains_of(seen)
    assert len(found) == len(rows)
    assert found[:95] == ["stream-1"] * 95 and found[205:295] == ["stream-1"] * 90
    assert "back to stream-1; discrepancy" in begun[2].reason


@pytest.mark.parametrize("shuffled", [False, True])
def test_no_change_is_no_boundary(shuffled: bool) -> None:
    if shuffled:
        rows = np.concatenate([cluster(domain, 300) for domain in (1, 2, 3)])
        rows = rows[np.random.default_rng(4).permutation(len(rows))]
    else:
        rows = cluster(1, 600)
    seen = read(BoundaryDetector(), rows)
    assert [one.boundary for one in seen if one.boundary] == []
    assert set(domains_of(seen)) == {"stream-1"}


def test_a_domain_known_before_the_stream_is_recognised() -> None:
    detector = BoundaryDetector(known={"legal": cluster(1, 100), "code": cluster(2, 100)})
    seen = read(detector, cluster(2, 50, seed=9))
    assert set(domains_of(seen)) == {"code"}


def test_a_renamed_domain_returns_under_its_new_name_and_a_forgotten_one_is_new() -> None:
    detector = BoundaryDetector()
    for row in (*cluster(1, 80), *cluster(2, 80)):
        detector.observe(row)
    detector.rename("stream-1", "geology")
    detector.forget("stream-2")
    rows = np.concatenate([cluster(1, 80, seed=2), cluster(2, 80, seed=2)])
    begun = [one.segment.domain for one in read(detector, rows) if one.segment]
    assert begun[-2:] == ["geology", "stream-3"]


def test_a_short_stream_is_one_segment() -> None:
    seen = read(BoundaryDetector(), cluster(1, 3))
    assert domains_of(seen) == ["stream-1"] * 3
    assert domains_of(read(BoundaryDetector(), cluster(1, 1))) == ["stream-1"]
    assert domains_of(read(BoundaryDetector(), cluster(1, 0))) == []


def test_the_same_rows_give_the_same_answers() -> None:
    rows = np.concatenate([cluster(1, 60), cluster(2, 60)])
    assert read(BoundaryDetector(), rows) == read(BoundaryDetector(BoundarySettings()), rows)


def test_the_permutation_test_keeps_its_level_and_sees_a_difference() -> None:
    generator = np.random.default_rng(0)
    same = [
        permutation_mmd(cluster(1, 40, seed=2 * at), cluster(1, 20, seed=2 * at + 1), 99, generator)
        for at in range(100)
    ]
    assert 0.0 < np.mean(np.array(same) <= 0.1) < 0.2  # a tenth of them, three standard deviations
    assert permutation_mmd(cluster(1, 40), cluster(2, 8), 99, generator) == 0.01


def test_discrepancy_is_about_zero_within_and_large_between() -> None:
    assert abs(discrepancy(cluster(1, 50), cluster(1, 100, seed=1))) < 0.03
    assert discrepancy(cluster(1, 50), cluster(2, 100)) > 0.2


def test_the_cut_is_where_the_rows_change() -> None:
    assert place_cut(np.concatenate([cluster(1, 30), cluster(2, 12)]), 8) == 30

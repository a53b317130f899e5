"""A bounded, deterministic sample per domain, and rows that are never learnt."""

import random

from crma_training.stream.reservoir import HELD_OUT_SHARE, Kept, Reservoir, is_held_out

ROWS = [Kept(f"{at:064x}", f"question {at}", at) for at in range(3000)]


def filled(rows: list[Kept], most_rows: int = 2000, most_held_out: int = 200) -> Reservoir:
    reservoir = Reservoir(most_rows, most_held_out)
    for kept in rows:
        reservoir.add(kept)
    return reservoir


def test_the_same_rows_are_kept_in_any_order_and_after_any_stop() -> None:
    shuffled = random.Random(3).sample(ROWS, len(ROWS))
    one, other = (filled(rows, most_rows=100, most_held_out=20) for rows in (ROWS, shuffled))
    assert one.rows == other.rows and one.held_out == other.held_out
    assert (len(one.rows), len(one.held_out), one.seen) == (100, 20, 3000)


def test_the_sample_is_uniform_over_the_stream() -> None:
    kept = filled(ROWS, most_rows=600).rows.values()
    early = sum(row.number < 1500 for row in kept)
    assert 240 < early < 360  # 300 expected, 12 standard deviation


def test_two_merged_are_what_one_would_have_been() -> None:
    one, other = filled(ROWS[:1000], most_rows=50), filled(ROWS[1000:], most_rows=50)
    one.merge(other)
    whole = filled(ROWS, most_rows=50)
    assert (one.rows, one.held_out, one.seen) == (whole.rows, whole.held_out, whole.seen)


def test_a_question_is_on_one_side_whatever_it_is_answered_with_and_about_a_tenth_is_held_out() -> None:
    reservoir = Reservoir(most_rows=10_000, most_held_out=10_000)
    learnt = [reservoir.add(kept) for kept in ROWS]
    again = [reservoir.add(Kept(f"f{kept.digest[1:]}", kept.key, kept.number + 3000)) for kept in ROWS]
    assert learnt == again == [not is_held_out(kept.key) for kept in ROWS]
    assert 0.8 * HELD_OUT_SHARE < 1 - sum(learnt) / len(ROWS) < 1.2 * HELD_OUT_SHARE
    assert not {kept.key for kept in reservoir.rows.values()} & {k.key for k in reservoir.held_out.values()}


def test_a_sample_leaves_out_what_is_named_and_changes_with_its_salt() -> None:
    reservoir = filled(ROWS[:300])
    without = list(reservoir.rows)[:50]
    drawn = reservoir.sample(40, "first", without)
    assert len(drawn) == 40 and not {kept.digest for kept in drawn} & set(without)
    assert drawn == reservoir.sample(40, "first", without) != reservoir.sample(40, "second", without)
    assert [kept.number for kept in drawn] == sorted(kept.number for kept in drawn)
    assert len(reservoir.sample(10_000, "all")) == len(reservoir.rows)

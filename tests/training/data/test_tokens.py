"""Token ids: where the answer starts and ends, what is cut, how batches are made."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from crma_adapters.errors import DataError
from crma_training.data.rows import Message, Row
from crma_training.data.tokens import Example, collate, encode, training_order


def row(question: str = "What is a lease?", answer: str = "A contract.") -> Row:
    return Row((Message("user", question), Message("assistant", answer)), "here:1")


def test_the_answer_with_its_end_of_turn_is_learnt_and_the_prompt_is_what_serving_sends(
    base_model: Path,
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    example = encode(row(), tokenizer, 256)
    prompt, answer = example.token_ids[: example.answer_start], example.token_ids[example.answer_start :]
    assert tokenizer.decode(answer) == "A contract.<|im_end|>"
    assert tokenizer.decode(prompt) == "<|im_start|>user\nWhat is a lease?<|im_end|>\n<|im_start|>assistant\n"
    assert not example.cut


def test_a_template_without_end_of_turn_gets_the_end_of_sequence(base_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}"
    example = encode(row(), tokenizer, 256)
    assert tokenizer.decode(example.token_ids[example.answer_start :]) == "A contract.<|im_end|>"


def test_a_long_answer_is_cut_and_a_long_question_refused(base_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    whole = encode(row(), tokenizer, 256)
    cut = encode(row(), tokenizer, len(whole.token_ids) - 3)
    assert cut.cut
    assert cut.token_ids == whole.token_ids[:-3]
    with pytest.raises(DataError, match=rf"here:1: the question alone has {whole.answer_start} tokens"):
        encode(row(), tokenizer, whole.answer_start)


def test_a_template_that_refuses_the_row_is_a_data_error(base_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(DataError, match="here:1: the model's chat template refuses this row"):
        encode(row(), tokenizer, 256)


def test_a_template_that_rewrites_the_question_is_a_data_error(base_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    tokenizer.chat_template = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(DataError, match="rewrites the question"):
        encode(row(), tokenizer, 256)


def test_targets_are_the_next_answer_tokens_and_nothing_else() -> None:
    batch = collate([Example.with_answer((5, 6, 7, 8), 2), Example.with_answer((5, 6, 9), 2)], pad_id=0)
    assert batch.token_ids.tolist() == [[5, 6, 7, 8], [5, 6, 9, 0]]
    assert batch.targets.tolist() == [[-100, 7, 8, -100], [-100, 9, -100, -100]]
    assert (batch.tokens, batch.answer_tokens) == (7, 3)


def test_targets_follow_the_mask_in_every_turn() -> None:
    example = Example((5, 6, 7, 8, 9, 4), (False, False, True, False, False, True))
    batch = collate([example, Example.with_answer((5, 6, 3), 2)], pad_id=0)
    assert batch.targets.tolist() == [[-100, 7, -100, -100, 4, -100], [-100, 3, -100, -100, -100, -100]]
    assert (example.answer_start, example.learnt_tokens, batch.answer_tokens, batch.shared) == (2, 2, 3, 1)


@pytest.mark.parametrize(
    ("rows", "shared"),
    [
        ([((1, 2, 3, 4), 3), ((1, 2, 3, 5), 3)], 2),  # position 2 predicts an answer token
        ([((1, 2, 3, 4, 5), 4), ((1, 9, 3, 4, 5), 4)], 1),
        ([((7, 2), 1), ((1, 2), 1)], 0),
    ],
)
def test_the_shared_prefix_ends_where_rows_differ_or_answers_begin(
    rows: list[tuple[tuple[int, ...], int]], shared: int
) -> None:
    batch = collate([Example.with_answer(ids, start) for ids, start in rows], pad_id=0)
    assert batch.shared == shared
    assert bool(torch.all(batch.targets[:, :shared] == -100))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=50), st.integers(1, 9), st.integers(1, 3))
def test_every_row_is_seen_once_per_epoch(lengths: list[int], batch_size: int, epochs: int) -> None:
    examples = [Example.with_answer(tuple(range(length)), 1) for length in lengths]
    steps = epochs * -(-len(lengths) // batch_size)
    order = list(training_order(examples, batch_size, steps, "0/code"))
    assert len(order) == steps
    assert Counter(index for batch in order for index in batch) == dict.fromkeys(range(len(lengths)), epochs)
    assert all(len(batch) <= batch_size for batch in order)


def test_the_order_follows_from_the_seed_alone() -> None:
    examples = [Example.with_answer(tuple(range(n % 7 + 1)), 1) for n in range(40)]
    first = list(training_order(examples, 4, 25, "0/code"))
    assert list(training_order(examples, 4, 25, "0/code")) == first
    assert list(training_order(examples, 4, 25, "1/code")) != first
    assert list(training_order(examples, 4, 25, "0/law")) != first

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llm_offline.batching import length_batches


def batches(lengths, batch_tokens):
    return [rows.tolist() for rows in length_batches(np.array(lengths, np.int64), batch_tokens)]


def test_a_half_full_batch_ends_where_the_length_changes():
    assert batches([2, 4, 4, 3], batch_tokens=12) == [[1, 2], [3, 0]]


def test_an_emptier_batch_takes_shorter_texts_too():
    assert batches([2, 4, 3], batch_tokens=12) == [[1, 2, 0]]


def test_a_text_over_the_budget_is_alone():
    assert batches([9, 1], batch_tokens=4) == [[0], [1]]


def test_no_texts_no_batches():
    assert batches([], batch_tokens=4) == []


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 100))
def test_every_text_comes_once_and_batches_keep_to_the_budget(lengths, batch_tokens):
    found = batches(lengths, batch_tokens)
    assert sorted(sum(found, [])) == list(range(len(lengths)))
    for rows in found:
        assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= batch_tokens

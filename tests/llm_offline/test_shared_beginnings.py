"""Which beginnings prompts have in common, how they are laid out, and that a model computes the same from them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen3Config, Qwen3ForCausalLM

from llm_offline.shared_beginnings import Beginnings, kin, shared_tokens

HEAD, ONE, TWO = [1] * 20, [2] * 30, [3] * 25
BATCH = [HEAD + TWO + [5], HEAD + ONE + [6, 7], HEAD + TWO + [8, 9, 9], HEAD + ONE + [5], HEAD + [4] * 3]


def test_the_beginning_leaves_each_prompt_a_token_of_its_own():
    assert shared_tokens([[1] * 20, [1] * 20]) == 19
    assert shared_tokens([[1] * 20, [1] * 12]) == 0  # too short to pay
    assert shared_tokens([[1] * 20]) == 0


def test_prompts_with_more_in_common_are_kin():
    assert shared_tokens(BATCH) == 20
    assert sorted(map(sorted, kin(BATCH, 20))) == [[0, 2], [1, 3], [4]]
    assert kin([[1] * 40, [1] * 40, [1] * 40], 0) == [[0, 1, 2]]  # draws of one prompt
    assert kin([[1, 2], [1, 3]], 0) == [[0], [1]]


def test_a_prompt_does_not_join_kin_of_whom_it_would_take_more_than_it_brings():
    near, far = [2] * 60, [2] * 17 + [3]
    assert sorted(map(sorted, kin([[*near, 4], [*near, 5], [*near, 6], far], 0))) == [[0, 1, 2], [3]]


def test_rows_have_what_all_share_then_their_familys_stem_then_their_own():
    found = Beginnings.of(BATCH)
    assert found.shared == 20 and found.width == 50 and len(found.stems) == 3
    rows, mask = found.laid_out(BATCH, 0)
    assert rows.shape == mask.shape == (5, 53)
    for row, there, ids in zip(rows, mask, BATCH, strict=True):
        assert row[there.bool()].tolist() == ids
    assert rows[0, :50].tolist() == rows[2, :50].tolist() and rows[1, :50].tolist() == rows[3, :50].tolist()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=16, hidden_size=12, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=6, initializer_range=0.5,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval()


def last(model, ids):
    found = Beginnings.of(ids)
    rows, mask = found.laid_out(ids, 0)
    with torch.inference_mode():
        cache = found.computed(model, rows, mask)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, found.width :]
        return model(input_ids=rows[:, found.width :], attention_mask=mask, past_key_values=cache,
                     position_ids=positions).logits[:, -1]  # fmt: skip


def alone(model, ids):
    with torch.inference_mode():
        return torch.cat([model(input_ids=torch.tensor([row])).logits[:, -1] for row in ids])


@pytest.mark.parametrize("ids", [BATCH, BATCH[:1], [[1] * 40, [1] * 40], [[1, 2, 3], [4, 5]], [ONE + [5], ONE, [4, 1]]])
def test_a_model_computes_the_same_from_them(model, ids):
    torch.testing.assert_close(last(model, ids), alone(model, ids), rtol=1e-4, atol=1e-5)


tokens = st.lists(st.integers(1, 3), min_size=1, max_size=6)


@given(st.lists(st.tuples(st.sampled_from([[], HEAD, HEAD + ONE, HEAD + TWO, ONE]), tokens), min_size=1, max_size=7))
def test_whatever_prompts_there_are_none_is_lost_or_changed(parts):
    ids = [head + own for head, own in parts]
    assert sorted(place for family in kin(ids, shared_tokens(ids)) for place in family) == list(range(len(ids)))
    found = Beginnings.of(ids)
    rows, mask = found.laid_out(ids, 0)
    assert [row[there.bool()].tolist() for row, there in zip(rows, mask, strict=True)] == ids
    assert rows.shape[1] > found.width
    for n in range(len(found.stems)):
        mine = [row[: found.width].tolist() for row, family in zip(rows, found.family, strict=True) if family == n]
        assert mine and all(one == mine[0] for one in mine)

import pytest
import torch

from llm_offline.pooling import eos, last, mean

# One text of three tokens and one of two, a state of width 2 for each token; 9s are padding.
RIGHT = torch.tensor([[[1.0, 2], [3, 4], [5, 9]], [[2, 0], [4, 6], [9, 9]]])
RIGHT_MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])
LEFT = torch.tensor([[[1.0, 2], [3, 4], [5, 9]], [[9, 9], [2, 0], [4, 6]]])
LEFT_MASK = torch.tensor([[1, 1, 1], [0, 1, 1]])


@pytest.mark.parametrize(("states", "mask"), [(RIGHT, RIGHT_MASK), (LEFT, LEFT_MASK)], ids=["right", "left"])
def test_padding_on_either_side_does_not_count(states, mask):
    assert mean(states, mask).tolist() == [[3, 5], [3, 3]]
    assert last(states, mask).tolist() == [[5, 9], [4, 6]]


def test_without_mask_every_token_counts():
    assert mean(RIGHT, None).tolist() == [[3, 5], [5, 5]]
    assert last(RIGHT, None).tolist() == [[5, 9], [9, 9]]


def test_eos_takes_the_last_end_token_that_is_not_padding():
    right = torch.tensor([[7, 2, 2], [7, 2, 2]])  # 2 is both the end and the padding
    assert eos(RIGHT, RIGHT_MASK, right, eos_id=2).tolist() == [[5, 9], [4, 6]]
    left = torch.tensor([[7, 2, 8], [2, 7, 2]])
    assert eos(LEFT, LEFT_MASK, left, eos_id=2).tolist() == [[3, 4], [4, 6]]


def test_eos_refuses_a_text_without_an_end():
    with pytest.raises(ValueError, match=r"text 1 of the batch has no end-of-sequence token \(2\)"):
        eos(RIGHT, RIGHT_MASK, torch.tensor([[7, 2, 8], [7, 8, 2]]), eos_id=2)

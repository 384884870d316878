import numpy as np
import pytest

from llm_offline.config import PromptConfig
from llm_offline.knowledge.universal import ROWS, spread_out, universal_prompts


@pytest.mark.parametrize("domain, plain", [("any", 96), ("shop", 86), ("media", 86)])
def test_there_are_enough_prompts_all_different_for_every_domain(domain, plain):
    prompts = universal_prompts(PromptConfig(domain))
    assert len(prompts) == 6 * plain >= ROWS
    assert len({prompt.text for prompt in prompts}) == len(prompts)
    assert [prompt.lens for prompt in prompts] == [lens for lens in range(6) for _ in range(plain)]
    assert {prompt.domain for prompt in prompts} == ({"any", "shop", "media"} if domain == "any" else {"any", domain})


def test_the_facets_are_distinct():
    prompts = universal_prompts(PromptConfig())[:96]
    assert len({prompt.facet for prompt in prompts}) == 96
    assert all(prompt.text.endswith(".") and len(prompt.text.split()) <= 20 for prompt in prompts)


def test_the_order_is_that_of_the_farthest_point():
    degrees = np.radians([0, 10, 100, 50, 180])
    circle = np.stack([np.cos(degrees), np.sin(degrees)], 1)
    assert spread_out(circle, 5, 5).tolist() == [0, 4, 2, 3, 1]
    assert spread_out(5 * circle, 3, 4).tolist() == [0, 2, 1, 4]  # the first three before any other


def test_a_smaller_codebook_is_the_beginning_of_a_larger_one():
    vectors = np.random.default_rng(0).normal(size=(40, 6))
    order = spread_out(vectors, 10, 40)
    assert sorted(order) == list(range(40))
    assert sorted(order[:10]) == list(range(10))
    assert spread_out(vectors, 10, 7).tolist() == order[:7].tolist()

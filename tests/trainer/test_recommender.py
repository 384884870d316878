from dataclasses import replace

import numpy as np
import pytest

from trainer.attributes import Attributes
from trainer.config import ModelConfig
from trainer.recommender import Recommender

CONFIG = ModelConfig(d=8, blocks=1, heads=2, max_length=6, dropout=0.2, item_stddev=0.05)


def test_knowledge_must_have_a_row_an_item():
    with pytest.raises(ValueError, match="must have 10 rows"):
        Recommender(CONFIG, 10, np.zeros((9, 3), np.float32))


@pytest.mark.parametrize("start", [0.0, 2.0])
def test_the_projection_of_knowledge_begins_at_a_multiple_of_the_identity(start):
    knowledge = np.arange(30, dtype=np.float32).reshape(10, 3)
    recommender = Recommender(replace(CONFIG, knowledge_start=start), 10, knowledge)
    ids = recommender.items.whole().numpy()
    found = recommender.pull().numpy() - ids
    np.testing.assert_allclose(found, np.pad(start * knowledge, ((0, 0), (0, 5))), atol=1e-6)


def test_attributes_must_have_a_row_an_item_and_be_asked_for():
    config, attributes = ModelConfig("fdsa", d=8, attributes=("brand",)), Attributes(np.zeros((9, 1), np.int32), 1)
    with pytest.raises(ValueError, match="attributes must have 10 rows"):
        Recommender(config, 10, attributes=attributes)
    with pytest.raises(ValueError, match=r"those of model.attributes \('brand',\), got none"):
        Recommender(config, 9)
    with pytest.raises(ValueError, match=r"those of model.attributes \(\), got 1"):
        Recommender(CONFIG, 9, attributes=attributes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "bert5rec"}, "kind must be one of"),
        ({"kind": "fdsa"}, "attributes must name a column with kind 'fdsa'"),
        ({"attributes": ("brand",)}, "attributes must be empty with kind 'sasrec'"),
        ({"mask_rate": 0.0}, "mask_rate must be above 0 and below 1"),
        ({"mask_last": 1.5}, "mask_last must be from 0 to 1"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**settings)

import numpy as np
import pytest

from trainer.config import ModelConfig
from trainer.recommender import Recommender

CONFIG = ModelConfig(d=8, blocks=1, heads=2, max_length=6, dropout=0.2, item_stddev=0.05)


def test_knowledge_must_have_a_row_an_item():
    with pytest.raises(ValueError, match="must have 10 rows"):
        Recommender(CONFIG, 10, np.zeros((9, 3), np.float32))

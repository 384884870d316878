"""ChoirRec's channels apart, of a model trained on a few requests."""

from dataclasses import replace

import conversion_data
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from benchmarks.reproduce import _choir_channels
from trainer import train
from trainer.requests import evaluate as request_evaluate
from trainer.requests import saved as request_saved
from trainer.requests.choir_config import ChoirConfig
from trainer.requests.config import RequestEvaluateConfig, RequestModelConfig, RequestTrainConfig
from trainer.requests.input import Requests

JUDGE = RequestEvaluateConfig(bootstrap=20, levels=2)
CONFIG = RequestTrainConfig(
    batch=32, epochs=1, steps_per_schedule=1, choir=ChoirConfig(codes=("group_1", "group_2"), reliability=(4,)),
    model=RequestModelConfig("choirrec", d=4, hidden=(8, 4), attention=(4,)),
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Requests, and two models with their evaluations."""
    here = tmp_path_factory.mktemp("channels")
    asked = conversion_data.write(here / "requests")
    for seed in (1, 2):
        train.run(asked, None, here / f"model_{seed}", replace(CONFIG, seed=seed))
        request_evaluate.run(asked, here / f"model_{seed}", here / f"evaluation_{seed}", JUDGE)
    return here


def test_each_channel_s_gauc_and_the_best_mix_are_as_by_hand(made):
    asked = made / "requests"
    found = _choir_channels.apart(asked, made / "model_1", made / "evaluation_1", JUDGE)
    assert set(found) == {"overall", "low", "level_1", "level_2"}
    data = Requests(asked)
    records = tf.stack(list(tf.data.TFRecordDataset([shard.file for shard in data.shards("test")])))
    rows = data.parse(records)
    users = tf.io.parse_example(records, {"user_id": tf.io.FixedLenFeature((), tf.string)})["user_id"].numpy()
    ranker = request_saved.load(made / "model_1", data).ranker
    ranker.dense.pull()
    parts = ranker.answer(rows).parts
    labels, (own, group) = rows.labels[:, 0].numpy(), (parts[name][:, 0].numpy() for name in ("own", "group"))
    for name, logits in (("own", own), ("group", group)):
        above = below = 0.0
        for user in np.unique(users):
            mine = users == user
            if 0 < labels[mine].sum() < mine.sum():
                above += mine.sum() * roc_auc_score(labels[mine], logits[mine])
                below += mine.sum()
        assert found["overall"][name] == pytest.approx(above / below)
    lost = {}
    for mix in np.arange(11) / 10:
        z = (1 - mix) * own + mix * group
        lost[mix] = np.mean(np.log1p(np.exp(z)) - labels * z)
    assert found["overall"]["best"] == pytest.approx(min(lost, key=lost.get))


def test_an_evaluation_of_another_model_is_refused(made):
    with pytest.raises(ValueError, match="evaluation_2: must be the evaluation of .*model_1"):
        _choir_channels.apart(made / "requests", made / "model_1", made / "evaluation_2", JUDGE)

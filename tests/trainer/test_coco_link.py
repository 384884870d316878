"""CoCo over a real side process in float64: the whole chain of gradients, and the mask on its way."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
import torch

from trainer import collaboration
from trainer.collaboration import Collaboration, LinkSource
from trainer.config import CocoConfig, LinkConfig, LossConfig, ModelConfig
from trainer.llm_link import LlmLink
from trainer.models.coco import CoCo
from trainer.models.sasrec import SASRec
from trainer.objective import Prediction
from trainer.reader import Reader
from trainer.sampling import Popularity

ITEMS, WIDTH = 10, 12
MODEL = ModelConfig(d=6, blocks=1, heads=2, max_length=4, dropout=0.0)
# A gate that scales, and no L_Q: what is left of the loss has no stopped gradient, but for M.
COCO = CocoConfig(
    on=True, codes=5, selected=2, threshold=0.0, gate="scaled", gamma=0.0, residual=False, heads=2,
    width=WIDTH, knowledge_width=4, scale=0.4,
)  # fmt: skip
HISTORY = tf.constant([[0, 1, 2, 3], [0, 6, 5, 2], [4, 3, 2, 1], [0, 0, 5, 4]])
TARGETS = tf.constant([[0, 2, 3, 9], [0, 5, 2, 3], [3, 2, 1, 8], [0, 0, 4, 7]])


@pytest.fixture(scope="module")
def side(side_process):
    return side_process(dropout=0.0, checkpoint_updates=10**6)


@pytest.fixture(autouse=True)
def doubles():
    tf_keras.backend.set_floatx("float64")
    yield
    tf_keras.backend.set_floatx("float32")


class Reads:
    """What an objective reads, in float64: the servers' tables hold float32."""

    def __init__(self, number, client):
        self.index, self.client = tf.constant(number, tf.int64), client

    def whole(self, table):
        return tf.convert_to_tensor(table)

    def weights(self, dense):
        return nullcontext()

    def tell(self, name, values):
        pass


class Chain:
    """SASRec, CoCo and a link, with all weights in float64."""

    def __init__(self, side, coco=COCO):
        backbone = SASRec(MODEL)
        tf_keras.utils.set_random_seed(2)
        backbone.build((None, MODEL.max_length, MODEL.d))
        self.coco = CoCo(backbone, coco, seed=1)
        self.items = tf.Variable(np.random.default_rng(0).normal(size=(ITEMS, MODEL.d)))
        self.weights = [self.items, *self.coco.trainable_variables]
        self.link = LlmLink(LinkConfig(side.address, 300.0, 20.0), coco.knowledge_width, tf.float64)
        self.link.begin(0)
        self.client = self.link.client()
        self.recommender = SimpleNamespace(
            model=backbone, coco=self.coco, config=MODEL, size=ITEMS, items=self.items, dense=None,
            known=lambda step, unique: None,
        )  # fmt: skip
        popularity = Popularity(np.ones(ITEMS))
        self.prediction = Prediction(self.recommender, LossConfig("softmax"), popularity)

    def loss(self, number, rows=slice(None), source=None):
        objective = Collaboration(self.recommender, self.prediction, source or LinkSource(self.link))
        batch = objective.batch(HISTORY[rows], TARGETS[rows], tf.constant([0, number]))
        return objective.loss(Reads(number, self.client), batch)[0]

    def step(self, number, rows=slice(None)):
        """The gradients of all weights, after which the side process has learnt."""
        with tf.GradientTape() as tape:
            loss = self.loss(number, rows)
        return [tf.convert_to_tensor(gradient).numpy() for gradient in tape.gradient(loss, self.weights)]


class ReaderSource:
    """Knowledge without learning. A `Source`."""

    def __init__(self, chain):
        self._know = Reader(chain.link).through(chain.client)

    def knowledge(self, step, selection, history):
        return self._know(selection, history), None


def adapter(side, chain, step):
    """The side process's weights, from a checkpoint that it writes."""
    chain.link.checkpoint(step, [])
    state = torch.load(side.folder / "llm" / f"ckpt-{step}" / "learner.pt", weights_only=True)
    return {name: value.numpy() for name, value in state["weights"].items()}


def test_the_gradients_of_all_weights_agree_with_finite_differences(side):
    chain = Chain(side)
    random, size, source = np.random.default_rng(5), 1e-5, ReaderSource(chain)
    directions = [random.normal(size=weight.shape) for weight in chain.weights]
    values = [weight.numpy() for weight in chain.weights]

    def along(chosen):
        found = []
        for sign in (1, -1):
            for weight, value, direction, moved in zip(chain.weights, values, directions, chosen, strict=True):
                weight.assign(value + sign * size * direction * moved)
            found.append(float(chain.loss(1, source=source)))
        for weight, value in zip(chain.weights, values, strict=True):
            weight.assign(value)
        return (found[0] - found[1]) / (2 * size)

    before = json.loads(chain.link.status())
    parts = {
        "everything": np.ones(len(values)),
        **{weight.name: np.arange(len(values)) == k for k, weight in enumerate(chain.weights)
           if any(part in weight.name for part in ("codes", "shared", "project", "Variable", "lift", "position"))},
    }  # fmt: skip
    assert len(parts) == 7, [weight.name for weight in chain.weights]
    differences = {name: along(chosen) for name, chosen in parts.items()}
    assert json.loads(chain.link.status())["version"] == before["version"]
    gradients = [(g * d).sum() for g, d in zip(chain.step(1), directions, strict=True)]
    for name, chosen in parts.items():
        assert abs(differences[name]) > 1e-6, name
        assert np.dot(gradients, chosen) == pytest.approx(differences[name], rel=1e-5), name


def test_users_that_were_helped_leave_lora_as_it_is_to_the_bit_and_change_nothing_else(side, monkeypatch):
    """What LoRA learns is the sum over the users it failed; all else is the same with any mask."""
    start = adapter(side, Chain(side), 0)
    gradients, moves = {}, {}
    for name, mask in {"none": [0, 0, 0, 0], "some": [1, 0, 1, 0], "others": [0, 1, 0, 1], "all": [1] * 4}.items():
        monkeypatch.setattr(collaboration, "helped", lambda *_, m=mask: tf.constant(m, tf.bool))
        chain = Chain(side)
        gradients[name] = chain.step(1)
        moves[name] = {part: value - start[part] for part, value in adapter(side, chain, 1).items()}
    for part in start:
        none, some, others, every = (moves[name][part] for name in ("none", "some", "others", "all"))
        if "lora" not in part:
            assert np.abs(none).max() > 0
            for other in (some, others, every):
                np.testing.assert_array_equal(other, none)
            continue
        assert every.tobytes() == np.zeros_like(every).tobytes()
        np.testing.assert_allclose(some + others, none, rtol=0, atol=1e-12)
        assert ("lora_A" in part) == (not np.abs(some).any())  # B is zero at first, so A's gradient is
    for name in ("some", "others", "all"):
        for mine, theirs in zip(gradients[name], gradients["none"], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_half_the_batch_by_each_of_two_workers_is_the_whole_batch_by_one(side_process):
    """With ``llm.accumulate`` the side process averages as synchronous workers do. Both halves have six positions."""
    side = side_process(dropout=0.0, checkpoint_updates=10**6, accumulate=2)
    coco = CocoConfig(**{**vars(COCO), "gamma": 0.25})
    halves = Chain(side, coco)
    parts = [halves.step(1, slice(0, 2)), halves.step(2, slice(2, 4))]
    of_halves = adapter(side, halves, 2)
    whole = Chain(side, coco)
    once = whole.step(1)
    whole.step(2)
    of_whole = adapter(side, whole, 2)
    for one, two, both in zip(*parts, once, strict=True):
        np.testing.assert_allclose((one + two) / 2, both, rtol=0, atol=1e-12)
    for part, value in of_whole.items():
        np.testing.assert_allclose(of_halves[part], value, rtol=0, atol=1e-12)

"""CoCo over a real side process in float64, as a test drives it step by step."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import tensorflow as tf
import tf_keras
import torch

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
    enabled=True, codes=5, selected=2, threshold=0.0, gate="scaled", gamma=0.0, residual=False, heads=2,
    width=WIDTH, knowledge_width=4, scale=0.4, commitment=0.25,
)  # fmt: skip
HISTORY = tf.constant([[0, 1, 2, 3], [0, 6, 5, 2], [4, 3, 2, 1], [0, 0, 5, 4]])
TARGETS = tf.constant([[0, 2, 3, 9], [0, 5, 2, 3], [3, 2, 1, 8], [0, 0, 4, 7]])


class Reads:
    """What an objective reads, in float64: the servers' tables hold float32."""

    def __init__(self, number, client):
        self.index, self.client = tf.cast(number, tf.int64), client

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

    def loss(self, number, rows=slice(None), source=None, asked=None):
        objective, batch = self._of(number, rows, source)
        return objective.loss(Reads(number, self.client), batch, asked)[0]

    def ask(self, number, rows=slice(None)):
        """What `loss` of the same step may be given later."""
        objective, batch = self._of(number, rows)
        return objective.ask(Reads(number, self.client), batch)

    def _of(self, number, rows, source=None):
        objective = Collaboration(self.recommender, self.prediction, source or LinkSource(self.link))
        seed = tf.stack([0, tf.cast(number, tf.int32)])
        return objective, objective.batch(HISTORY[rows], TARGETS[rows], seed)

    def step(self, number, rows=slice(None)):
        """The gradients of all weights, after which the side process has learnt."""
        return [gradient.numpy() for gradient in self.taken(number, rows)[1]]

    def taken(self, number, rows=slice(None), asked=None):
        """The loss, and as `step`, in a graph too."""
        with tf.GradientTape() as tape:
            loss = self.loss(number, rows, asked=asked)
        return loss, [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, self.weights)]


class ReaderSource:
    """Knowledge without learning. A `Source`."""

    def __init__(self, chain):
        self._know = Reader(chain.link).through(chain.client)

    def knowledge(self, step, selection, history, stored=None, asked=None):
        return self._know(selection, history), None


def adapter(side, chain, step):
    """The side process's weights, from a checkpoint that it writes."""
    chain.link.checkpoint(step, [])
    state = torch.load(side.folder / "llm" / f"ckpt-{step}" / "learner.pt", weights_only=True)
    return {name: value.numpy() for name, value in state["weights"].items()}

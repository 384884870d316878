"""CoCo's objective with knowledge that is given: what it asks, what it sums, which way its gradients go."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from trainer.attributes import Attributes
from trainer.collaboration import Collaboration
from trainer.config import CocoConfig, LossConfig, ModelConfig
from trainer.models.coco import Knowledge
from trainer.objective import Prediction
from trainer.recommender import Recommender
from trainer.sampling import Popularity
from trainer.step import Step

MODEL = ModelConfig(d=8, blocks=1, heads=2, max_length=6, dropout=0.0, item_stddev=0.5)
COCO = CocoConfig(
    enabled=True, codes=4, selected=2, threshold=0.1, residual=False, width=5, knowledge_width=8, scale=0.5
)  # fmt: skip
HISTORY = tf.constant([[0, 0, 1, 2, 3, 4], [0, 0, 0, 0, 5, 6], [0, 0, 0, 1, 5, 3]])
TARGETS = tf.constant([[0, 1, 2, 3, 4, 7], [0, 0, 0, 5, 6, 8], [0, 0, 1, 5, 3, 9]])
MARKER = 10
BACKBONES = {
    "sasrec": {}, "bert4rec": {"norm": "post", "mask_last": 1.0}, "pinnerformer": {"temperature": 0.2},
    "fdsa": {"attributes": ("categories",)}, "s3rec": {"attributes": ("categories",)},
}  # fmt: skip
ATTRIBUTES = Attributes(np.array([[-1, -1], *([i % 3, -1] for i in range(10))], np.int32), 3)


class Given:
    """A source that gives the same knowledge to whoever asks, and keeps what it was asked."""

    def __init__(self, h: np.ndarray | None = None) -> None:
        h = np.random.default_rng(3).normal(size=(3, 4, 8)) if h is None else h
        self.h, self.gate, self.asked = tf.constant(h, tf.float32), tf.zeros(3), []

    def knowledge(self, step, selection, history, stored=None, asked=None):
        self.asked.append((selection.prompts.numpy(), selection.mask.numpy(), history.numpy()))
        rows = len(history)
        return Knowledge(self.h[:rows], selection.mask), self.gate[:rows]


def made(kind="sasrec", loss="softmax", source=None, coco=COCO, **changes):
    config = replace(MODEL, kind=kind, **{**BACKBONES[kind], **changes})
    attributes = ATTRIBUTES if config.attributes else None
    recommender = Recommender(config, 11, seed=1, attributes=attributes, coco=coco)
    prediction = Prediction(recommender, LossConfig(loss, negatives=4), Popularity(np.arange(11)))
    return recommender, Collaboration(recommender, prediction, source or Given())


def taken(objective, targets=TARGETS):
    with Step(tf.constant(1, tf.int64)) as step:
        loss, count = objective.loss(step, objective.batch(HISTORY, targets, tf.constant([1, 2])))
    return step, loss, int(count)


def places(history, where):
    """The row of each position that is true in ``where``, and its column."""
    return [(history[row], column) for row, column in zip(*np.nonzero(where.numpy()), strict=True)]


def cross_entropy(h, vectors, target, met=()):
    """Of h (T, d); ``met`` has a list of items for each position, which are left out."""
    logits = tf.matmul(h, vectors[1:], transpose_b=True).numpy()
    for row, items in zip(logits, met, strict=False):
        row[[item - 1 for item in items]] = -np.inf
    return float(tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(target - 1, logits)))


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("positions", ["last", "all"])
def test_the_loss_is_the_weighted_sum_of_its_four_parts(positions, exclude_seen):
    source = Given()
    recommender, objective = made(source=source, coco=replace(COCO, positions=positions, exclude_seen=exclude_seen))
    step, loss, count = taken(objective)
    vectors, there = recommender.pull(), HISTORY > 0
    h = recommender.model(tf.gather(vectors, HISTORY), there)
    selection = recommender.coco.prompts(h[:, -1])
    aligned = recommender.coco.aligned(h, there, Knowledge(source.h, selection.mask))
    final = tf.concat([h[:, :-1], aligned[:, None]], axis=1)
    where = there & (tf.range(6) == 5)[None] if positions == "last" else there
    met = [row[row > 0] if exclude_seen and column == 5 else [] for row, column in places(HISTORY.numpy(), where)]
    parts = {
        "recommendation": cross_entropy(final[where], vectors, TARGETS[where], met),
        "auxiliary": cross_entropy(h[there], vectors, TARGETS[there]),
        "orthogonality": float(recommender.coco.codebook.orthogonality()),
        "quantization": float(tf.reduce_mean(selection.quantization)),
    }
    for name, part in parts.items():
        assert float(step.told[f"loss/{name}"][0]) == pytest.approx(part, rel=1e-5), name
    expected = np.dot(list(parts.values()), [1, 0.2, 0.15, 0.25])
    assert (float(loss), count) == (pytest.approx(expected, rel=1e-5), 9)


@pytest.mark.parametrize("kind", BACKBONES)
def test_what_is_asked_never_depends_on_the_last_target(kind):
    """A marker in its place changes no prompt and no history, and stands in none."""
    source = Given()
    _, objective = made(kind, source=source)
    taken(objective)
    taken(objective, tf.concat([TARGETS[:, :-1], tf.fill((3, 1), MARKER)], axis=1))
    for one, other in zip(*source.asked, strict=True):
        np.testing.assert_array_equal(one, other)
    prompts, mask, history = source.asked[0]
    np.testing.assert_array_equal(history, HISTORY)
    assert prompts.shape == (3, 4, 5) and mask[:, :2].all()


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax", "mixed", "in_batch", "bce"])
@pytest.mark.parametrize("kind", BACKBONES)
def test_every_backbone_and_loss_gives_finite_gradients_and_reads_no_row_it_did_not_tell_of(kind, loss):
    fusion = {"softmax": "attention", "bce": "concat"}.get(loss, "mlp")
    coco = replace(COCO, fusion=fusion, positions="last" if fusion == "mlp" else "all")
    recommender, objective = made(kind, loss, coco=coco)
    batch = objective.batch(HISTORY, TARGETS, tf.constant([1, 2]))
    told = objective.touched([batch])[recommender.items]
    read = []

    class Watched(Step):
        def rows(self, table, *ids):
            unique, rows, places = super().rows(table, *ids)
            read.extend(unique.numpy().tolist() if table is recommender.items else [])
            return unique, rows, places

    with Watched(tf.constant(1, tf.int64)) as step:
        total, _ = objective.loss(step, batch)
    assert told is None or set(read) == set(told.numpy().tolist())
    gradients = step._tape.gradient(total, [values for _, (values, *_) in step._flat])
    assert np.isfinite(total) and all(np.isfinite(gradient).all() for gradient in gradients)


def test_a_batch_none_of_whose_last_positions_is_asked_counts_for_nothing_there():
    recommender, objective = made("bert4rec", "sampled_softmax", mask_last=0.0, mask_rate=0.01)
    for seed in range(40):
        batch = objective.batch(HISTORY, TARGETS, tf.constant([seed, 0]))
        if not (batch.window.targets[:, -1] > 0).numpy().any():
            break
    with Step(tf.constant(1, tf.int64)) as step:
        loss, _ = objective.loss(step, batch)
    told = {name: value.numpy().tolist() for name, value in step.told.items()}
    assert told["loss/recommendation"] == [0, 1] and told["loss/quantization"] == [0, 1]
    assert told["helped"] == told["prompts_selected"] == [0, 0]
    assert all(np.isfinite(g).all() for g in step._tape.gradient(loss, [values for _, (values, *_) in step._flat]))


@pytest.mark.parametrize("elimination", ["adapter", "aligned", "off"])
def test_of_the_users_it_helped_the_language_model_learns_nothing(elimination):
    """Knowledge that is added to h_RS helps the first user and the third, and harms the second."""
    coco = replace(COCO, fusion="concat", residual=True, elimination=elimination)
    recommender, _ = made(coco=coco)
    target = tf.gather(recommender.pull(), TARGETS[:, -1]).numpy()
    source = Given(np.repeat((target * [[9], [-9], [9]])[:, None], 4, axis=1))
    recommender, objective = made(source=source, coco=coco)
    kernel = np.concatenate([np.zeros((8, 8)), np.eye(8)]).astype(np.float32)
    recommender.coco.fusion.outer.kernel.assign(kernel)
    recommender.dense.load(recommender.dense.variables, _flat(recommender))
    with tf.GradientTape() as tape:
        tape.watch([source.h, source.gate])
        step, loss, _ = taken(objective)
    h, gate = tape.gradient(loss, [source.h, source.gate], unconnected_gradients="zero")
    assert step.told["helped"].numpy().tolist() == [2, 3]
    assert gate.numpy().tolist() == ([1, 1, 1] if elimination == "off" else [1, 0, 1])
    learns = np.abs(h.numpy()).max(axis=(1, 2)) > 0
    assert learns.tolist() == ([False, True, False] if elimination == "aligned" else [True, True, True])


def _flat(recommender):
    """The weights as the layers hold them, end to end."""
    return np.concatenate([variable.numpy().ravel() for _, _, variable in recommender.dense._places])

"""What every backbone has to keep, whatever it is trained on."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from trainer import checkpoint, export, saved
from trainer.attributes import Attributes, read_attributes
from trainer.cluster.strategy import InProcess
from trainer.config import ExportConfig, LossConfig, ModelConfig, OptimizerConfig, PretrainConfig, TrainConfig
from trainer.input import Examples, held_out
from trainer.loop import Trainer
from trainer.models import MODELS
from trainer.next_item import NextItem
from trainer.objective import Prediction
from trainer.recommender import Recommender
from trainer.sampling import Popularity
from trainer.train import claim, write_json

ITEMS, LENGTH = 30, 8
OF_KIND = {
    "bert4rec": {"norm": "post"},
    "fdsa": {"attributes": ("categories",), "norm": "post"},
    "pinnerformer": {"temperature": 0.2, "norm": "pre"},
    "s3rec": {"attributes": ("categories",), "norm": "post"},
    "sasrec": {},
}
CAUSAL = sorted(set(MODELS) - {"bert4rec"})


def model_config(kind: str) -> ModelConfig:
    return ModelConfig(kind, d=8, blocks=2, heads=2, max_length=LENGTH, dropout=0.3, **OF_KIND[kind])


def made(kind: str) -> Recommender:
    config = model_config(kind)
    ids = np.random.default_rng(1).integers(-1, 6, (ITEMS, 3)).astype(np.int32)
    return Recommender(config, ITEMS, seed=1, attributes=Attributes(ids, 6) if config.attributes else None)


def outputs(recommender: Recommender, inputs: list[list[int]]) -> np.ndarray:
    """The model's vectors at all positions."""
    ids = tf.constant(inputs)
    x = recommender.model.hide(tf.gather(recommender.pull(), tf.maximum(ids, 0)), ids)
    return recommender.model(x, ids != 0).numpy()


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_later_item_never_changes_an_earlier_output(kind):
    recommender = made(kind)
    one = outputs(recommender, [[0, 0, 1, 2, 3, 4, 5, 6]])
    other = outputs(recommender, [[0, 0, 1, 2, 3, 4, 9, 8]])
    np.testing.assert_array_equal(one[:, 2:6], other[:, 2:6])
    assert (one[:, 6] != other[:, 6]).any()


@pytest.mark.parametrize("kind", CAUSAL)
def test_no_position_is_asked_for_an_item_it_has_seen(kind):
    """A target stands after its position in the sequence; items differ, so their numbers tell where."""
    history, targets = tf.constant([[0, 0, 1, 2, 3, 4, 5, 6]]), tf.constant([[0, 1, 2, 3, 4, 5, 6, 7]])
    for seed in range(20):
        window = made_once(kind).model.window(history, targets, tf.constant([seed, 1]))
        np.testing.assert_array_equal(window.inputs, history)
        found = window.targets.numpy()
        assert (found[:, :2] == 0).all() and (found > history.numpy())[:, 2:].all()


ONCE = {}


def made_once(kind: str) -> Recommender:
    """For what only asks and changes nothing."""
    if kind not in ONCE:
        ONCE[kind] = made(kind)
    return ONCE[kind]


@pytest.mark.parametrize("kind", ["bert4rec"])
def test_a_hidden_item_never_leaks_into_what_is_computed(kind):
    """Two sequences that differ only in the items that are hidden give the same inputs."""
    recommender = made_once(kind)
    objective = Prediction(recommender, LossConfig("bce"), Popularity(np.ones(ITEMS)))
    targets = tf.constant([[0, 1, 2, 3, 4, 5, 6, 7]] * 40)
    history, seed = tf.constant([[0, 0, 1, 2, 3, 4, 5, 6]] * 40), tf.constant([3, 4])
    first = objective.batch(history, targets, seed)
    hidden = first.targets.numpy() > 0
    changed = tf.where(hidden, targets + 10, targets)
    second = objective.batch(history, changed, seed)
    assert hidden.any(axis=1).all() and not hidden[:, 1:].all()
    np.testing.assert_array_equal(second.targets.numpy()[hidden], targets.numpy()[hidden] + 10)
    np.testing.assert_array_equal(first.inputs, second.inputs)
    assert not (first.inputs.numpy()[hidden] > 0).any()


@pytest.mark.parametrize("kind", MODELS)
def test_padding_has_no_influence(kind):
    recommender = made(kind)
    padded, short = [[0, 0, 0, 0, 1, 2, 3, 4]], [[1, 2, 3, 4]]
    before = outputs(recommender, padded)
    np.testing.assert_allclose(before[:, 4:], outputs(recommender, short), rtol=1e-5, atol=1e-6)
    history = tf.constant(padded)
    user = recommender.embed(history, recommender.pull()).numpy()
    moved = recommender.items.whole().numpy()
    moved[0] += 100.0
    recommender.items.assign(moved)
    np.testing.assert_array_equal(outputs(recommender, padded)[:, 4:], before[:, 4:])
    np.testing.assert_array_equal(recommender.embed(history, recommender.pull()), user)


@pytest.mark.parametrize("kind", MODELS)
def test_the_users_vector_is_that_of_the_last_position_of_what_is_asked(kind):
    recommender = made_once(kind)
    vectors, history = recommender.pull(), tf.constant([[0, 0, 1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7, 8]])
    asked = recommender.model.question(history)
    expected = outputs(recommender, asked.numpy().tolist())[:, -1]
    np.testing.assert_array_equal(recommender.embed(history, vectors), expected)
    scores = recommender.scores(history, vectors)
    np.testing.assert_allclose(scores, expected @ vectors.numpy()[:, :8].T, rtol=1e-5, atol=1e-6)


EPOCHS, PRETRAINING = 24, 8


@pytest.fixture(scope="module", params=MODELS)
def trained(request, shop, tmp_path_factory):
    """(folder, examples, recommender, history) of a few epochs on the shop."""
    data, folder = Examples(shop / "examples"), tmp_path_factory.mktemp(request.param)
    pretrain = PretrainConfig(epochs=PRETRAINING if request.param == "s3rec" else 0)
    model = dataclasses.replace(model_config(request.param), blocks=1, max_length=10, dropout=0.1)
    config = TrainConfig(
        batch=32, epochs=EPOCHS, steps_per_schedule=1, validate_every=EPOCHS, checkpoint_every=EPOCHS, model=model,
        pretrain=pretrain, loss=LossConfig("bce"), optimizer=OptimizerConfig(learning_rate=0.01),
    )  # fmt: skip
    out = folder / "models" / "ids"
    claim(out, config)
    attributes = read_attributes(data, model.attributes) if model.attributes else None
    recommender = Recommender(model, data.vocabulary.size, seed=1, attributes=attributes)
    progress = Trainer(InProcess(), NextItem(InProcess(), data, recommender, config), out, config).run()
    write_json(out / "history.json", {"summary": vars(progress) | {"running": None}, "epochs": progress.history})
    return folder, data, recommender, progress.history


def test_training_learns(trained):
    history = [entry["loss"] for entry in trained[-1]]
    for phase in (history[:-EPOCHS], history[-EPOCHS:]):
        few = len(phase) // 4  # the masks and the negatives are drawn anew in every epoch
        assert phase == [] or sum(phase[-few:]) < sum(phase[:few])


def test_saved_and_restored_it_is_the_same(trained):
    folder, data, recommender, _ = trained
    rows = next(held_out(data, "test", 10, 8))
    expected = recommender.scores(rows.history, recommender.pull())
    again = Recommender(recommender.config, recommender.size, seed=2, attributes=recommender.attributes)
    assert not np.allclose(again.scores(rows.history, again.pull()), expected)
    newest = checkpoint.newest(folder / "models" / "ids" / "checkpoints")
    checkpoint.restore_for_use(newest, again.tables, again.dense)
    np.testing.assert_array_equal(again.scores(rows.history, again.pull()), expected)


def test_served_scores_equal_the_trainers(trained):
    folder, data, _, _ = trained
    model = folder / "models" / "ids"
    exported = export.run(data.folder, model, folder / "export" / "ids", ExportConfig(top_k=5, warmup_requests=1))
    signatures = tf.saved_model.load(exported["path"]).signatures
    recommender = saved.load(model, data).recommender
    rows = next(held_out(data, "test", 10, 8))
    vectors = recommender.pull()
    ids = data.vocabulary.ids
    history = tf.constant([[ids[i - 1] if i else "" for i in row] for row in rows.history])
    candidates = tf.constant([ids] * len(rows.history))
    found = signatures["score"](history=history, candidates=candidates)["scores"]
    expected = recommender.scores(rows.history, vectors).numpy()
    np.testing.assert_allclose(found, expected[:, 1:], rtol=1e-4, atol=1e-4)
    best = signatures["serving_default"](history=history)
    unseen = np.where([[i in row for i in range(1, len(ids) + 1)] for row in rows.history], -np.inf, expected[:, 1:])
    np.testing.assert_allclose(best["scores"], -np.sort(-unseen, axis=1)[:, :5], rtol=1e-4, atol=1e-4)
    user = signatures["embed_user"](history=history)["embedding"]
    np.testing.assert_allclose(user, recommender.embed(rows.history, vectors), rtol=1e-4, atol=1e-4)

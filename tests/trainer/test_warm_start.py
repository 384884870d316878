import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from antiphon import work
from antiphon.config import load
from feature_store.errors import DataError
from trainer import averaging, checkpoint, optimizers, train, warm_start
from trainer.attributes import Attributes
from trainer.averaging import WeightAverage
from trainer.config import CocoConfig, ModelConfig, OptimizerConfig, TrainConfig
from trainer.layers.flat import weight_shapes
from trainer.recommender import Recommender
from trainer.warm_start import Source

MODEL = ModelConfig(d=4, blocks=1, max_length=5, dropout=0.1)
CONFIG = TrainConfig(model=MODEL, optimizer=OptimizerConfig("adam", 0.01))
COCO = CocoConfig(enabled=True, codes=4, selected=2, width=6, knowledge_width=3, scale=0.5)
ITEMS = [f"item{i}" for i in range(7)]


class Model:
    """A recommender with the slots of its training; ``devices`` of them hold its tables."""

    def __init__(self, config=CONFIG, items=ITEMS, seed=0, devices=(None,), attributes=None, knowledge=None):
        size = len(items) + 1
        self.config, self.items, self.attributes = config, items, attributes
        self.recommender = Recommender(config.model, size, knowledge, devices, seed, attributes, config.coco)
        self.optimizer = optimizers.build(config.optimizer)
        self.recommender.add_slots(self.optimizer)
        tables, dense = self.recommender.tables, self.recommender.dense
        as_trained = [] if self.recommender.coco is None else self.recommender.coco.own
        self.average = WeightAverage(tables, dense, config.average, as_trained) if config.average else None

    def saved(self, folder):
        """With other numbers in every array, as a finished training leaves it."""
        draw = np.random.default_rng(5)
        tables, dense = self.recommender.tables, self.recommender.dense
        for table in tables:
            for variables in (table.shards, *table.slots.values()):
                table.revise(variables, lambda first, values: draw.normal(size=values.shape))
        for variables in (dense.variables, *dense.slots.values()):
            dense.load(variables, draw.normal(size=dense.size).astype(np.float32))
        checkpoint.save(folder / "checkpoints", tables, dense, {"step": 40, "phase_step": 10})
        train.claim(folder, self.config)
        train.write_json(folder / "history.json", {"summary": {"best_checkpoint": "ckpt-40"}})
        warm_start.keep_names(folder, self.items, self.attributes)
        return self

    def start(self, folder):
        parts = (self.recommender, self.optimizer, self.items, self.config, self.average)
        return warm_start.start(Source.open(folder), *parts)

    def scores(self):
        """Of every item for two histories, as evaluation has them."""
        vectors = self.recommender.pull(averaging.SLOT if self.average else "")
        return self.recommender.scores(tf.constant([[0, 0, 1, 2, 3], [0, 0, 0, 7, 5]]), vectors).numpy()

    def rows(self, slot=""):
        return self.recommender.items.whole(slot).numpy()

    def weights(self, slot=""):
        dense = self.recommender.dense
        return dense.values(dense.slots[slot] if slot else dense.variables)


@pytest.mark.parametrize("now", [0.0, 0.5])
@pytest.mark.parametrize("before", [0.0, 0.5])
def test_it_scores_as_the_model_it_starts_from(tmp_path, before, now):
    source = Model(dataclasses.replace(CONFIG, average=before)).saved(tmp_path)
    model = Model(dataclasses.replace(CONFIG, average=now), seed=9, devices=(None, None))
    assert np.abs(model.scores() - source.scores()).max() > 0.1
    model.start(tmp_path)
    np.testing.assert_array_equal(model.scores(), source.scores())
    if not (before and not now):  # else the averaged weights are the first
        np.testing.assert_array_equal(model.weights(), source.weights())


def test_a_cluster_starts_with_what_one_process_does(sight):
    items, arrays = sight["warm here"]
    assert items["kept"] + 1 == len(arrays["table.item"]) - 1 and (items["new"], items["gone"]) == (1, 1)
    assert {"table.item.accumulator", "table.item.average", "dense.accumulator", "dense.average"} <= set(arrays)
    assert sight["warm there"] == sight["warm here"]


@pytest.mark.parametrize("shards", [1, 2])
def test_rows_follow_their_items_and_new_items_begin_as_ever(tmp_path, shards):
    config = dataclasses.replace(CONFIG, average=0.5)
    source = Model(config, ["a", "b", "c"]).saved(tmp_path)
    model = Model(config, ["c", "new", "a"], seed=9, devices=(None,) * shards)
    fresh = model.rows()[2].copy()
    found = model.start(tmp_path)
    for slot in ("", "m", "v", "average"):
        new = {"": fresh, "average": np.full(4, np.nan)}.get(slot, np.zeros(4))
        rows = source.rows(slot)
        np.testing.assert_array_equal(model.rows(slot), [rows[0], rows[3], new, rows[1]], err_msg=slot)
        np.testing.assert_array_equal(model.weights(slot), source.weights(slot), err_msg=slot)
    assert found["items"] == {"kept": 2, "new": 1, "gone": 1}
    assert (found["optimizer"], found["steps"], model.optimizer.taken) == ("kept", 30, 30)
    model.recommender.items.assign(np.full((4, 4), 8.0))
    model.average.update(2)  # what a new item began as is no part of its average
    np.testing.assert_array_equal(model.rows("average")[2], np.full(4, 8.0))
    np.testing.assert_array_equal(model.rows("average")[1], 0.5 * source.rows("average")[3] + 4.0)


def test_what_coco_adds_is_used_as_trained_and_what_is_new_below_it_begins_with_its_first_epoch(tmp_path):
    config = dataclasses.replace(CONFIG, average=0.5)
    Model(config).saved(tmp_path)
    told = dataclasses.replace(config, coco=COCO, model=dataclasses.replace(MODEL, knowledge="item_text"))
    model = Model(told, seed=9, knowledge=np.ones((8, 3), np.float32))
    model.start(tmp_path)
    names = list(weight_shapes(model.recommender.dense.model))
    before = model.weights("average")
    ends = np.cumsum([np.prod(shape) for shape in weight_shapes(model.recommender.dense.model).values()])
    none = [name for name, part in zip(names, np.split(before, ends[:-1]), strict=True) if np.isnan(part).any()]
    assert none and all(name.startswith("backbone.") for name in none)
    model.recommender.dense.load(model.recommender.dense.variables, np.full(len(before), 2.0, np.float32))
    model.average.update(2)
    parts = [np.split(values, ends[:-1]) for values in (before, model.weights("average"))]
    for name, was, now in zip(names, *parts, strict=True):
        new = name in none or not name.startswith("backbone.")
        np.testing.assert_allclose(now, 2.0 if new else 0.5 * was + 1.0, rtol=1e-6, err_msg=name)


def test_tables_of_many_blocks_are_carried_block_by_block(tmp_path, monkeypatch):
    for module in ("trainer.layers.tables", "trainer.warm_start"):
        monkeypatch.setattr(f"{module}.BLOCK_ROWS", 3)
    source = Model(items=ITEMS).saved(tmp_path)
    moved = [ITEMS[i] for i in (6, 2, 0, 5, 3, 1, 4)]
    model = Model(items=moved, devices=(None, None), seed=9)
    model.start(tmp_path)
    np.testing.assert_array_equal(model.rows()[1:], source.rows()[[7, 3, 1, 6, 4, 2, 5]])


def test_coco_starts_around_a_backbone_and_what_it_adds_begins_as_ever(tmp_path):
    source = Model().saved(tmp_path)
    model = Model(dataclasses.replace(CONFIG, coco=COCO), seed=9)
    coco = model.recommender.coco
    before = [coco.codebook.codes.numpy(), coco.fusion.inner.kernel.numpy()]
    found = model.start(tmp_path)
    np.testing.assert_array_equal(model.scores(), source.scores())
    np.testing.assert_array_equal(coco.codebook.codes, before[0])
    np.testing.assert_array_equal(coco.fusion.inner.kernel, before[1])
    assert "codebook.codes" in found["weights"]["new"] and not found["weights"]["gone"]
    assert (found["optimizer"], found["steps"]) == ("anew", 0)
    assert not model.weights("m").any() and not model.rows("m").any()


def test_a_backbone_starts_from_coco_without_what_that_adds(tmp_path):
    source = Model(dataclasses.replace(CONFIG, coco=COCO)).saved(tmp_path)
    model = Model(seed=9)
    found = model.start(tmp_path)
    np.testing.assert_array_equal(model.scores(), source.scores())
    assert "fusion.inner.kernel" in found["weights"]["gone"] and found["optimizer"] == "kept"


def test_attributes_keep_their_rows_by_name(tmp_path):
    config = dataclasses.replace(CONFIG, model=dataclasses.replace(MODEL, kind="fdsa", attributes=("brand",)))
    ids = np.zeros((8, 1), np.int32)
    old = Attributes(ids, 2, (("brand", "acme"), ("brand", "zen")))
    new = Attributes(ids, 3, (("brand", "acme"), ("brand", "midway"), ("brand", "zen")))
    source = Model(config, attributes=old).saved(tmp_path)
    model = Model(config, seed=9, devices=(None, None), attributes=new)
    (table,) = model.recommender.features.tables
    fresh = table.whole().numpy()[1]
    model.start(tmp_path)
    there = source.recommender.features.tables[0].whole().numpy()
    np.testing.assert_array_equal(table.whole(), [there[0], fresh, there[1]])


def test_a_weight_of_another_shape_is_named_with_both(tmp_path):
    Model().saved(tmp_path)
    other = Model(dataclasses.replace(CONFIG, model=dataclasses.replace(MODEL, max_length=6)))
    told = r"'encoder.position' has shape \(5, 4\), this model's \(6, 4\)"
    with pytest.raises(checkpoint.CheckpointError, match=told):
        other.start(tmp_path)


@pytest.mark.parametrize("kind, kept", [("adagrad", True), ("ftrl", True), ("ftrl other", False), ("sgd", False)])
def test_slots_go_on_under_the_same_optimizer_alone(tmp_path, kind, kept):
    before = OptimizerConfig("adagrad" if kind == "sgd" else kind.split()[0], 0.1)
    now = OptimizerConfig(kind.split()[0], 0.2 if kind == "ftrl other" else 0.1)
    source = Model(dataclasses.replace(CONFIG, optimizer=before)).saved(tmp_path)
    model = Model(dataclasses.replace(CONFIG, optimizer=now), seed=9)
    assert (model.start(tmp_path)["optimizer"] == "kept") == kept
    for slot in model.optimizer.slots:
        assert np.array_equal(model.rows(slot), source.rows(slot)) == kept
    if kind == "ftrl other":  # set out from the weights it has now
        np.testing.assert_allclose(model.rows("linear"), -(0.1**0.5) / 0.2 * source.rows(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["adam", "lazy_adam"])
def test_adam_counts_on(kind):
    made = []
    for taken, step in ((5, 2), (0, 7)):
        optimizer = optimizers.build(OptimizerConfig(kind, 0.1))
        optimizer.taken = taken
        variable, slots = tf.Variable([[1.0]]), {"m": tf.Variable([[0.2]]), "v": tf.Variable([[0.3]])}
        step = tf.constant(step, tf.int64)
        optimizer.rows(variable, slots, tf.constant([0], tf.int64), tf.constant([[0.5]]), step)
        optimizer.dense(variable, slots, tf.constant([[0.5]]), step)
        made.append(variable.numpy())
    np.testing.assert_array_equal(*made)


def test_a_folder_to_start_from_is_finished_and_says_its_items(tmp_path):
    with pytest.raises(FileNotFoundError, match="has not finished training"):
        Source.open(tmp_path / "nowhere")
    Model().saved(tmp_path)
    (tmp_path / "vocabulary" / "item.txt").unlink()
    with pytest.raises(DataError, match="does not say which item"):
        Source.open(tmp_path)


def test_a_variant_starts_from_another_and_resumes_where_it_was(shop, repository, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "examples").symlink_to(shop / "examples")

    def trained(name, epochs, *settings):
        base = ["cluster=", f"epochs={epochs}", "average=0.5", "batch=32", "steps_per_schedule=1"]
        overrides = [f"runs={tmp_path}", *(f"train.{setting}" for setting in base), *settings]
        config = load(repository / "configs" / "tiny.yaml", overrides)
        work.train(name)(config)
        return config.folder / "models" / name

    ids = trained("ids", 2)
    start = ("variants.whole.start_from=ids", "variants.broken.start_from=ids")
    whole = trained("whole", 2, *start)
    trained("broken", 1, *start)
    broken = trained("broken", 2, *start)
    one, two = (checkpoint.newest(folder / "checkpoints") for folder in (whole, broken))
    for path in sorted(one.glob("*.npy")):
        np.testing.assert_allclose(np.load(path), np.load(two / path.name), rtol=1e-5, atol=1e-7, err_msg=path.name)
    summary = json.loads((whole / "history.json").read_text())["summary"]
    assert summary["start"]["steps"] == summary["steps"]
    assert summary["start"]["weights"]["new"] == []
    before, after = (json.loads((folder / "history.json").read_text())["epochs"] for folder in (ids, whole))
    assert after[0]["loss"] < before[-1]["loss"] < before[0]["loss"]

"""Knowledge that lies beside the examples: read, trained with in-process and on a cluster, evaluated, exported."""

import json
from dataclasses import replace

import coco_cluster
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import told_users
from trained import parameters

from feature_store import folders, knowledge_shards, user_knowledge
from feature_store.errors import DataError
from feature_store.examples import read_rows
from trainer import chief, evaluate, export, optimizers, saved, train
from trainer.cluster.strategy import InProcess
from trainer.cluster.work_queue import WorkQueue
from trainer.config import CocoConfig, EvaluateConfig, ExportConfig, ModelConfig, OptimizerConfig, TrainConfig
from trainer.input import Examples, held_out
from trainer.models.coco import Knowledge
from trainer.next_item import NextItem
from trainer.recommender import Recommender
from trainer.stored import Stored


@pytest.fixture(scope="module")
def source(shop, tmp_path_factory):
    """Two vectors of each example, which tell its target and its user; half of the users have no second one."""
    folder, vocabulary = tmp_path_factory.mktemp("source"), Examples(shop / "examples").vocabulary
    items = {item: index for index, item in enumerate(vocabulary.ids, 1)}

    def tell(row, part):
        number = sum(map(ord, row["user_id"]))
        return [items[row["target"]], number, part + 1, 0, 7] if number % 2 or not part else None

    told_users.write(folder / "users", shop / "examples", tell)
    knowledge_shards.write(folder / "users", shop / "examples", folder / "shards")
    return folder


def config(source, **changes):
    coco = CocoConfig(enabled=True, source=str(source), fusion="mlp", positions="all")
    model = ModelConfig(d=8, blocks=1, max_length=10, dropout=0.1)
    settings = {"batch": 16, "epochs": 2, "steps_per_schedule": 1, "optimizer": OptimizerConfig(learning_rate=0.01)}
    return TrainConfig(**{**settings, "model": model, "coco": coco, **changes})


@pytest.fixture(scope="module")
def whole(source, shop, tmp_path_factory):
    """Trained in this process, and stopped and resumed between two epochs."""
    folder = tmp_path_factory.mktemp("stored") / "models" / "stored"
    for epochs in (1, 2):
        train.run(shop / "examples", None, folder, config(source, epochs=epochs))
    return folder


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_pieces_of_files_are_read_as_their_records_are(source, shop, split):
    data = Examples(shop / "examples")
    (shard, *_), expected = data.shards(split), user_knowledge.of_split(source / "users", shop / "examples", split)
    files, pieces = tf.constant([shard.file] * 2), (tf.constant([3, 0], tf.int64), tf.constant([2, 1], tf.int64))
    found = tf.function(Stored(str(source), data).read)(files, *pieces)
    np.testing.assert_array_equal(found.h, expected.vectors[[3, 4, 0]])
    np.testing.assert_array_equal(found.mask, expected.mask[[3, 4, 0]])
    rows = read_rows(shop / "examples", split, ["target"])["target"].to_pylist()
    assert [data.vocabulary.ids[int(value) - 1] for value in found.h[:, 0, 0].numpy()] == [rows[n] for n in (3, 4, 0)]


class Checked:
    """An objective without a model, that tells of each row its target and what lies beside it."""

    def batch(self, history, targets, seed, stored):
        return targets[:, -1], stored

    def touched(self, batches):
        return {}

    def loss(self, step, batch):
        targets, stored = batch
        step.tell("right", tf.cast(stored.h[:, 0, 0], tf.int32) == targets)
        return tf.constant(0.0), tf.size(targets)


def test_every_row_of_every_step_has_its_own_knowledge(source, shop):
    data = Examples(shop / "examples")
    settings = chief.fitted(replace(config(source), steps_per_schedule=2), data)
    recommender = chief.build(settings, data, None)
    task = NextItem(InProcess(), data, recommender, settings)
    task.objective = Checked()
    function, told = task.unit(optimizers.build(settings.optimizer), 2, 0, False), []
    queue = WorkQueue(data.shards("train"), 32, seed=1)
    while unit := queue.take():
        told.append(function(*unit.arguments(), tf.constant(1, tf.int64))[2]["right"].numpy().sum(0))
    right, rows = np.sum(told, axis=0)
    assert right == rows == data.count("train") > 32


def test_training_needs_no_side_process_and_tells_of_its_parts(whole, source):
    history = json.loads((whole / "history.json").read_text())["epochs"]
    assert history[-1]["loss/recommendation"] < history[0]["loss/recommendation"]
    assert history[0]["loss/orthogonality"] == history[0]["loss/quantization"] == history[0]["prompts_selected"] == 0
    found = json.loads((whole / "config.json").read_text())
    assert (found["coco"]["knowledge_width"], found["llm"]["address"]) == (5, "")


def test_a_cluster_without_a_stop_gives_the_same_model_and_validation(whole, source, shop, repository, tmp_path):
    expected = parameters(whole)
    valid = [entry["valid/ndcg@10"] for entry in json.loads((whole / "history.json").read_text())["epochs"]]
    said = coco_cluster.train(repository, shop, tmp_path, config(source), 1, "off,on")
    for one, mode in zip(said, ("off", "on"), strict=True):
        found = parameters(tmp_path / mode)
        assert found.keys() == expected.keys()
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-5, err_msg=f"{mode} {name}")
        assert one["valid"] == pytest.approx(valid, rel=1e-4)


def test_evaluation_and_export_use_the_rows_of_their_own_split(whole, source, shop, tmp_path):
    result = evaluate.run(shop / "examples", whole, tmp_path / "evaluation", EvaluateConfig(bootstrap=50, batch=7))
    best = json.loads((whole / "history.json").read_text())["summary"]["valid_ndcg@10"]
    assert result["valid"]["ndcg@10"]["mean"] == pytest.approx(best, rel=1e-5)
    export.run(shop / "examples", whole, tmp_path / "export", ExportConfig(top_k=5, warmup_requests=1))
    signatures = tf.saved_model.load(str(tmp_path / "export" / "1")).signatures
    data = Examples(shop / "examples")
    recommender, rows = saved.load(whole, data).recommender, next(held_out(data, "test", 10, 4))
    told = user_knowledge.of_split(source / "users", shop / "examples", "test")
    given = Knowledge(tf.constant(told.vectors[:4]), tf.constant(told.mask[:4]))
    expected = recommender.scores(rows.history, recommender.pull(), lambda *_: given)
    assert np.abs(expected - recommender.scores(rows.history, recommender.pull())).max() > 1e-4
    ids = ["", *data.vocabulary.ids]
    asked = {
        "history": tf.constant([[ids[i] for i in row] for row in rows.history]),
        "candidates": tf.constant([ids[1:]] * 4),
    }
    found = signatures["score_known"](**asked, knowledge=given.h, knowledge_mask=given.mask)["scores"]
    np.testing.assert_allclose(found, expected[:, 1:], rtol=1e-4, atol=1e-5)


@pytest.fixture
def items(shop, tmp_path):
    """Random vectors of the items, as wide as those of the users."""
    ids = Examples(shop / "examples").vocabulary.ids
    vectors = np.random.default_rng(0).normal(size=(len(ids), 5)).astype(np.float32)
    (tmp_path / "items").mkdir()
    pq.write_table(pa.table({"item_id": ids, "vector": list(vectors)}), tmp_path / "items" / "0.parquet")
    folders.write_manifest(
        tmp_path / "items", {"files": [folders.describe(tmp_path / "items" / "0.parquet", tmp_path / "items")]}
    )
    return tmp_path / "items"


def test_hybrid_experts_learn_from_what_is_known_of_users_and_of_items(source, shop, items, tmp_path):
    settings = config(source)
    model = replace(settings.model, knowledge="kar", knowledge_width=0)
    settings = replace(settings, model=model, coco=replace(settings.coco, adapter="experts", fusion="concat"))
    train.run(shop / "examples", items, tmp_path / "kar", settings)
    restored = saved.load(tmp_path / "kar", Examples(shop / "examples")).recommender
    experts = restored.coco.adapter
    restored.pull()
    assert np.abs(experts.factor).max() > 0
    assert np.abs(restored.vectors() - restored.items.whole()).max() > 0
    vectors = restored.knowledge.whole().numpy()
    start = Recommender(model, restored.size, vectors, seed=1, coco=restored.coco.config).coco
    for name in ("shared", "preference", "fact"):
        before, after = (getattr(part, name)[0].inner.kernel for part in (start.adapter, experts))
        assert np.abs(after - before).max() > 0, name
    with pytest.raises(ValueError, match="model.knowledge must be as wide as that of users, 5, received 3"):
        Recommender(model, 4, np.zeros((4, 3), np.float32), coco=restored.coco.config)
    with pytest.raises(ValueError, match="model.knowledge must be set with coco.adapter 'experts'"):
        replace(settings, model=replace(model, knowledge=""))


def test_what_cannot_be_trained_with_is_refused_before_any_work(source, shop, tmp_path):
    with pytest.raises(DataError, match=r"missing/shards: the folder has no MANIFEST.json"):
        train.run(shop / "examples", None, tmp_path / "a", config(tmp_path / "missing"))
    wide = config(source)
    wide = replace(wide, coco=replace(wide.coco, knowledge_width=6))
    with pytest.raises(ValueError, match="coco.knowledge_width must be 5, as wide as what is stored in"):
        train.run(shop / "examples", None, tmp_path / "a", wide)
    with pytest.raises(ValueError, match="prompts must be empty with source"):
        CocoConfig(enabled=True, source="x", prompts="y")
    assert not (tmp_path / "a").exists()

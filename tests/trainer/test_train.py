import json
import resource
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from trainer import checkpoint, evaluate, train
from trainer.attributes import read_attributes
from trainer.cluster.strategy import InProcess
from trainer.config import EvaluateConfig, LossConfig, ModelConfig, OptimizerConfig, PretrainConfig, TrainConfig
from trainer.input import Examples
from trainer.loop import Trainer
from trainer.next_item import NextItem
from trainer.recommender import Recommender

MODEL = ModelConfig(d=8, blocks=1, max_length=10, dropout=0.1)
CONFIG = TrainConfig(
    batch=16, epochs=4, steps_per_schedule=2, model=MODEL, optimizer=OptimizerConfig(learning_rate=0.01)
)


def parameters(folder):
    return {p.stem: np.load(p) for p in sorted(folder.glob("*.npy"))}


def test_training_learns_and_leaves_history_and_its_best_checkpoint(shop, tmp_path):
    summary = train.run(shop / "examples", None, tmp_path / "ids", CONFIG)
    history = json.loads((tmp_path / "ids" / "history.json").read_text())["epochs"]
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4]
    assert history[-1]["loss"] < history[0]["loss"]
    best = max(history, key=lambda entry: entry["valid/ndcg@10"])
    assert summary["best_epoch"] == best["epoch"]
    assert (tmp_path / "ids" / "checkpoints" / summary["best_checkpoint"] / "state.json").exists()
    assert list((tmp_path / "ids" / "tensorboard").iterdir())


@pytest.mark.parametrize("held_back", [0, 1, 3])
def test_what_is_held_back_is_not_asked(shop, tmp_path, held_back):
    """A row of n items asks n − 1 of them, or as many as the model looks back; of what is held back, none."""
    files = [str(file) for file in sorted((shop / "examples" / "train").glob("*.tfrecord*"))]
    compression = "GZIP" if files[0].endswith(".gz") else ""
    items = []
    for record in tf.data.TFRecordDataset(files, compression).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        items.append(len(features["history"].bytes_list.value) + 1)
    train.run(shop / "examples", None, tmp_path / "ids", replace(CONFIG, epochs=1, held_back=held_back))
    (epoch,) = json.loads((tmp_path / "ids" / "history.json").read_text())["epochs"]
    assert epoch["targets"] == sum(min(max(n - held_back - 1, 0), MODEL.max_length) for n in items) > 0


def test_a_stopped_run_resumed_ends_where_an_unbroken_one_does(shop, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train.run(shop / "examples", None, whole, CONFIG)
    train.run(shop / "examples", None, broken, TrainConfig(**{**vars(CONFIG), "epochs": 2}))
    train.run(shop / "examples", None, broken, CONFIG)
    one = parameters(checkpoint.newest(whole / "checkpoints"))
    two = parameters(checkpoint.newest(broken / "checkpoints"))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-5, atol=1e-7, err_msg=name)


class Ended(Exception):
    pass


class EndsAfter(InProcess):
    """Sends this process SIGTERM when so many units have been scheduled."""

    def __init__(self, units):
        self.units = units

    def schedule(self, function, args=()):
        self.units -= 1
        if self.units == 0:
            signal.raise_signal(signal.SIGTERM)
        return super().schedule(function, args)


@pytest.fixture
def sigterm():
    def end(*_):
        raise Ended

    before = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, before)


def trainer(runtime, examples, folder, config):
    data = Examples(examples)
    recommender = Recommender(MODEL, data.vocabulary.size, seed=1)
    return Trainer(runtime, NextItem(runtime, data, recommender, config), folder, config)


def test_a_run_that_was_told_to_end_inside_an_epoch_ends_where_an_unbroken_one_does(shop, tmp_path, sigterm):
    config = TrainConfig(**{**vars(CONFIG), "batch": 4, "epochs": 3, "average": 0.5, "grace_seconds": 900.0})
    whole = trainer(InProcess(), shop / "examples", tmp_path / "whole", config).run()
    with pytest.raises(Ended):
        trainer(EndsAfter(12), shop / "examples", tmp_path / "broken", config).run()
    state = json.loads((checkpoint.newest(tmp_path / "broken" / "checkpoints") / "state.json").read_text())
    assert state["epoch"] == 1 and 0 < len(state["queue"]["done"]) < 8
    assert state["running"]["examples"] == 8 * len(state["queue"]["done"])
    resumed = trainer(InProcess(), shop / "examples", tmp_path / "broken", config).run()
    assert (resumed.step, resumed.examples, resumed.repeated) == (whole.step, whole.examples, 0)
    manifest = Examples(shop / "examples").manifest["splits"]["train"]
    assert resumed.examples == 3 * manifest["examples"]
    for one, two in zip(whole.history, resumed.history, strict=True):
        assert one["targets"] == two["targets"] == manifest["targets"]
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)
    one = parameters(checkpoint.newest(tmp_path / "whole" / "checkpoints"))
    two = parameters(checkpoint.newest(tmp_path / "broken" / "checkpoints"))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_pretraining_is_a_phase_of_the_same_run_and_each_phase_is_resumed(shop, tmp_path, sigterm):
    model = ModelConfig("s3rec", d=8, blocks=1, max_length=10, dropout=0.1, attributes=("categories",))
    config = replace(
        CONFIG, model=model, batch=12, pretrain=PretrainConfig(epochs=2), loss=LossConfig("bce"), epochs=2,
        grace_seconds=900.0,
    )  # fmt: skip
    data = Examples(shop / "examples")
    units = -(-data.count("train") // 24)

    def run(runtime, folder):
        attributes = read_attributes(data, model.attributes)
        recommender = Recommender(model, data.vocabulary.size, None, (None,), 1, attributes)
        return Trainer(runtime, NextItem(runtime, data, recommender, config), folder, config).run()

    whole = run(InProcess(), tmp_path / "whole")
    assert ["valid/ndcg@10" in entry for entry in whole.history] == [False, False, True, True]
    losses = [entry["loss"] for entry in whole.history]
    assert losses[1] < losses[0] and losses[3] < losses[2]
    assert whole.best_epoch > 2 and whole.phase_step == whole.step / 2
    for scheduled, epoch in ((units + 2, 1), (units, 2)):  # of two epochs the second, then the one after it
        with pytest.raises(Ended):
            run(EndsAfter(scheduled), tmp_path / "broken")
        state = json.loads((checkpoint.newest(tmp_path / "broken" / "checkpoints") / "state.json").read_text())
        assert state["epoch"] == epoch and state["queue"]["done"]
    run(InProcess(), tmp_path / "broken")
    one, two = (parameters(checkpoint.newest(tmp_path / name / "checkpoints")) for name in ("whole", "broken"))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_checkpoints_are_written_inside_an_epoch(shop, tmp_path):
    often = {"batch": 2, "epochs": 2, "checkpoint_minutes": 1e-9, "keep_checkpoints": 999}
    config = TrainConfig(**{**vars(CONFIG), **often})
    progress = trainer(InProcess(), shop / "examples", tmp_path / "ids", config).run()
    states = [json.loads(p.read_text()) for p in (tmp_path / "ids" / "checkpoints").glob("ckpt-*/state.json")]
    assert sorted(state["epoch"] for state in states if not state["queue"]["done"]) == [1, 2]
    inside = [state for state in states if state["queue"]["done"]]
    assert inside and all(state["running"]["examples"] == 4 * len(state["queue"]["done"]) for state in inside)
    assert progress.best_checkpoint in {f"ckpt-{state['step']}" for state in states}


class FullDisk(InProcess):
    """While the units ``first`` to ``last`` are scheduled, no file may grow beyond 100 bytes.

    Where ``folder`` is given, a checkpoint is in it before that.
    """

    def __init__(self, first, last, folder=None):
        self.first, self.last, self.folder, self.unit = first, last, folder, 0

    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        return self

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    def schedule(self, function, args=()):
        self.unit += 1
        if self.unit == self.first:
            while self.folder and checkpoint.newest(self.folder) is None:
                time.sleep(0.01)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, self.before[1]))
        if self.unit == self.last + 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, self.before)
        return super().schedule(function, args)


def test_training_goes_on_with_a_full_disk_and_names_only_checkpoints_that_are_there(shop, tmp_path, capsys):
    config = TrainConfig(**{**vars(CONFIG), "batch": 4, "epochs": 4})
    units = -(-Examples(shop / "examples").count("train") // 8)
    with FullDisk(2, 2 * units - 1) as disk:
        progress = trainer(disk, shop / "examples", tmp_path / "ids", config).run()
    assert "could not be written" in capsys.readouterr().out
    assert progress.epoch == 4
    assert progress.best_epoch > 1
    assert (tmp_path / "ids" / "checkpoints" / progress.best_checkpoint / "state.json").exists()


def test_a_last_checkpoint_that_cannot_be_written_is_an_error(shop, tmp_path, capsys):
    config = TrainConfig(**{**vars(CONFIG), "batch": 4, "epochs": 2})
    units = -(-Examples(shop / "examples").count("train") // 8)
    full = FullDisk(units + 2, 999, tmp_path / "ids" / "checkpoints")
    with full as disk, pytest.raises(OSError, match="File too large"):
        trainer(disk, shop / "examples", tmp_path / "ids", config).run()
    newest = checkpoint.newest(tmp_path / "ids" / "checkpoints")
    assert json.loads((newest / "state.json").read_text())["epoch"] == 1


def test_another_model_in_the_same_folder_is_refused(shop, tmp_path):
    train.run(shop / "examples", None, tmp_path / "ids", TrainConfig(**{**vars(CONFIG), "epochs": 1}))
    other = TrainConfig(**{**vars(CONFIG), "batch": 8})
    with pytest.raises(ValueError, match="trained with batch=16, asked for 8"):
        train.run(shop / "examples", None, tmp_path / "ids", other)


def test_histories_longer_than_the_examples_hold_are_refused(shop, tmp_path):
    config = TrainConfig(model=ModelConfig(max_length=11))
    with pytest.raises(ValueError, match="max_length is 11.*at most 10 items"):
        train.run(shop / "examples", None, tmp_path / "ids", config)


def test_patience_stops_a_run_that_no_longer_improves(shop, tmp_path):
    frozen = OptimizerConfig(kind="sgd", learning_rate=1e-12)
    config = TrainConfig(batch=16, epochs=50, patience=2, model=MODEL, optimizer=frozen)
    assert train.run(shop / "examples", None, tmp_path / "ids", config)["epochs"] == 3


def test_a_diverged_loss_stops_with_the_setting_to_change(shop, tmp_path):
    wild = OptimizerConfig(kind="sgd", learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="lower optimizer.learning_rate"):
        config = TrainConfig(batch=16, epochs=5, model=MODEL, optimizer=wild)
        train.run(shop / "examples", None, tmp_path / "ids", config)


@pytest.mark.parametrize(
    ("loss", "optimizer"), [("sampled_softmax", "lazy_adam"), ("in_batch", "rowwise_adagrad"), ("bce", "ftrl")]
)
def test_every_loss_falls(shop, tmp_path, loss, optimizer):
    config = TrainConfig(
        batch=16, epochs=4, model=MODEL, loss=LossConfig(kind=loss, negatives=8),
        optimizer=OptimizerConfig(kind=optimizer, learning_rate=0.03),
    )  # fmt: skip
    data = Examples(shop / "examples")
    recommender = Recommender(MODEL, data.vocabulary.size, seed=1)
    task = NextItem(InProcess(), data, recommender, config)
    history = Trainer(InProcess(), task, tmp_path / "ids", config).run().history
    assert history[-1]["loss"] < history[0]["loss"]


def test_reading_ahead_changes_the_steps_of_a_unit_but_its_first(shop, tmp_path):
    losses = {}
    for steps in (1, 3):
        for prefetch in (False, True):
            config = TrainConfig(
                batch=16, epochs=2, steps_per_schedule=steps, model=MODEL, loss=LossConfig("in_batch"),
                optimizer=OptimizerConfig("adagrad", 0.03), working_set="off", prefetch=prefetch,
            )  # fmt: skip
            out = tmp_path / f"{steps}-{prefetch}"
            train.run(shop / "examples", None, out, config)
            history = json.loads((out / "history.json").read_text())["epochs"]
            losses[steps, prefetch] = [entry["loss"] for entry in history]
    assert losses[1, True] == pytest.approx(losses[1, False], rel=1e-5)
    assert losses[3, True] != pytest.approx(losses[3, False], rel=1e-5)
    assert losses[3, True][1] < losses[3, True][0]


def test_knowledge_is_trained_on_saved_and_evaluated(shop, knowledge, tmp_path):
    model = ModelConfig(d=8, blocks=1, max_length=10, knowledge="item_text", knowledge_width=4)
    config = TrainConfig(batch=16, epochs=2, model=model)
    train.run(shop / "examples", knowledge, tmp_path / "text", config)
    out = tmp_path / "evaluation"
    result = evaluate.run(shop / "examples", tmp_path / "text", out, EvaluateConfig(bootstrap=50))
    assert 0 <= result["test"]["ndcg@10"]["low"] <= result["test"]["ndcg@10"]["mean"]
    assert result["test"]["users"] == Examples(shop / "examples").count("test")
    same = evaluate.compare(out, out, tmp_path / "comparison.json", EvaluateConfig(bootstrap=50))
    assert same["b_minus_a"]["recall@10"]["p_value"] == 1.0

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from trained import parameters

from trainer.cluster import strategy

KINDS = ["sgd", "adagrad", "rowwise_adagrad", "ftrl", "adam", "lazy_adam"]


def python(repository, *arguments):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def trajectories(repository, tmp_path_factory):
    script = Path(__file__).with_name("trajectory.py")
    found = {}
    for size in ("", "ps=2,workers=1"):
        process = python(repository, script, ",".join(KINDS), size, tmp_path_factory.mktemp("logs"))
        out, error = process.communicate(timeout=900)
        assert process.returncode == 0, error[-3000:]
        found[size] = json.loads(out.splitlines()[-1])
    return found


@pytest.mark.parametrize("working_set", ["on", "off"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_takes_the_same_path_as_one_process(trajectories, kind, working_set):
    alone = np.array(trajectories[""][f"{kind} off"])
    cluster = np.array(trajectories["ps=2,workers=1"][f"{kind} {working_set}"])
    assert abs(alone[0] - alone[49]) > 1e-4  # it learns
    difference = np.linalg.norm(cluster - alone) / np.linalg.norm(alone)
    assert difference < 1e-5
    np.testing.assert_allclose(cluster[:50], alone[:50], rtol=1e-5)


def test_reading_ahead_takes_a_path_of_its_own_and_the_same_one_everywhere(trajectories):
    exact = np.array(trajectories[""]["adagrad off"])
    alone = np.array(trajectories[""]["adagrad ahead"])
    cluster = np.array(trajectories["ps=2,workers=1"]["adagrad ahead"])
    apart = np.linalg.norm(alone - exact)
    assert apart / np.linalg.norm(exact) > 1e-5
    assert np.linalg.norm(cluster - alone) < apart / 10


@pytest.mark.parametrize("mode", ["off", "on", "ahead"])
def test_rounding_on_the_wire_keeps_near_the_path(trajectories, mode):
    """Only on a cluster: in one process nothing travels, so nothing is rounded."""
    same = "ahead" if mode == "ahead" else "off"
    alone = np.array(trajectories[""][f"adagrad {same}"])
    np.testing.assert_array_equal(trajectories[""][f"adagrad {same} bfloat16"], alone)
    cluster = np.array(trajectories["ps=2,workers=1"][f"adagrad {mode} bfloat16"])
    difference = np.linalg.norm(cluster - alone) / np.linalg.norm(alone)
    assert 1e-5 < difference < 2**-7


TRAIN = """
import json, sys
from dataclasses import replace
from contextlib import ExitStack
from pathlib import Path
from trainer.cluster import strategy
from trainer.cluster.launcher import ClusterSize, LocalCluster
from trainer.attributes import read_attributes
from trainer.config import LossConfig, ModelConfig, OptimizerConfig, PretrainConfig, TrainConfig
from trainer.input import Examples
from trainer.loop import Trainer
from trainer.next_item import NextItem
from trainer.recommender import Recommender

examples, out, cluster, loss = sys.argv[1:]
backbones = {
    "bert4rec": (("on",), {"norm": "post"}),
    "fdsa": (("on", "off"), {"attributes": ("categories",)}),
    "s3rec": (("on", "off"), {"attributes": ("categories",)}),
    "pinnerformer": (("on",), {"temperature": 0.2}),
}
examples, out = Examples(Path(examples)), Path(out)
model = ModelConfig(d=8, blocks=1, max_length=10, dropout=0.1)
with ExitStack() as stack:
    runtime = strategy.InProcess()
    if cluster:
        servers = stack.enter_context(LocalCluster(ClusterSize.parse(cluster), out / "logs"))
        runtime = strategy.connect(servers.tf_config)
    kinds = ("sgd", "adagrad", "rowwise_adagrad", "ftrl", "adam", "lazy_adam")
    runs = [(mode, kind, "float32") for mode in (("on", "off") if cluster else ("off",)) for kind in kinds]
    runs += [(mode, "adagrad", "bfloat16") for mode in ("on", "off") if cluster]
    for working_set, kind, wire in runs:
        config = TrainConfig(
            batch=4, epochs=5, steps_per_schedule=5, loss=LossConfig(loss, negatives=5), model=model,
            optimizer=OptimizerConfig(kind, 0.01), working_set=working_set, average=0.5, wire=wire,
        )
        recommender = Recommender(model, examples.vocabulary.size, None, runtime.ps_devices, config.seed)
        task = NextItem(runtime, examples, recommender, config)
        progress = Trainer(runtime, task, out / wire / working_set / kind, config).run()
        assert progress.step >= 50
    attributes = read_attributes(examples, ("categories",))
    for kind, (modes, settings) in backbones.items():
        model = ModelConfig(kind, d=8, blocks=1, max_length=10, dropout=0.1, **settings)
        config = TrainConfig(
            batch=12, epochs=4, steps_per_schedule=2, validate_every=4, model=model,
            loss=LossConfig("mixed" if kind == "pinnerformer" else loss, negatives=5),
            optimizer=OptimizerConfig("adagrad", 0.01),
        )
        if kind == "s3rec":
            config = replace(config, epochs=2, pretrain=PretrainConfig(epochs=2))
        for working_set in modes if cluster else ("off",):
            config = replace(config, working_set=working_set)
            devices, known = runtime.ps_devices, attributes if model.attributes else None
            recommender = Recommender(model, examples.vocabulary.size, None, devices, config.seed, known)
            task = NextItem(runtime, examples, recommender, config)
            progress = Trainer(runtime, task, out / "float32" / working_set / kind, config).run()
            assert progress.epoch == 4
"""

BACKBONES = {"bert4rec": ["on"], "fdsa": ["on", "off"], "s3rec": ["on", "off"], "pinnerformer": ["on"]}


@pytest.mark.parametrize("loss", ["sampled_softmax", pytest.param("softmax", marks=pytest.mark.slow)])
def test_every_backbone_trains_to_the_same_parameters_on_a_cluster(repository, shop, tmp_path, loss):
    for size in ("", "ps=2,workers=1"):
        process = python(repository, "-c", TRAIN, shop / "examples", tmp_path / size, size, loss)
        _, error = process.communicate(timeout=1800)
        assert process.returncode == 0, error[-3000:]
    for kind, modes in {**dict.fromkeys(KINDS, ["on", "off"]), **BACKBONES}.items():
        alone = parameters(tmp_path / "float32" / "off" / kind)
        for working_set in modes:
            cluster = parameters(tmp_path / "ps=2,workers=1" / "float32" / working_set / kind)
            assert alone.keys() == cluster.keys()
            for name, far in differences(cluster, alone).items():
                assert far < 1e-5, (kind, working_set, name)
            if kind == "adagrad":
                rounded = parameters(tmp_path / "ps=2,workers=1" / "bfloat16" / working_set / kind)
                far = differences(rounded, alone)
                assert max(far.values()) > 1e-5 and far["table.item"] < 2**-6 and far["dense"] < 2**-6


def differences(one, other):
    return {name: np.linalg.norm(one[name] - other[name]) / np.linalg.norm(other[name]) for name in other}


SLOW = """
import sys
from functools import cache
from pathlib import Path
import tensorflow as tf
from trainer.cluster import strategy
from trainer.cluster.launcher import ClusterSize, LocalCluster
from trainer.config import LossConfig, ModelConfig, TrainConfig
from trainer.input import Examples
from trainer.loop import Trainer
from trainer.next_item import NextItem
from trainer.recommender import Recommender


class OneSlowUnit(Trainer):
    # The first unit of an epoch waits on its worker until every other unit of the epoch has ended.

    @cache
    def _function(self, steps):
        whole = super()._function(steps)
        if not hasattr(self, "ended"):
            with tf.device(self.runtime.ps_devices[0]):
                self.ended = tf.Variable(0)

        @tf.function(input_signature=whole.input_signature)
        def unit(files, firsts, counts, seed, first):
            others = tf.where(seed[1] == 0, self.queue.units - 1, 0)
            now = self.ended.read_value()
            waited = tf.while_loop(lambda ended: ended < others, lambda _: [self.ended.read_value()], [now])
            with tf.control_dependencies(waited):
                losses, targets, told = whole(files, firsts, counts, seed, first)
            with tf.control_dependencies([targets]):
                self.ended.assign_add(1)
            return losses, targets, told

        return unit


examples, out = Examples(Path(sys.argv[1])), Path(sys.argv[2])
model = ModelConfig(d=8, blocks=1, max_length=10)
config = TrainConfig(batch=4, epochs=1, steps_per_schedule=1, model=model, loss=LossConfig("in_batch"))
with LocalCluster(ClusterSize(ps=1, workers=2), out / "logs") as servers:
    runtime = strategy.connect(servers.tf_config)
    recommender = Recommender(model, examples.vocabulary.size, None, runtime.ps_devices, 1)
    trainer = OneSlowUnit(runtime, NextItem(runtime, examples, recommender, config), out, config)
    entry, = trainer.run().history
    units = sorted(entry[f"worker_{k}/steps"] for k in (0, 1))  # one step a unit
    assert units == [1, trainer.queue.units - 1], units
    assert entry["examples"] == examples.count("train") and entry["repeated"] == 0
"""


def test_a_slow_worker_does_not_idle_the_others(repository, shop, tmp_path):
    process = python(repository, "-c", SLOW, shop / "examples", tmp_path)
    _, error = process.communicate(timeout=900)
    assert process.returncode == 0, error[-3000:]


LOSE = """
import os, signal, sys, time
import tensorflow as tf
from trainer.cluster import strategy
from trainer.cluster.launcher import ClusterSize, LocalCluster

with LocalCluster(ClusterSize(ps=2, workers=1), sys.argv[1]) as servers:
    cluster = strategy.connect(servers.tf_config)
    with tf.device(cluster.ps_devices[1]):
        count = tf.Variable(0)

    @tf.function
    def step():
        return count.assign_add(1)

    assert cluster.schedule(step).fetch() == 1
    os.kill(servers.pids["ps-1"], signal.SIGKILL)
    try:
        for _ in range(100):
            cluster.schedule(step)
            cluster.join()
    except strategy.ParameterServerLost as error:
        print(error)
"""


def test_a_lost_parameter_server_is_named(repository, tmp_path):
    process = python(repository, "-c", LOSE, tmp_path)
    out, error = process.communicate(timeout=180)
    assert "parameter server 1 does not answer: restart the cluster" in out, error[-3000:]


def test_a_call_in_process_runs_at_once():
    runtime = strategy.InProcess()
    assert runtime.schedule(lambda x: {"y": x + 1}, (tf.constant(1),)).fetch() == {"y": 2}
    assert runtime.ps_devices == [None]
    runtime.join()


@pytest.mark.parametrize(
    ("tf_config", "message"),
    [
        ({"cluster": {"ps": ["a:1"]}, "task": {"type": "worker", "index": 0}}, "\"chief\", got 'worker'"),
        ({"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}, "the cluster has no 'ps'"),
    ],
)
def test_a_coordinator_needs_every_role(tf_config, message):
    with pytest.raises(ValueError, match=message):
        strategy.connect(tf_config)

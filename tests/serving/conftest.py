"""A small recommender whose answers can be worked out by hand, and servers as real processes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import two_towers
from server_process import ServerProcess, start, starting
from tensorflow.core.example import example_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.predict import SavedModel

ITEMS = ["a", "b", "c", "d", "e"]


class Catalogue(tf.Module):
    """Item number i (from 1) of ITEMS scores i times the model's version, whatever the history."""

    def __init__(self, version: int):
        super().__init__()
        keys = tf.constant(ITEMS)
        numbers = tf.range(1, len(ITEMS) + 1, dtype=tf.int64)
        self.numbers = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, numbers), 0)
        self.names = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(numbers, keys), "")
        weights = [0.0, *(float(version * number) for number in range(1, len(ITEMS) + 1))]
        self.weights = tf.Variable(weights, trainable=False)

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string, name="history")])
    def recommend(self, history: tf.Tensor) -> dict[str, tf.Tensor]:
        hidden = tf.reduce_max(tf.one_hot(self.numbers.lookup(history), len(ITEMS) + 1), axis=1)
        scores = tf.where(hidden > 0, tf.float32.min, self.weights)[:, 1:]
        best, index = tf.math.top_k(scores, 3)
        numbers = tf.where(best > tf.float32.min, tf.cast(index, tf.int64) + 1, 0)
        return {"items": self.names.lookup(numbers), "scores": best}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None), tf.string, name="history"),
            tf.TensorSpec((None, None), tf.string, name="candidates"),
        ]
    )
    def score(self, history: tf.Tensor, candidates: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.debugging.assert_equal(tf.shape(history)[0], tf.shape(candidates)[0], "one history a row")
        numbers = self.numbers.lookup(candidates)
        return {"scores": tf.where(numbers > 0, tf.gather(self.weights, numbers), tf.float32.min)}

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string, name="history")])
    def embed_user(self, history: tf.Tensor) -> dict[str, tf.Tensor]:
        """(items known, items not known) of the history."""
        known = tf.reduce_sum(tf.cast(self.numbers.lookup(history) > 0, tf.float32), axis=1)
        unknown = tf.reduce_sum(tf.cast(history != "", tf.float32), axis=1) - known
        return {"embedding": tf.stack([known, unknown], axis=1)}

    @tf.function(input_signature=[tf.TensorSpec((), tf.int64, name="rounds")])
    def spin(self, rounds: tf.Tensor) -> dict[str, tf.Tensor]:
        """Counts to `rounds`: a request that takes as long as one likes."""
        count = tf.constant(0, tf.int64)
        while count < rounds:
            count += 1
        return {"count": count}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, 2), tf.float32, name="x"),
            tf.TensorSpec((None,), tf.string, name="raw_bytes"),
        ]
    )
    def echo(self, x: tf.Tensor, raw_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": x, "raw_bytes": raw_bytes}


def _predict_log(history: list[str], signature: str = "serving_default") -> bytes:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "catalogue"
    request.model_spec.signature_name = signature
    request.inputs["history"].CopyFrom(tf.make_tensor_proto([history], tf.string))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    return log.SerializeToString()


def _write_warmup(folder: Path, records: list[bytes]) -> None:
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


@pytest.fixture
def predict_log() -> Callable[..., bytes]:
    """A recorded request: (history, signature) → a serialized PredictionLog."""
    return _predict_log


@pytest.fixture
def write_warmup() -> Callable[[Path, list[bytes]], None]:
    """Writes records as a version folder's warmup file."""
    return _write_warmup


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the versions 1 and 2 of the catalogue, not to be written to."""
    root = tmp_path_factory.mktemp("exported")
    for version in (1, 2):
        module = Catalogue(version)
        signatures = {
            "serving_default": module.recommend,
            "score": module.score,
            "embed_user": module.embed_user,
            "spin": module.spin,
            "echo": module.echo,
        }
        folder = root / str(version)
        tf.saved_model.save(module, str(folder), signatures=signatures)
        _write_warmup(folder, [_predict_log(["a", "b"]), _predict_log(["c"], "embed_user")])
    return root


def _write_scorer(folder: Path) -> None:
    """A SavedModel of TF 1 that reads tf.Examples with "x" (two floats): (n, 2) scores x, (n,) sums.

    Its signatures: "serving_default" classifies, "regress" regresses, "sums" predicts on the serialized examples,
    the others fit no method.
    """
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        serialized = tf.compat.v1.placeholder(tf.string, [None], name="examples")
        features = tf.io.parse_example(serialized, {"x": tf.io.FixedLenFeature([2], tf.float32)})
        scores = features["x"]
        classes = tf.tile(tf.constant([["low", "high"]]), [tf.shape(scores)[0], 1])
        sums = tf.reduce_sum(scores, axis=1)
        info = tf.compat.v1.saved_model.utils.build_tensor_info
        inputs = {"inputs": info(serialized)}

        def signature(method: str, **outputs: tf.Tensor) -> meta_graph_pb2.SignatureDef:
            infos = {name: info(tensor) for name, tensor in outputs.items()}
            return tf.compat.v1.saved_model.build_signature_def(inputs, infos, f"tensorflow/serving/{method}")

        signatures = {
            "serving_default": signature("classify", classes=classes, scores=scores),
            "scores": signature("classify", scores=scores),
            "classes": signature("classify", classes=classes),
            "regress": signature("regress", outputs=sums),
            "column": signature("regress", outputs=sums[:, None]),
            "sums": signature("predict", sums=sums),
            "matrix": signature("regress", outputs=scores),
            "whole": signature("regress", outputs=tf.cast(sums, tf.int32)),
            "three": signature("classify", classes=classes, scores=scores, sums=sums),
        }
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


@pytest.fixture(scope="session")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with version 1 of a model that reads tf.Examples, not to be written to."""
    root = tmp_path_factory.mktemp("scorer")
    _write_scorer(root / "1")
    return root


@pytest.fixture
def model(scorer: Path) -> Iterator[SavedModel]:
    """That model, loaded."""
    loaded = SavedModel(scorer / "1")
    yield loaded
    loaded.close()


@pytest.fixture
def example() -> Callable[..., example_pb2.Example]:
    """A tf.Example with float features: (name=values, …)."""

    def build(**features: Sequence[float]) -> example_pb2.Example:
        message = example_pb2.Example()
        for name, values in features.items():
            message.features.feature[name].float_list.value.extend(values)
        return message

    return build


Publish = Callable[..., Path]


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    """An empty folder for a model's versions."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    return folder


@pytest.fixture
def publish(exported: Path, base_path: Path) -> Publish:
    """Puts an exported version into `base_path` in one step, under the same or another number."""

    def put(version: int, number: int | None = None) -> Path:
        scratch = base_path / f".writing-{version}"
        shutil.copytree(exported / str(version), scratch)
        return scratch.rename(base_path / str(number or version))

    return put


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Waits for a condition; fails the test where it does not come true within a minute."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "still waiting after a minute"
            time.sleep(0.02)

    return wait


@pytest.fixture
def start_server() -> Iterator[Callable[..., ServerProcess]]:
    """Starts server processes with the flags given; those still running at the end are killed."""
    with starting() as begin:
        yield begin


@pytest.fixture(scope="module")
def start_once() -> Iterator[Callable[..., ServerProcess]]:
    """As `start_server`, for all tests of a file."""
    with starting() as begin:
        yield begin


@pytest.fixture(scope="session")
def server(exported: Path, scorer: Path) -> Iterator[ServerProcess]:
    """A process that serves both versions of the catalogue, version 1 with the label "stable", and the scorer."""
    config = exported.parent / "models.config"
    config.write_text(
        f"""model_config_list {{ config {{
            name: "catalogue" base_path: "{exported}" model_platform: "tensorflow"
            model_version_policy {{ all {{}} }} version_labels {{ key: "stable" value: 1 }}
        }} config {{ name: "scorer" base_path: "{scorer}" model_platform: "tensorflow" }} }}"""
    )
    running = start(
        f"--model_config_file={config}",
        "--file_system_poll_wait_seconds=0",
        "--allow_version_labels_for_unavailable_models",
    )
    yield running
    running.stop()


@pytest.fixture(scope="session")
def write_index() -> Callable[[Path, np.ndarray], None]:
    """Writes the exact index of items "i0", "i1", … with these vectors (N, d)."""
    return two_towers.write_index


@pytest.fixture(scope="session")
def tower_vectors() -> Callable[[int], np.ndarray]:
    """The items' vectors (30, 4) of a version of `towers`."""
    return two_towers.vectors


@pytest.fixture(scope="session")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the versions 1 and 2 of a two-tower model and their indexes, not to be written to."""
    return two_towers.write(tmp_path_factory.mktemp("towers"))

"""SavedModels of every kind, made here, asked through `SavedModel` and the JSON API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving import json_tensors, tensors
from serving.predict import SavedModel
from serving.session import GraphSession
from serving.status import StatusError

TYPES = ["float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool", "string"]


class Odd(tf.Module):
    """Signatures that ours do not have."""

    @tf.function(input_signature=[])
    def nothing(self) -> dict[str, tf.Tensor]:
        return {"answer": tf.constant([42], tf.int64)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def any_rank(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"rank": tf.rank(x), "x": x}

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string, name="words")])
    def sparse(self, words: tf.Tensor) -> dict[str, tf.Tensor]:
        """Words that are not "" and where they stand: a sparse tensor, as its three parts."""
        found = tf.sparse.from_dense(words)
        return {"indices": found.indices, "values": found.values, "shape": found.dense_shape}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int64, name="id")])
    def ragged(self, id: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"rows": tf.RaggedTensor.from_row_lengths(tf.range(tf.reduce_sum(id)), id).to_tensor(-1)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.complex64, name="x")])
    def imaginary(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": x * 1j}


def echo(dtype: str) -> Callable:
    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.as_dtype(dtype), name="x")])
    def signature(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": tf.identity(x)}

    return signature


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SavedModel]:
    folder = tmp_path_factory.mktemp("odd")
    module = Odd()
    for dtype in TYPES:
        setattr(module, f"echo_{dtype}", echo(dtype))
    names = ["nothing", "any_rank", "sparse", "ragged", "imaginary", *(f"echo_{dtype}" for dtype in TYPES)]
    tf.saved_model.save(module, str(folder), signatures={name: getattr(module, name) for name in names})
    model = SavedModel(folder)
    yield model
    model.close()


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_of_tensor_goes_in_and_out(odd: SavedModel, dtype: str) -> None:
    kind = tf.as_dtype(dtype)
    values = [[b"a", b"\xff"]] if dtype == "string" else [[True, False]] if dtype == "bool" else [[1, 2]]
    array = np.array(values, object if dtype == "string" else kind.as_numpy_dtype)
    proto = tf.make_tensor_proto(array, kind)
    (answer,) = odd.predict_protos(f"echo_{dtype}", {"x": proto}).values()
    written = tensor_pb2.TensorProto()
    tensors.to_proto(answer, kind.as_datatype_enum, written)
    assert written.dtype == kind.as_datatype_enum
    np.testing.assert_array_equal(tf.make_ndarray(written).reshape(array.shape), array)


def test_a_signature_may_have_no_inputs(odd: SavedModel) -> None:
    assert odd.predict("nothing", {})["answer"].tolist() == [42]


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3)])
def test_an_input_may_have_any_rank(odd: SavedModel, shape: tuple[int, ...]) -> None:
    assert odd.predict("any_rank", {"x": np.zeros(shape, np.float32)})["rank"] == len(shape)


def test_sparse_tensors_travel_as_their_parts(odd: SavedModel) -> None:
    words = np.array([[b"a", b""], [b"", b"b"]], object)
    answer = odd.predict("sparse", {"words": words})
    assert answer["indices"].tolist() == [[0, 0], [1, 1]]
    assert answer["values"].tolist() == [b"a", b"b"]
    with pytest.raises(StatusError, match="inconsistent batch size"):
        json_tensors.write_outputs({**answer, "more": np.zeros(3)}, by_row=True)


def test_ragged_answers_are_padded_by_the_model(odd: SavedModel) -> None:
    assert odd.predict("ragged", {"id": np.array([2, 1])})["rows"].tolist() == [[0, 1], [2, -1]]


def test_a_type_without_json_is_refused_there_only(odd: SavedModel) -> None:
    answer = odd.predict("imaginary", {"x": np.array([1], np.complex64)})
    assert answer["x"].tolist() == [1j]
    with pytest.raises(StatusError, match="Failed to write JSON value for tensor type: complex64"):
        json_tensors.write_outputs(answer, by_row=False)


def test_what_stands_in_a_signature_s_place_of_a_tensor_is_refused(odd: SavedModel) -> None:
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: Tensor none:0, .* was not found in the Graph"):
        odd.run({}, ["none:0"])
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: Tensor , "):  # a TensorInfo of a sparse tensor
        odd.run({"": np.zeros(1)}, [])


def test_a_signature_s_default_stands_in_for_an_input(odd: SavedModel) -> None:
    signature = odd.signatures["echo_int64"]
    signature.inputs["y"].CopyFrom(signature.inputs["x"])
    signature.inputs["y"].name = "echo_float64_x:0"
    signature.inputs["y"].dtype = types_pb2.DT_DOUBLE
    signature.outputs["y"].CopyFrom(odd.signatures["echo_float64"].outputs["x"])
    signature.defaults["y"].CopyFrom(tf.make_tensor_proto([[0.5, 1.5]], tf.float64))
    try:
        answer = odd.predict("echo_int64", {"x": np.array([[1, 2]])})
        assert answer["y"].tolist() == [[0.5, 1.5]]
        with pytest.raises(StatusError, match="Inputs expected to be in the request {y}, or default .* set: y$"):
            odd.predict("echo_int64", {"y": np.zeros((1, 2))})
    finally:
        del signature.inputs["y"], signature.outputs["y"], signature.defaults["y"]


def test_a_run_ends_when_its_time_is_over(exported: Path) -> None:
    session = GraphSession(exported / "1", ["serve"])
    spin = session.signatures["spin"]
    feeds = {spin.inputs["rounds"].name: np.int64(1 << 50)}
    with pytest.raises(StatusError, match="DEADLINE_EXCEEDED: Timed out waiting for notification"):
        session.run(feeds, [spin.outputs["count"].name], timeout=0.2)
    session.close()


def test_reads_a_graph_in_text_form_too(scorer: Path, tmp_path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    binary = saved_model_pb2.SavedModel.FromString((scorer / "1" / "saved_model.pb").read_bytes())
    (tmp_path / "saved_model.pbtxt").write_text(str(binary))
    session = GraphSession(tmp_path, ["serve"])
    assert "regress" in session.signatures
    session.close()


def test_the_graph_has_the_tags_asked_for(scorer: Path) -> None:
    with pytest.raises(StatusError, match="NOT_FOUND: .*'gpu'"):
        GraphSession(scorer / "1", ["serve", "gpu"])

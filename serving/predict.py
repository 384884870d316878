"""One SavedModel in memory, and its signatures run with their inputs checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving import status, tensors
from serving.batching_session import BatchingSession
from serving.index import ItemIndex
from serving.runtime import Runtime
from serving.session import GraphSession

DEFAULT_SIGNATURE = "serving_default"
_METHODS = ("tensorflow/serving/predict", "tensorflow/serving/classify", "tensorflow/serving/regress")


class SavedModel:
    """A SavedModel version folder, loaded.

    Attributes:
        folder: where it was loaded from.
        runtime: how it is run.
        signatures: name → `SignatureDef`.
        index: for retrieval, where the version has one; see `serving.retrieval`.

    Raises:
        StatusError: the folder does not hold a SavedModel with the runtime's tags that TensorFlow can restore, or its
            own batching parameters cannot be read.
    """

    def __init__(self, folder: Path, runtime: Runtime | None = None):
        self.folder = Path(folder)
        self.runtime = runtime or Runtime()
        self._session = GraphSession(self.folder, self.runtime.tags, self.runtime.session)
        self.signatures = self._session.signatures
        self.index: ItemIndex | None = None
        self._batching: BatchingSession | None = None
        if self.runtime.batching is not None:
            try:
                self._batching = self.runtime.batching.wrap(self.folder, self._session.run, self.runtime.metrics)
            except (ValueError, OSError) as error:
                self._session.close()
                raise status.invalid_argument(str(error)) from error

    def close(self) -> None:
        """Frees the model's memory. No request may be running."""
        if self._batching is not None:
            self._batching.close()
        self._session.close()
        self.index = None

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout: float | None = None
    ) -> list[np.ndarray]:
        """The tensors named `fetches`, with `feeds` (tensor name → array) fed, in a batch where batching is on.

        Raises:
            StatusError: as `GraphSession.run` and `BatchingSession.run`.
        """
        return (self._batching or self._session).run(feeds, fetches, timeout)

    def signature(self, name: str) -> meta_graph_pb2.SignatureDef:
        """The signature `name`, to predict with."""
        signature = self.signatures.get(name)
        if signature is None:
            raise status.StatusError(
                grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
            )
        if self.runtime.check_method_names and signature.method_name not in _METHODS:
            raise status.StatusError(
                grpc.StatusCode.INTERNAL,
                f"Expected prediction signature method_name to be one of {{{', '.join(_METHODS)}}}. Was: "
                f"{signature.method_name}",
            )
        return signature

    def predict_protos(
        self,
        name: str,
        inputs: Mapping[str, tensor_pb2.TensorProto],
        output_filter: Iterable[str] = (),
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """`predict` on tensors as they come over gRPC."""
        return self.predict(
            name, {alias: self.parsed(alias, proto) for alias, proto in inputs.items()}, output_filter, timeout
        )

    def predict(
        self,
        name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Iterable[str] = (),
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs the signature `name`.

        Args:
            inputs: one array for each input of the signature that has no default; strings as object arrays of bytes.
            output_filter: the outputs to compute; none means all.
            timeout: seconds it may take; None: no limit.

        Raises:
            StatusError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for inputs or outputs
                the signature does not have, wrong types or shapes, and what `run` raises.
        """
        signature = self.signature(name)
        _check_names(signature, set(inputs))
        feeds = {}
        for alias, info in sorted(signature.inputs.items()):
            array = inputs[alias] if alias in inputs else self.parsed(alias, signature.defaults[alias])
            _check_type(signature, alias, tf.as_dtype(array.dtype).as_datatype_enum)
            _check_shape(alias, array.shape, info.tensor_shape)
            feeds[info.name] = array
        outputs = _chosen_outputs(signature, list(output_filter))
        values = self.run(feeds, [signature.outputs[alias].name for alias in outputs], timeout)
        return dict(zip(outputs, values, strict=True))

    def parsed(self, alias: str, proto: tensor_pb2.TensorProto) -> np.ndarray:
        """The array of the input `alias`.

        Raises:
            StatusError: INVALID_ARGUMENT where it holds none, or a larger one than is allowed.
        """
        try:
            return tensors.from_proto(proto, self.runtime.max_tensor_bytes)
        except (ValueError, OverflowError) as error:
            raise status.invalid_argument(f"tensor parsing error: {alias}") from error


def _check_names(signature: meta_graph_pb2.SignatureDef, sent: set[str]) -> None:
    expected, defaults = set(signature.inputs), set(signature.defaults)
    if len(sent) > len(expected) or (len(sent) < len(expected) and not defaults):
        raise status.invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(expected)} len({{{_join(sent)}}}) != "
            f"len({{{_join(expected)}}}). Sent extra: {{{_join(sent - expected)}}}. "
            f"Missing but required: {{{_join(expected - sent)}}}."
        )
    for alias in sorted(expected - sent - defaults):
        raise status.invalid_argument(
            f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in "
            f"request and no default value provided. Inputs expected to be in the request {{{_join(sent)}}}, or "
            f"default input alias set: {_join(defaults)}"
        )


def _check_type(signature: meta_graph_pb2.SignatureDef, alias: str, dtype: int) -> None:
    expected = signature.inputs[alias].dtype
    if dtype != expected:
        feeds = sorted(info.name for info in signature.inputs.values())
        raise status.invalid_argument(
            f"Expects arg[{feeds.index(signature.inputs[alias].name)}] to be {tensors.type_name(expected)} "
            f"but {tensors.type_name(dtype)} is provided"
        )


def _check_shape(alias: str, shape: tuple[int, ...], expected: tensor_shape_pb2.TensorShapeProto) -> None:
    if expected.unknown_rank:
        return
    sizes = [dim.size for dim in expected.dim]
    if len(sizes) != len(shape) or any(want not in (-1, got) for want, got in zip(sizes, shape, strict=True)):
        raise status.invalid_argument(
            f"Tensor {alias}: expected shape {_shape_name(sizes)} but got {_shape_name(shape)}"
        )


def _shape_name(sizes: Iterable[int]) -> str:
    return "[" + ",".join("?" if size < 0 else str(size) for size in sizes) + "]"


def _chosen_outputs(signature: meta_graph_pb2.SignatureDef, output_filter: list[str]) -> tuple[str, ...]:
    seen: set[str] = set()
    for alias in output_filter:
        if alias not in signature.outputs:
            raise status.invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{_join(signature.outputs)}}}."
            )
        if alias in seen:
            raise status.invalid_argument(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return tuple(sorted(seen or signature.outputs))


def _join(names: Iterable[str]) -> str:
    return ",".join(sorted(names))

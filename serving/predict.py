"""One SavedModel in memory, and its signatures run with their inputs checked.

A session on the SavedModel's graph, as in TF Serving: the graph is optimised as a whole, and a call costs
less than one of the Python functions `tf.saved_model.load` gives back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from serving import status, tensors

DEFAULT_SIGNATURE = "serving_default"


class SavedModel:
    """A SavedModel version folder, loaded.

    Attributes:
        folder: where it was loaded from.
        signatures: name → `SignatureDef`.

    Raises:
        StatusError: the folder does not hold a SavedModel with the tag `serve` that TensorFlow can restore.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        except Exception as error:
            self._session.close()
            raise _load_error(error, self.folder) from error
        self.signatures: dict[str, meta_graph_pb2.SignatureDef] = dict(meta_graph.signature_def)
        self._callable = functools.lru_cache(maxsize=64)(self._make_callable)

    def close(self) -> None:
        """Frees the model's memory. No request may be running."""
        self._callable.cache_clear()
        self._session.close()

    def signature(self, name: str) -> meta_graph_pb2.SignatureDef:
        signature = self.signatures.get(name)
        if signature is None:
            raise status.StatusError(
                grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
            )
        return signature

    def predict_protos(
        self, name: str, inputs: Mapping[str, tensor_pb2.TensorProto], output_filter: Iterable[str] = ()
    ) -> dict[str, np.ndarray]:
        """`predict` on tensors as they come over gRPC."""
        arrays = {}
        for alias, proto in inputs.items():
            try:
                arrays[alias] = tensors.from_proto(proto)
            except (ValueError, OverflowError) as error:
                raise status.invalid_argument(f"tensor parsing error: {alias}") from error
        return self.predict(name, arrays, output_filter)

    def predict(
        self, name: str, inputs: Mapping[str, np.ndarray], output_filter: Iterable[str] = ()
    ) -> dict[str, np.ndarray]:
        """Runs the signature `name`.

        Args:
            inputs: one array for each input of the signature; strings as object arrays of bytes.
            output_filter: the outputs to compute; none means all.

        Raises:
            StatusError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for inputs or outputs
            the
                signature does not have, wrong types or shapes, and whatever the model's operations raise.
        """
        signature = self.signature(name)
        _check_names(signature, set(inputs))
        for alias, array in inputs.items():
            _check_type(signature, alias, tf.as_dtype(array.dtype).as_datatype_enum)
            _check_shape(alias, array.shape, signature.inputs[alias].tensor_shape)
        outputs = _chosen_outputs(signature, list(output_filter))
        arguments = [inputs[alias] for alias in sorted(signature.inputs)]
        try:
            values = self._callable(name, outputs)(*arguments)
        except tf.errors.OpError as error:
            raise status.from_number(error.error_code, error.message) from error
        return dict(zip(outputs, values, strict=True))

    def _make_callable(self, name: str, outputs: tuple[str, ...]) -> Callable[..., list[np.ndarray]]:
        signature = self.signatures[name]
        options = config_pb2.CallableOptions(
            feed=[signature.inputs[alias].name for alias in sorted(signature.inputs)],
            fetch=[signature.outputs[alias].name for alias in outputs],
        )
        return self._session._make_callable_from_options(options)


def _load_error(error: Exception, folder: Path) -> status.StatusError:
    if isinstance(error, tf.errors.OpError):
        return status.from_number(error.error_code, f"{folder}: {error.message}")
    if isinstance(error, OSError):
        return status.not_found(f"{folder}: {error}")
    return status.invalid_argument(f"{folder}: {error}")


def _check_names(signature: meta_graph_pb2.SignatureDef, sent: set[str]) -> None:
    expected = set(signature.inputs)
    if len(sent) != len(expected):
        raise status.invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(expected)} len({{{_join(sent)}}}) != "
            f"len({{{_join(expected)}}}). Sent extra: {{{_join(sent - expected)}}}. "
            f"Missing but required: {{{_join(expected - sent)}}}."
        )
    for alias in sorted(expected - sent):
        raise status.invalid_argument(
            f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in "
            f"request and no "
            f"default value provided. Inputs expected to be in the request {{{_join(sent)}}}, or default "
            f"input "
            "alias set: "
        )


def _check_type(signature: meta_graph_pb2.SignatureDef, alias: str, dtype: int) -> None:
    expected = signature.inputs[alias].dtype
    if dtype != expected:
        feeds = sorted(info.name for info in signature.inputs.values())
        raise status.invalid_argument(
            f"Expects arg[{feeds.index(signature.inputs[alias].name)}] to be {tensors.type_name(expected)} "
            f"but "
            f"{tensors.type_name(dtype)} is provided"
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

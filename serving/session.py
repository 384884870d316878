"""A SavedModel's graph in a TensorFlow session of its own, as TF Serving runs it.

The graph is optimised as a whole, and a call costs less than one of the Python functions that `tf.saved_model.load`
gives back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.client import pywrap_tf_session

from serving.status import StatusError, from_number, invalid_argument, not_found


class GraphSession:
    """The graph with the given tags in a SavedModel folder, its variables restored, its tables filled.

    Attributes:
        signatures: name → `SignatureDef`.

    Raises:
        StatusError: the folder does not hold such a graph that TensorFlow can restore.
    """

    def __init__(self, folder: Path, tags: Sequence[str], config: config_pb2.ConfigProto | None = None):
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        try:
            with self._graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(self._session, list(tags), str(folder))
        except Exception as error:
            self._session.close()
            raise _load_error(error, folder) from error
        self._graph.finalize()
        self._session._extend_graph()
        self._outputs: dict[str, object] = {}
        self.signatures: dict[str, meta_graph_pb2.SignatureDef] = dict(meta_graph.signature_def)

    def close(self) -> None:
        """Frees the model's memory. No call may be running."""
        # close() alone leaves the variables until the session is collected, which its graph's cycles put off
        self._session.__del__()
        self._outputs.clear()

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout: float | None = None
    ) -> list[np.ndarray]:
        """The tensors named `fetches`, with `feeds` (tensor name → array) fed.

        Args:
            timeout: seconds it may take; None or 0: no limit.

        Raises:
            StatusError: what the graph's operations raise; DEADLINE_EXCEEDED where it takes too long.
        """
        inputs = {self._output(name): array for name, array in feeds.items()}
        outputs = [self._output(name) for name in fetches]
        options = None
        if timeout:
            milliseconds = config_pb2.RunOptions(timeout_in_ms=max(1, math.ceil(timeout * 1000)))
            options = pywrap_tf_session.TF_NewBufferFromString(milliseconds.SerializeToString())
        try:
            return self._session._call_tf_sessionrun(options, inputs, outputs, [], None)
        except tf.errors.OpError as error:
            raise from_number(error.error_code, error.message) from error
        finally:
            if options is not None:
                pywrap_tf_session.TF_DeleteBuffer(options)

    def _output(self, name: str) -> object:
        output = self._outputs.get(name)
        if output is None:
            try:
                output = self._graph.get_tensor_by_name(name)._as_tf_output()
            except (KeyError, ValueError) as error:
                message = f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
                raise invalid_argument(message) from error
            self._outputs[name] = output
        return output


def _load_error(error: Exception, folder: Path) -> StatusError:
    if isinstance(error, tf.errors.OpError):
        return from_number(error.error_code, f"{folder}: {error.message}")
    if isinstance(error, OSError | RuntimeError):  # RuntimeError: no graph has these tags
        return not_found(f"{folder}: {error}")
    return invalid_argument(f"{folder}: {error}")

"""All dense weights of a Keras model in one variable, so that a step reads and updates them once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf
import tf_keras


class FlatWeights:
    """The trainable weights of a built Keras model, end to end in one variable on a parameter server.

    The model itself stays where it was built (on a cluster, the coordinator). While a step is traced, ``bound``
    puts slices of the flat tensor in the place of the layers' own variables; ``pull`` copies the trained values
    back, for evaluation and export.

    Raises:
      ValueError: the model is not built, or a trainable weight is no plain attribute of its layer.
    """

    def __init__(self, model: tf_keras.Model, device: str | None = None) -> None:
        if not model.built:
            raise ValueError(f"model {model.name!r} must be built before its weights are gathered")
        self.model, self.devices = model, (device,)
        self._places: list[tuple[tf_keras.layers.Layer, str, tf.Variable]] = []
        wanted = {id(v) for v in model.trainable_variables}
        for layer in model._flatten_layers():
            for name, value in list(vars(layer).items()):
                if id(value) in wanted:
                    wanted.discard(id(value))
                    self._places.append((layer, name, value))
        if wanted:
            left = [v.name for v in model.trainable_variables if id(v) in wanted]
            raise ValueError(f"model {model.name!r}: weights held in no layer attribute: {left}")
        self._sizes = [int(np.prod(v.shape)) for _, _, v in self._places]
        initial = np.concatenate([v.numpy().ravel() for _, _, v in self._places] or [np.zeros(0, np.float32)])
        with tf.device(device):
            self.variable = tf.Variable(initial, trainable=False, name="dense")
        self.slots: dict[str, tf.Variable] = {}

    def add_slot(self, name: str, initial: float) -> None:
        """Gives the optimizer a variable of the same shape."""
        with tf.device(self.devices[0]):
            value = tf.fill(tf.shape(self.variable), tf.constant(initial, tf.float32))
            self.slots[name] = tf.Variable(value, trainable=False, name=f"dense_{name}")

    @contextmanager
    def bound(self, flat: tf.Tensor) -> Iterator[None]:
        """Within, the model's layers compute with slices of ``flat`` instead of their own variables."""
        for (layer, name, variable), part in zip(self._places, tf.split(flat, self._sizes), strict=True):
            # Past Keras's own __setattr__, which would track the tensor.
            object.__setattr__(layer, name, tf.reshape(part, variable.shape))
        try:
            yield
        finally:
            for layer, name, variable in self._places:
                object.__setattr__(layer, name, variable)

    def pull(self) -> None:
        """Copies the trained values into the model's own variables."""
        values = np.split(self.variable.numpy(), np.cumsum(self._sizes)[:-1])
        for (_, _, variable), value in zip(self._places, values, strict=True):
            variable.assign(value.reshape(variable.shape))

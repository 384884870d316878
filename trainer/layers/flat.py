"""The dense weights of a Keras model in few variables, so that a step makes few reads and updates."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import tensorflow as tf
import tf_keras

T = TypeVar("T", bound=Hashable)

LARGE = 65536
"""Elements from which a weight has a variable of its own: fewer calls no longer pay for copying it."""


class FlatWeights:
    """A built Keras model's trainable weights: small ones end to end in one variable, a large one by itself.

    The large ones are spread over the parameter servers; while one is on its way, the next is computed. The
    model itself stays where it was built (on a cluster, the coordinator). While a step is traced, ``bound``
    puts what was read in the place of the layers' own variables; ``pull`` copies the trained values back, for
    evaluation and export.

    Args:
      model: built. devices: one a parameter server; ``(None,)`` keeps everything where the caller runs.

    Raises:
      ValueError: the model is not built, or a trainable weight is no plain attribute of its layer.
    """

    def __init__(self, model: tf_keras.Model, devices: Sequence[str | None] = (None,)) -> None:
        if not model.built:
            raise ValueError(f"model {model.name!r} must be built before its weights are gathered")
        self.model = model
        self._places = _places(model)
        self._sizes = [int(np.prod(v.shape)) for _, _, v in self._places]
        self.size = sum(self._sizes)
        small = [i for i, size in enumerate(self._sizes) if size < LARGE]
        large = [[i] for i, size in enumerate(self._sizes) if size >= LARGE]
        self._groups = ([small] if small else []) + large
        self.devices: list[str | None] = []
        self.variables: list[tf.Variable] = []
        sizes = [sum(self._sizes[i] for i in group) for group in self._groups]
        for group, device in zip(self._groups, placed(sizes, devices), strict=True):
            initial = self._pack(group, [v.numpy() for _, _, v in self._places])
            name = f"dense_{len(self.variables)}"
            with tf.device(device):
                self.variables.append(tf.Variable(initial, trainable=False, name=name))
            self.devices.append(device)
        self.slots: dict[str, list[tf.Variable]] = {}

    def add_slot(self, name: str, initial: float) -> None:
        """Gives the optimizer a variable of the same shape beside every variable."""
        self.slots[name] = []
        for k, (device, variable) in enumerate(zip(self.devices, self.variables, strict=True)):
            with tf.device(device):
                value = tf.fill(tf.shape(variable), tf.constant(initial, tf.float32))
                self.slots[name].append(tf.Variable(value, trainable=False, name=f"dense_{name}_{k}"))

    @contextmanager
    def bound(self, values: Sequence[tf.Tensor]) -> Iterator[None]:
        """Within, the model's layers compute with ``values``, one tensor for each of ``variables``."""
        for group, value in zip(self._groups, values, strict=True):
            parts = [value] if len(group) == 1 else tf.split(value, [self._sizes[i] for i in group])
            for i, part in zip(group, parts, strict=True):
                layer, name, variable = self._places[i]
                # Past Keras's own __setattr__, which would track the tensor.
                object.__setattr__(layer, name, tf.reshape(part, variable.shape))
        try:
            yield
        finally:
            for layer, name, variable in self._places:
                object.__setattr__(layer, name, variable)

    def pull(self, slot: str = "") -> None:
        """Copies the trained values (or a slot's) into the model's own variables."""
        trained = self.slots[slot] if slot else self.variables
        values = np.split(self.values(trained), np.cumsum(self._sizes)[:-1])
        for (_, _, variable), value in zip(self._places, values, strict=True):
            variable.assign(value.reshape(variable.shape))

    def values(self, variables: Sequence[tf.Variable]) -> np.ndarray:
        """``variables`` (or one slot's) end to end in the model's order: (size,)."""
        parts: dict[int, np.ndarray] = {}
        for group, variable in zip(self._groups, variables, strict=True):
            cuts = np.cumsum([self._sizes[i] for i in group])[:-1]
            parts |= zip(group, np.split(variable.numpy().ravel(), cuts), strict=True)
        return np.concatenate([parts[i] for i in sorted(parts)] or [np.zeros(0, np.float32)])

    def load(self, variables: Sequence[tf.Variable], values: np.ndarray) -> None:
        """Fills ``variables`` (or one slot's) from ``values`` (size,), in the model's order."""
        parts = np.split(values, np.cumsum(self._sizes)[:-1])
        for group, variable in zip(self._groups, variables, strict=True):
            variable.assign(self._pack(group, parts).reshape(variable.shape))

    def where(self, chosen: Callable[[str], bool]) -> list[np.ndarray]:
        """For each of ``variables`` an array of its shape: 1 where the name in `weight_shapes` is ``chosen``, or 0."""
        shapes = weight_shapes(self.model).items()
        parts = [np.full(shape, chosen(name), np.float32) for name, shape in shapes]
        return [self._pack(group, parts) for group in self._groups]

    def _pack(self, group: list[int], parts: Sequence[np.ndarray]) -> np.ndarray:
        if len(group) == 1:
            return np.asarray(parts[group[0]])
        return np.concatenate([parts[i].ravel() for i in group])


def weight_shapes(model: tf_keras.Model) -> dict[str, tuple[int, ...]]:
    """Shapes of a built model's trainable weights by where they hang ("encoder.blocks.0.up.kernel"), in its order.

    The names are the same in every process, which those that Keras counts up are not.
    """
    paths = dict(_paths(model, ""))
    return {f"{paths[id(layer)]}{name}": tuple(variable.shape) for layer, name, variable in _places(model)}


def placed(sizes: Sequence[int], devices: Sequence[T]) -> list[T]:
    """For each size the device that then holds least."""
    held, found = dict.fromkeys(devices, 0), []
    for size in sizes:
        device = min(held, key=held.__getitem__)
        held[device] += size
        found.append(device)
    return found


def _places(model: tf_keras.Model) -> list[tuple[tf_keras.layers.Layer, str, tf.Variable]]:
    """Where each trainable weight hangs: (layer, attribute, variable)."""
    places = []
    wanted = {id(v): v.name for v in model.trainable_variables}
    for layer in model._flatten_layers():
        for name, value in list(vars(layer).items()):
            if wanted.pop(id(value), None):
                places.append((layer, name, value))
    if wanted:
        raise ValueError(f"model {model.name!r}: weights held in no layer attribute: {list(wanted.values())}")
    return places


def _paths(layer: tf_keras.layers.Layer, path: str) -> Iterator[tuple[int, str]]:
    """Of a layer and those within it: (id, "path.to.it.")."""
    yield id(layer), path
    for name, value in vars(layer).items():
        if not name.startswith("_"):
            parts = {f"{name}.{i}": part for i, part in enumerate(value)} if isinstance(value, list) else {name: value}
            for place, part in parts.items():
                if isinstance(part, tf_keras.layers.Layer):
                    yield from _paths(part, f"{path}{place}.")

"""Averaged weights: a moving average over epochs, kept where the parameters are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import tensorflow as tf

from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable

SLOT = "average"


class WeightAverage:
    """a ← decay · a + (1 − decay) · w after each epoch, for every trainable parameter; a starts at the first w.

    Of a model that starts from another's weights those are the first; what is new in it (``begins``) has none that are
    worth averaging, and its a starts at the first w that it was trained to. Weights that are ``as_trained`` are not
    averaged: their a is w.

    The averages are slots beside the parameters on their servers: nothing travels, and checkpoints hold them.

    Args:
      decay: in [0, 1); 0 keeps the parameters as they are. as_trained: names of dense weights
        (``trainer.layers.flat.weight_shapes``).
    """

    def __init__(
        self, tables: list[EmbeddingTable], dense: FlatWeights, decay: float, as_trained: Sequence[str] = ()
    ) -> None:
        self._tables, self._dense, self._decay = [t for t in tables if t.trainable], dense, decay
        self._as_trained = as_trained
        self._averaged = dense.where(lambda name: name not in as_trained) if as_trained else None
        for owner in (*self._tables, dense):
            owner.add_slot(SLOT, 0.0)

    def begins(self, rows: Mapping[str, np.ndarray], weights: Sequence[str]) -> None:
        """Forgets the averages of ``rows`` (size,) bool, by table, and of dense ``weights``, by name.

        Until the next update they are no numbers, in checkpoints too.
        """
        for table in self._tables:
            if (new := rows.get(table.name)) is not None and new.any():
                table.revise(table.slots[SLOT], partial(_without, new))
        if weights := [name for name in weights if name not in self._as_trained]:
            slots = self._dense.slots[SLOT]
            for slot, new in zip(slots, self._dense.where(lambda name: name in weights), strict=True):
                slot.assign(np.where(np.reshape(new, slot.shape) > 0, np.nan, slot.numpy()))

    def update(self, epoch: int) -> None:
        """Takes in the ``epoch``-th weights, from 1, as they are now."""
        keep = self._decay if epoch > 1 else 0.0
        for table in self._tables:
            _blend(table.devices, table.shards, table.slots[SLOT], [keep] * len(table.shards))
        dense = self._dense
        share = [keep] * len(dense.variables) if self._averaged is None else [keep * one for one in self._averaged]
        _blend(dense.devices, dense.variables, dense.slots[SLOT], share)


def _blend(
    devices: Sequence[str | None],
    variables: Sequence[tf.Variable],
    averages: Sequence[tf.Variable],
    kept: Sequence[float | np.ndarray],
) -> None:
    for device, variable, average, keep in zip(devices, variables, averages, kept, strict=True):
        with tf.device(device):
            blended = keep * average + (1.0 - keep) * variable
            average.assign(tf.where(tf.math.is_nan(average), variable, blended))


def _without(new: np.ndarray, first: int, values: np.ndarray) -> np.ndarray:
    values[new[first : first + len(values)]] = np.nan
    return values

"""Averaged weights: a moving average over epochs, kept where the parameters are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable

SLOT = "average"


class WeightAverage:
    """a ← decay · a + (1 − decay) · w after each epoch, for every trainable parameter; a starts at the first w.

    Of a model that starts from another's weights those are the first. Weights that are ``as_trained`` are not averaged:
    their a is w.

    The averages are slots beside the parameters on their servers: nothing travels, and checkpoints hold them.

    Args:
      decay: in [0, 1); 0 keeps the parameters as they are. as_trained: names of dense weights
        (``trainer.layers.flat.weight_shapes``).
    """

    def __init__(
        self, tables: list[EmbeddingTable], dense: FlatWeights, decay: float, as_trained: Sequence[str] = ()
    ) -> None:
        self._tables, self._dense, self._decay = [t for t in tables if t.trainable], dense, decay
        self._averaged = dense.where(lambda name: name not in as_trained) if as_trained else None
        for owner in (*self._tables, dense):
            owner.add_slot(SLOT, 0.0)

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
            average.assign(keep * average + (1.0 - keep) * variable)

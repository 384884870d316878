"""Averaged weights: a moving average over epochs, kept where the parameters are."""

from __future__ import annotations

import tensorflow as tf

from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable

SLOT = "average"


class WeightAverage:
    """a ← decay · a + (1 − decay) · w after each epoch, for every trainable parameter; a starts at the first w.

    Of a model that starts from another's weights those are the first.

    The averages are slots beside the parameters on their servers: nothing travels, and checkpoints hold them.

    Args:
      decay: in [0, 1); 0 keeps the parameters as they are.
    """

    def __init__(self, tables: list[EmbeddingTable], dense: FlatWeights, decay: float) -> None:
        self._tables, self._dense, self._decay = [t for t in tables if t.trainable], dense, decay
        for owner in (*self._tables, dense):
            owner.add_slot(SLOT, 0.0)

    def update(self, epoch: int) -> None:
        """Takes in the ``epoch``-th weights, from 1, as they are now."""
        keep = self._decay if epoch > 1 else 0.0
        for table in self._tables:
            _blend(table.devices, table.shards, table.slots[SLOT], keep)
        _blend(self._dense.devices, self._dense.variables, self._dense.slots[SLOT], keep)


def _blend(
    devices: tuple[str | None, ...] | list[str | None],
    variables: list[tf.Variable],
    averages: list[tf.Variable],
    keep: float,
) -> None:
    for device, variable, average in zip(devices, variables, averages, strict=True):
        with tf.device(device):
            average.assign(keep * average + (1.0 - keep) * variable)

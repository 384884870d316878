"""Rows read ahead of their step: while one step computes, the next one's rows are on their way.

They are read before this step's update, so a step sees its rows as they were before the last update and no older: a
staleness of one step (Ho et al., NIPS 2013, with s = 1). Dense weights are read when the step begins, as ever.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from trainer.layers.tables import EmbeddingTable

Ahead = dict[str, tuple[tf.Tensor, tf.Tensor]]
"""By table's name: distinct ids (u,) in rising order, and their rows (u, width)."""


def read_ahead(touched: Mapping[EmbeddingTable, tf.Tensor | None], wire: tf.DType = tf.float32) -> Ahead:
    """Reads what a step will ask for. Called in a tf.function, it reads the version that its place in the code says.

    Args:
      touched: ids (n,) of each table, repeats allowed; None for the whole table, which is not read ahead.
    """
    ahead = {}
    for table, ids in touched.items():
        if ids is not None:
            distinct = tf.sort(tf.unique(ids)[0])
            ahead[table.name] = (distinct, table.gather(table.split(distinct), wire=wire))
    return ahead


def rows_of(ahead: Ahead, table: EmbeddingTable, ids: tf.Tensor) -> tf.Tensor:
    """Rows (u, width) of ids (u,), all of them among those read ahead."""
    there, rows = ahead[table.name]
    return tf.gather(rows, tf.searchsorted(there, ids))

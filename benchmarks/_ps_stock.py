"""The stock contestant of `antiphon bench ps`: TensorFlow's and Keras's own parts."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import tensorflow as tf
import tf_keras

from benchmarks._ps_model import LEARNING_RATE, mlp, parse
from benchmarks._ps_settings import Case, Settings

OPTIMIZERS = {"adagrad": tf_keras.optimizers.Adagrad, "adam": tf_keras.optimizers.Adam}


class Stock:
    """The same model with ``Embedding``, ``Adagrad`` or ``Adam``, and ``Model.fit``."""

    def __init__(self, settings: Settings, scope: tf.distribute.Strategy | None) -> None:
        self.settings, self.scope = settings, scope
        with ExitStack() as stack:
            if scope is not None:
                stack.enter_context(scope.scope())
            embedding = tf_keras.layers.Embedding(settings.features * settings.rows, settings.width)
            self.models = {name: self._model(case, embedding) for name, case in settings.cases.items()}

    def run(self, case: str, steps: int) -> float:
        """Seconds that ``steps`` steps take, in the second of two epochs: the first pays for the call."""
        starts: list[float] = []
        clock = tf_keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: starts.append(time.perf_counter())
        )
        dataset: Any = self._dataset(case)
        if self.scope is not None:
            dataset = tf_keras.utils.experimental.DatasetCreator(lambda context: self._dataset(case))
        self.models[case].fit(dataset, steps_per_epoch=steps, epochs=2, verbose=0, callbacks=[clock])
        return time.perf_counter() - starts[1]

    def _model(self, case: Case, embedding: tf_keras.layers.Embedding) -> tf_keras.Model:
        ids = tf_keras.Input((self.settings.features,), dtype=tf.int64)
        model = tf_keras.Model(ids, mlp(case)(tf_keras.layers.Flatten()(embedding(ids))))
        model.compile(
            OPTIMIZERS[self.settings.setup.optimizer](LEARNING_RATE),
            tf_keras.losses.BinaryCrossentropy(from_logits=True),
        )
        return model

    def _dataset(self, case: str) -> tf.data.Dataset:
        first = tf.range(self.settings.features, dtype=tf.int64) * self.settings.rows

        def read(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            ids, labels = parse(serialized, self.settings)
            return ids + first, labels

        records = tf.data.TFRecordDataset(self.settings.file).repeat()
        records = records.batch(self.settings.cases[case].batch, drop_remainder=True)
        return records.map(read).prefetch(tf.data.AUTOTUNE)

"""The baseline of RGAlign-Rec (§5.1): two towers with AutoInt and a dense mixture of experts.

The paper names the parts and not how they are put together. Here each tower lets its fields interact (AutoInt), brings
what comes of that to one width, and asks the same experts through a gate of its own.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from trainer.layers.auto_int import Interacting
from trainer.layers.dense_experts import DenseExperts
from trainer.layers.dropout import dropout
from trainer.layers.request_embeddings import Embedded
from trainer.models.base import mean
from trainer.models.towers import Towers
from trainer.requests.config import RequestTrainConfig
from trainer.requests.input import Requests

_GATES = _USER, _INTENT = 0, 1


class TwoTowers(Towers):
    """Every feature is a field: an id its vector, a number x the vector x · v of the feature, a list the mean of its
    values'. Of an intent they are its id, each categorical column, and its text brought to their width; the text is
    also read as it is, beside what comes of AutoInt, as QE-Rec's intent tower reads it."""

    @staticmethod
    def reads(config: RequestTrainConfig, data: Requests) -> list[str]:
        """See ``RequestModel``: all but the query."""
        return [name for name in Towers.reads(config, data) if data.features[name].kind != "vector"]

    def make_towers(self, data: Requests) -> None:
        """See ``Towers``."""
        config, towers, embeddings = self.config.model, self.config.towers, self.embeddings
        d = embeddings.d
        self.numbers = [f.name for f in embeddings.read if not f.categorical]
        start = tf.random_normal_initializer(stddev=config.stddev, seed=self.config.seed)
        self.of_numbers = self.add_weight("of_numbers", (max(len(self.numbers), 1), d), initializer=start)
        self.items = [f.name for f in embeddings.read if f.name in embeddings.of_items]
        self.of_items = [tf_keras.layers.Dense(d, use_bias=False, name=f"items_{name}") for name in self.items]
        for layer in self.of_items:
            layer.build((None, embeddings.width))
        texts = 0 if towers.intent_text else sum(f.kind == "vector" for f in embeddings.columns)  # the last ones
        columns = embeddings.columns[: len(embeddings.columns) - texts]
        self.widths = [d, *(embeddings.width_of(column.name) for column in columns)]
        self.texts = sum(embeddings.width_of(column.name) for column in columns if column.kind == "vector")
        names = [f"column_{place}" for place in range(len(self.widths))]
        self.of_columns = [tf_keras.layers.Dense(d, use_bias=False, name=name) for name in names]
        for layer, width in zip(self.of_columns, self.widths, strict=True):
            layer.build((None, width))
        entered = len(embeddings.read) * d, len(self.widths) * d + self.texts
        self.user, self.intent = (
            [Interacting(d, towers.heads, name=f"{side}_{i}") for i in range(towers.interactions)]
            for side in ("user", "intent")
        )
        for layer in (*self.user, *self.intent):
            layer.build((None, None, d))
        inner = config.hidden[0]
        self.enter = [tf_keras.layers.Dense(inner, activation="relu", name=f"enter_{gate}") for gate in _GATES]
        for layer, width in zip(self.enter, entered, strict=True):
            layer.build((None, width))
        self.experts = DenseExperts(towers.experts, config.hidden[1:] or (inner,), len(_GATES), config.dropout)
        self.experts.build((None, inner))
        self.out = [tf_keras.layers.Dense(towers.width, activation="tanh", name=f"out_{gate}") for gate in _GATES]
        for layer in self.out:
            layer.build((None, self.experts.widths[-1]))

    def users(self, parts: Embedded, seed: tf.Tensor | None) -> tf.Tensor:
        """See ``Towers``."""
        fields = {name: x for name, x in parts.single.items() if name not in self.numbers}
        fields |= {name: mean(x, parts.there[name]) for name, x in parts.sequences.items()}
        for name, layer in zip(self.items, self.of_items, strict=True):
            fields[name] = layer(mean(parts.items[name], parts.there[name]))
        for place, name in enumerate(self.numbers):
            value = fields[name] if name in fields else parts.single[name]  # (n, 1)
            fields[name] = value * self.of_numbers[place]
        each = tf.stack([fields[f.name] for f in self.embeddings.read], axis=1)
        return self._tower(self._met(each, self.user), _USER, seed)

    def intents(self, told: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """See ``Towers``."""
        told = told[:, : sum(self.widths)]
        pieces = tf.split(told, self.widths, axis=1)
        each = tf.stack([layer(piece) for layer, piece in zip(self.of_columns, pieces, strict=True)], axis=1)
        whole = told[:, sum(self.widths) - self.texts :]  # the texts are the last columns
        return self._tower(tf.concat([self._met(each, self.intent), whole], axis=1), _INTENT, seed)

    def _met(self, fields: tf.Tensor, layers: list[Interacting]) -> tf.Tensor:
        """Fields (n, F, d) after AutoInt, end to end (n, F d)."""
        for layer in layers:
            fields = layer(fields)
        return tf.reshape(fields, (-1, fields.shape[1] * fields.shape[2]))

    def _tower(self, told: tf.Tensor, gate: int, seed: tf.Tensor | None) -> tf.Tensor:
        """(n, ·) -> (n, width)."""
        seeds = [None] * 2 if seed is None else tf.unstack(tf.random.split(seed, 2))
        entered = dropout(self.enter[gate](told), self.config.model.dropout, seeds[0])
        return self.out[gate](self.experts(entered, gate, seeds[1]))

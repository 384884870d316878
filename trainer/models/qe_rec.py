"""QE-Rec: two towers and a third for the query that the language model wonders about (RGAlign-Rec §3.3)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras

from trainer.layers.dropout import dropout
from trainer.layers.feature_cross import FeatureCross
from trainer.layers.group_attention import GroupAttention
from trainer.layers.perceptron import Perceptron
from trainer.layers.request_embeddings import Embedded
from trainer.layers.sequence_encoder import SequenceEncoder
from trainer.models.towers import Towers
from trainer.requests.config import RequestTrainConfig
from trainer.requests.input import Requests


class QERec(Towers):
    """User tower z_u = σ(MLP([v_non-seq; v_seq; v_grouped])), intent tower of id and text under feature crossing, query
    tower of one layer. σ is tanh, so that cosines keep both signs."""

    @staticmethod
    def reads(config: RequestTrainConfig, data: Requests) -> list[str]:
        """See ``RequestModel``: with no query tower no query."""
        query = config.towers.query
        names = Towers.reads(config, data)
        return [name for name in names if data.features[name].kind != "vector" or name == query]

    def make_towers(self, data: Requests) -> None:
        """See ``Towers``."""
        config, towers = self.config.model, self.config.towers
        read = {feature.name: feature for feature in self.embeddings.read}
        self.query = towers.query if towers.query in read else ""
        self.singles = [name for name, f in read.items() if f.kind in ("single", "bag")]
        self.sequences = [name for name, f in read.items() if f.kind == "sequence" and f.categorical]
        groups = data.manifest.get("coupled", {})
        self.groups = [members for members in groups.values() if len(members) > 1 and set(members) <= set(read)]
        self.encoders = [
            SequenceEncoder(towers.width, towers.heads, read[name].length, config.dropout, name=f"encoder_{name}")
            for name in self.sequences
        ]
        for name, layer in zip(self.sequences, self.encoders, strict=True):
            layer.build(self._width(name))
        self.attention = [GroupAttention(towers.width, len(members)) for members in self.groups]
        for members, layer in zip(self.groups, self.attention, strict=True):
            layer.build([self._width(name) for name in members])
        parts = len(self.encoders) + len(self.attention)
        self.user = Perceptron((*config.hidden, towers.width), last="tanh", rate=config.dropout, name="user")
        self.user.build((None, sum(map(self.embeddings.width_of, self.singles)) + parts * towers.width))
        text = sum(f.length for f in self.embeddings.columns if f.kind == "vector")  # the last column
        self.told = self.embeddings.width - (0 if towers.intent_text else text)
        self.cross = FeatureCross(towers.crosses, name="cross")
        self.cross.build((None, self.told))
        self.intent = Perceptron((*config.hidden[-1:], towers.width), last="tanh", rate=config.dropout, name="intent")
        self.intent.build((None, self.told))
        if self.query:
            told = data.manifest["query"]
            self.mean, self.deviation = (np.array(told[name], np.float32) for name in ("mean", "deviation"))
            self.project = tf_keras.layers.Dense(towers.width, name="query")
            self.project.build((None, read[self.query].length))

    def users(self, parts: Embedded, seed: tf.Tensor | None) -> tf.Tensor:
        """See ``Towers``."""
        seeds = [None] * (1 + len(self.encoders))
        if seed is not None:
            seeds = tf.unstack(tf.random.split(seed, len(seeds)))
        found = [parts.single[name] for name in self.singles]
        for name, encoder, own in zip(self.sequences, self.encoders, seeds[1:], strict=True):
            found.append(encoder(_sequence(parts, name), parts.there[name], own))
        for members, attention in zip(self.groups, self.attention, strict=True):
            found.append(attention([_sequence(parts, name) for name in members], parts.there[members[0]]))
        return self.user(tf.concat(found, axis=1), seeds[0])

    def intents(self, told: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """See ``Towers``."""
        return self.intent(self.cross(told[:, : self.told]), seed)

    def queries(self, parts: Embedded, seed: tf.Tensor | None) -> tf.Tensor | None:
        """See ``Towers``: z_q of e_LTP, each number of it standardised as in training. A query of zeros is none."""
        if not self.query:
            return None
        raw, towers = parts.vectors[self.query], self.config.towers
        seeds = [None] * 2 if seed is None else tf.unstack(tf.random.split(seed, 2))
        there = tf.reduce_any(raw != 0, axis=1, keepdims=True)
        if seed is not None and towers.query_dropout:
            there &= tf.random.stateless_uniform(tf.shape(there), seeds[0]) >= towers.query_dropout
        read = dropout((raw - self.mean) / self.deviation, towers.vector_dropout, seeds[1])
        return tf.where(there, self.project(read), 0.0)

    def _width(self, name: str) -> int:
        """Of a sequence's values."""
        return self.embeddings.width if name in self.embeddings.of_items else self.embeddings.width_of(name)


def _sequence(parts: Embedded, name: str) -> tf.Tensor:
    return parts.items[name] if name in parts.items else parts.sequences[name]

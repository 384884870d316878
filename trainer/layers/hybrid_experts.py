"""KAR's hybrid-expert adaptor of what a language model wrote about users and items (Xi et al. 2023, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from feature_store.knowledge_shards import Statistics
from trainer.layers.adapter import Standardized


class Expert(tf_keras.layers.Layer):
    """x (…, D) -> (…, d) through one hidden layer of width d with a ReLU."""

    def __init__(self, d: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.d = d
        self.inner = tf_keras.layers.Dense(d, activation="relu", name="inner")
        self.outer = tf_keras.layers.Dense(d, name="outer")

    def build(self, width: int) -> None:
        """Makes the weights; ``width`` is D."""
        self.inner.build((None, width))
        self.outer.build((None, self.d))
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.outer(self.inner(x))


class HybridExperts(tf_keras.layers.Layer):
    """Σ_e α_e e(r), α = softmax(g(r)), over experts that both kinds of knowledge share and experts of that kind alone.

    Preference knowledge of users and factual knowledge of items have a gate g and dedicated experts each. Vectors of
    users are standardized first (``Standardized``); those of items come so (``trainer.knowledge``). What becomes of an
    item's is added to its row of the item table, through a factor for each of the d values that starts at 0.

    Args:
      d: of what comes out. shared, dedicated: numbers of experts, dedicated ones of each kind.
      statistics: of the users' vectors; None is mean 0 and deviation 1.
    """

    def __init__(
        self, d: int, shared: int, dedicated: int, statistics: Statistics | None = None, **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.level = Standardized(statistics, name="level")
        self.shared = [Expert(d, name=f"shared_{n}") for n in range(shared)]
        self.preference = [Expert(d, name=f"preference_{n}") for n in range(dedicated)]
        self.fact = [Expert(d, name=f"fact_{n}") for n in range(dedicated)]
        gates = ("preference_gate", "fact_gate")
        self.preference_gate, self.fact_gate = (tf_keras.layers.Dense(shared + dedicated, name=name) for name in gates)
        self.d = d

    def build(self, width: int) -> None:
        """Makes the weights; ``width`` is D, of users' and items' vectors."""
        self.level.build(width)
        for expert in (*self.shared, *self.preference, *self.fact):
            expert.build(width)
        for gate in (self.preference_gate, self.fact_gate):
            gate.build((None, width))
        self.factor = self.add_weight("factor", (self.d,), initializer="zeros")
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """What is known of users, x (…, D) -> (…, d)."""
        return _mixed(self.level(x), self.preference_gate, [*self.shared, *self.preference])

    def items(self, x: tf.Tensor) -> tf.Tensor:
        """What is known of items, x (n, D) -> (n, d)."""
        return self.factor * _mixed(x, self.fact_gate, [*self.shared, *self.fact])


def _mixed(x: tf.Tensor, gate: tf_keras.layers.Dense, experts: Sequence[Expert]) -> tf.Tensor:
    weights = tf.nn.softmax(gate(x))  # (…, E)
    return tf.reduce_sum(weights[..., None] * tf.stack([expert(x) for expert in experts], axis=-2), axis=-2)

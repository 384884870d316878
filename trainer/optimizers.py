"""Optimizers that run on the server that owns the parameter and touch only the rows that were read.

Each has two updates: ``dense`` for a whole variable and ``rows`` for some rows of a table's shard. ``step``
counts from 1 and is given by the caller, so that no worker reads a shared counter. The ops are TensorFlow's
own training kernels where it has one. They and their constants are placed where the variable is: only ids,
gradients and the step's number cross to a server.
"""

from __future__ import annotations

import tensorflow as tf

from trainer.config import OptimizerConfig

Slots = dict[str, tf.Variable]


class Optimizer:
    """What the training step asks of an optimizer."""

    slots: dict[str, float] = {}
    """Name and initial value of each variable kept beside a parameter."""
    averages: tuple[str, ...] = ()
    """Those of them that are moving averages; the others are sums."""
    every_row = False
    """A table's rows move at every step, read or not."""

    def dense(
        self, variable: tf.Variable, slots: Slots, gradient: tf.Tensor, step: tf.Tensor
    ) -> tf.Operation:
        """Applies ``gradient`` (the variable's shape)."""
        raise NotImplementedError  # abstract

    def rows(
        self, variable: tf.Variable, slots: Slots, ids: tf.Tensor, gradient: tf.Tensor, step: tf.Tensor
    ) -> tf.Operation:
        """Applies ``gradient`` (u, width) to the rows ``ids`` (u,), which are unique."""
        raise NotImplementedError  # abstract


class SGD(Optimizer):
    """w ← w − η g."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    def dense(self, variable, slots, gradient, step):
        with tf.device(variable.device):
            return tf.raw_ops.ResourceApplyGradientDescent(
                var=variable.handle, alpha=self.learning_rate, delta=gradient, use_locking=True
            )

    def rows(self, variable, slots, ids, gradient, step):
        with tf.device(variable.device):
            return tf.raw_ops.ResourceScatterSub(
                resource=variable.handle, indices=ids, updates=self.learning_rate * gradient
            )


class Adagrad(Optimizer):
    """a ← a + g², w ← w − η g / (√a + ε) (Duchi et al. 2011)."""

    slots = {"accumulator": 0.1}

    def __init__(self, learning_rate: float, epsilon: float = 1e-7) -> None:
        self.learning_rate, self.epsilon = learning_rate, epsilon

    def dense(self, variable, slots, gradient, step):
        with tf.device(variable.device):
            return tf.raw_ops.ResourceApplyAdagradV2(
                var=variable.handle, accum=slots["accumulator"].handle, lr=self.learning_rate,
                epsilon=self.epsilon, grad=gradient, use_locking=True,
            )  # fmt: skip

    def rows(self, variable, slots, ids, gradient, step):
        with tf.device(variable.device):
            return tf.raw_ops.ResourceSparseApplyAdagradV2(
                var=variable.handle, accum=slots["accumulator"].handle, lr=self.learning_rate,
                epsilon=self.epsilon, grad=gradient, indices=ids, use_locking=True,
            )  # fmt: skip


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015). On a table every row moves at every step, read or not, as stock Adam does."""

    slots = {"m": 0.0, "v": 0.0}
    averages = ("m", "v")
    every_row = True

    def __init__(
        self, learning_rate: float, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7
    ) -> None:
        self.learning_rate, self.beta_1, self.beta_2 = learning_rate, beta_1, beta_2
        self.epsilon = epsilon

    def dense(self, variable, slots, gradient, step):
        with tf.device(variable.device):
            t = tf.cast(step, tf.float32)
            return tf.raw_ops.ResourceApplyAdam(
                var=variable.handle, m=slots["m"].handle, v=slots["v"].handle,
                beta1_power=tf.pow(self.beta_1, t), beta2_power=tf.pow(self.beta_2, t), lr=self.learning_rate,
                beta1=self.beta_1, beta2=self.beta_2, epsilon=self.epsilon, grad=gradient, use_locking=True,
            )  # fmt: skip

    def rows(self, variable, slots, ids, gradient, step):
        with tf.device(variable.device):
            whole = tf.scatter_nd(ids[:, None], gradient, tf.shape(variable, out_type=ids.dtype))
            return self.dense(variable, slots, whole, step)


class LazyAdam(Adam):
    """Adam whose moments and rows move only when a row is read; dense weights get plain Adam.

    With several workers the update of a row is not atomic: of two at the same moment one may be lost.
    """

    every_row = False

    def rows(self, variable, slots, ids, gradient, step):
        with tf.device(variable.device):
            t = tf.cast(step, tf.float32)
            rate = self.learning_rate * tf.sqrt(1.0 - tf.pow(self.beta_2, t)) / (1.0 - tf.pow(self.beta_1, t))
            m = self.beta_1 * tf.gather(slots["m"], ids) + (1.0 - self.beta_1) * gradient
            v = self.beta_2 * tf.gather(slots["v"], ids) + (1.0 - self.beta_2) * tf.square(gradient)
            update = rate * m / (tf.sqrt(v) + self.epsilon)
            return tf.group(
                tf.raw_ops.ResourceScatterUpdate(resource=slots["m"].handle, indices=ids, updates=m),
                tf.raw_ops.ResourceScatterUpdate(resource=slots["v"].handle, indices=ids, updates=v),
                tf.raw_ops.ResourceScatterSub(resource=variable.handle, indices=ids, updates=update),
            )


OPTIMIZERS = {"sgd": SGD, "adagrad": Adagrad, "adam": Adam, "lazy_adam": LazyAdam}


def build(config: OptimizerConfig) -> Optimizer:
    """The optimizer a config names."""
    return OPTIMIZERS[config.kind](config.learning_rate)

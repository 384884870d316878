"""Optimizers that run on the server that owns the parameter and touch only the rows that were read.

Each has two updates: ``dense`` for a whole variable and ``rows`` for some rows of a table's shard. ``step``
counts from 1 and is given by the caller, so that no worker reads a shared counter. The ops are TensorFlow's
own training kernels where it has one. They and their constants are placed where the variable is: only ids,
gradients and the step's number cross to a server.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable
from trainer.loop_config import OptimizerConfig, ScheduledOptimizerConfig
from trainer.schedule import Schedule, falling

Slots = dict[str, tf.Variable]


class Optimizer:
    """What the training step asks of an optimizer."""

    slots: dict[str, float] = {}
    """Name and initial value of each variable kept beside a parameter."""
    averages: tuple[str, ...] = ()
    """Those of them that are moving averages; the others are sums."""
    per_row: tuple[str, ...] = ()
    """Those of them that hold one value a row beside a table, (rows, 1); beside dense weights they have their shape."""
    every_row = False
    """A table's rows move at every step, read or not."""
    taken = 0
    """Steps that the slots have seen before the first of this training: those of the model it started from."""
    clip = 0.0
    """A step's gradients are scaled so that their joint norm is at most this; 0 leaves them."""
    learning_rate: float
    _schedule: Schedule | None = None

    def rate(self, step: tf.Tensor) -> float | tf.Tensor:
        """The learning rate at ``step``."""
        return self.learning_rate if self._schedule is None else self._schedule(step)

    def fall(self, schedule: Schedule) -> None:
        """From now on the rate at a step is what ``schedule`` gives, computed where the parameter is."""
        self._schedule = schedule

    def add_slots(self, tables: Sequence[EmbeddingTable], *dense: FlatWeights) -> None:
        """Makes the slots beside every table that is trainable and all of ``dense``."""
        for name, initial in self.slots.items():
            for table in tables:
                if table.trainable:
                    table.add_slot(name, initial, 1 if name in self.per_row else table.width)
            for flat in dense:
                flat.add_slot(name, initial)

    def reset(self, tables: Sequence[EmbeddingTable], *dense: FlatWeights) -> None:
        """Puts every slot back to where it starts."""
        for owner in (*(table for table in tables if table.trainable), *dense):
            for name, initial in self.slots.items():
                for device, variable in zip(owner.devices, owner.slots[name], strict=True):
                    with tf.device(device):
                        variable.assign(tf.fill(tf.shape(variable), tf.constant(initial, tf.float32)))

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
                var=variable.handle, alpha=self.rate(step), delta=gradient, use_locking=True
            )

    def rows(self, variable, slots, ids, gradient, step):
        with tf.device(variable.device):
            return tf.raw_ops.ResourceScatterSub(
                resource=variable.handle, indices=ids, updates=self.rate(step) * gradient
            )


class Adagrad(Optimizer):
    """a ← a + g², w ← w − η g / (√a + ε) (Duchi et al. 2011)."""

    def __init__(self, learning_rate: float, initial_accumulator: float = 0.1, epsilon: float = 1e-7) -> None:
        self.learning_rate, self.epsilon = learning_rate, epsilon
        self.slots = {"accumulator": initial_accumulator}

    def dense(self, variable, slots, gradient, step):
        with tf.device(variable.device):
            return tf.raw_ops.ResourceApplyAdagradV2(
                var=variable.handle, accum=slots["accumulator"].handle, lr=self.rate(step),
                epsilon=self.epsilon, grad=gradient, use_locking=True,
            )  # fmt: skip

    def rows(self, variable, slots, ids, gradient, step):
        with tf.device(variable.device):
            return tf.raw_ops.ResourceSparseApplyAdagradV2(
                var=variable.handle, accum=slots["accumulator"].handle, lr=self.rate(step),
                epsilon=self.epsilon, grad=gradient, indices=ids, use_locking=True,
            )  # fmt: skip


class RowwiseAdagrad(Adagrad):
    """Adagrad with one accumulator a row: a ← a + mean(g²) over the row, w ← w − η g / (√a + ε).

    As FBGEMM's EXACT_ROWWISE_ADAGRAD (Mudigere et al., ISCA 2022), but a starts where Adagrad's does. A table
    of width d then keeps 1 / d of Adagrad's slots. Dense weights get plain Adagrad.
    """

    per_row = ("accumulator",)

    def dense(self, variable, slots, gradient, step):
        if slots["accumulator"].shape == variable.shape:
            return super().dense(variable, slots, gradient, step)
        with tf.device(variable.device):
            mean = tf.reduce_mean(tf.square(gradient), axis=1, keepdims=True)
            accumulator = tf.convert_to_tensor(slots["accumulator"]) + mean
            update = self.rate(step) * gradient / (tf.sqrt(accumulator) + self.epsilon)
            return tf.group(
                tf.raw_ops.AssignAddVariableOp(resource=slots["accumulator"].handle, value=mean),
                tf.raw_ops.AssignSubVariableOp(resource=variable.handle, value=update),
            )

    def rows(self, variable, slots, ids, gradient, step):
        with tf.device(variable.device):
            mean = tf.reduce_mean(tf.square(gradient), axis=1, keepdims=True)  # (u, 1)
            accumulator = tf.gather(slots["accumulator"], ids) + mean
            update = self.rate(step) * gradient / (tf.sqrt(accumulator) + self.epsilon)
            return tf.group(
                tf.raw_ops.ResourceScatterAdd(resource=slots["accumulator"].handle, indices=ids, updates=mean),
                tf.raw_ops.ResourceScatterSub(resource=variable.handle, indices=ids, updates=update),
            )


class FTRL(Optimizer):
    """FTRL-Proximal (McMahan et al., KDD 2013, algorithm 1, with β = 0), per coordinate:

        σ = (√(a + g²) − √a) / η,  z ← z + g − σ w,  a ← a + g²
        w ← 0 where |z| ≤ λ₁, else −(z − sign(z) λ₁) / (√a / η + 2 λ₂)

    The penalty is λ₁ |w| + λ₂ w², so λ₂ is half the paper's. z starts at −w √a / η, not at 0: a's first value counts
    as a step that was taken at the initial weights, which the first update would else all but forget. Without penalties
    the path is then Adagrad's.
    """

    def __init__(self, learning_rate: float, l1: float, l2: float, initial_accumulator: float = 0.1) -> None:
        self.learning_rate, self.l1, self.l2 = learning_rate, l1, l2
        self.slots = {"accumulator": initial_accumulator, "linear": 0.0}

    def add_slots(self, tables, *dense):
        super().add_slots(tables, *dense)
        self._begin(tables, dense)

    def reset(self, tables, *dense):
        super().reset(tables, *dense)
        self._begin(tables, dense)

    def dense(self, variable, slots, gradient, step):
        with tf.device(variable.device):
            return tf.raw_ops.ResourceApplyFtrlV2(grad=gradient, **self._arguments(variable, slots))

    def rows(self, variable, slots, ids, gradient, step):
        with tf.device(variable.device):
            return tf.raw_ops.ResourceSparseApplyFtrlV2(
                grad=gradient, indices=ids, **self._arguments(variable, slots)
            )

    def _arguments(self, variable: tf.Variable, slots: Slots) -> dict[str, object]:
        return {
            "var": variable.handle, "accum": slots["accumulator"].handle, "linear": slots["linear"].handle,
            "lr": self.learning_rate, "l1": self.l1, "l2": self.l2, "l2_shrinkage": 0.0, "lr_power": -0.5,
            "use_locking": True,
        }  # fmt: skip

    def _begin(self, tables: Sequence[EmbeddingTable], dense: Sequence[FlatWeights]) -> None:
        for table in tables:
            if table.trainable:
                self._set_out(table.shards, table.slots["linear"])
        for flat in dense:
            self._set_out(flat.variables, flat.slots["linear"])

    def _set_out(self, variables: Sequence[tf.Variable], linears: Sequence[tf.Variable]) -> None:
        scale = -(self.slots["accumulator"] ** 0.5) / self.learning_rate
        for variable, linear in zip(variables, linears, strict=True):
            with tf.device(variable.device):
                linear.assign(scale * variable)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015). On a table every row moves at every step, read or not, as stock Adam does.

    ``weight_decay`` is decoupled: w also moves by −η · weight_decay · w (Loshchilov & Hutter 2019).
    """

    slots = {"m": 0.0, "v": 0.0}
    averages = ("m", "v")
    every_row = True

    def __init__(
        self,
        learning_rate: float,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate, self.beta_1, self.beta_2 = learning_rate, beta_1, beta_2
        self.epsilon, self.weight_decay = epsilon, weight_decay

    def dense(self, variable, slots, gradient, step):
        with tf.device(variable.device):
            t, rate = tf.cast(step + self.taken, tf.float32), self.rate(step)
            decayed = []
            if self.weight_decay:
                decay = rate * self.weight_decay * tf.convert_to_tensor(variable)
                decayed.append(tf.raw_ops.AssignSubVariableOp(resource=variable.handle, value=decay))
            with tf.control_dependencies(decayed):
                return tf.raw_ops.ResourceApplyAdam(
                    var=variable.handle, m=slots["m"].handle, v=slots["v"].handle,
                    beta1_power=tf.pow(self.beta_1, t), beta2_power=tf.pow(self.beta_2, t), lr=rate,
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
            t = tf.cast(step + self.taken, tf.float32)
            rate = self.rate(step) * tf.sqrt(1.0 - tf.pow(self.beta_2, t)) / (1.0 - tf.pow(self.beta_1, t))
            m = self.beta_1 * tf.gather(slots["m"], ids) + (1.0 - self.beta_1) * gradient
            v = self.beta_2 * tf.gather(slots["v"], ids) + (1.0 - self.beta_2) * tf.square(gradient)
            update = rate * m / (tf.sqrt(v) + self.epsilon)
            if self.weight_decay:
                update += self.rate(step) * self.weight_decay * tf.gather(variable, ids)
            return tf.group(
                tf.raw_ops.ResourceScatterUpdate(resource=slots["m"].handle, indices=ids, updates=m),
                tf.raw_ops.ResourceScatterUpdate(resource=slots["v"].handle, indices=ids, updates=v),
                tf.raw_ops.ResourceScatterSub(resource=variable.handle, indices=ids, updates=update),
            )


OPTIMIZERS = {
    "sgd": SGD,
    "adagrad": Adagrad,
    "rowwise_adagrad": RowwiseAdagrad,
    "ftrl": FTRL,
    "adam": Adam,
    "lazy_adam": LazyAdam,
}


def build(config: OptimizerConfig, steps: int = 0) -> Optimizer:
    """The optimizer a config names.

    Args:
      steps: of the whole training, over which a scheduled rate falls.
    """
    if config.kind == "ftrl":
        return FTRL(config.learning_rate, config.l1, config.l2, config.initial_accumulator)
    kind = OPTIMIZERS[config.kind]
    more = {"initial_accumulator": config.initial_accumulator} if issubclass(kind, Adagrad) else {}
    if not isinstance(config, ScheduledOptimizerConfig):
        return kind(config.learning_rate, **more)
    if config.weight_decay:
        more["weight_decay"] = config.weight_decay
    optimizer = kind(config.learning_rate, **more)
    optimizer.clip = config.clip
    if config.final_rate:
        optimizer.fall(falling(config, steps))
    return optimizer

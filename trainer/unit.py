"""The work of one scheduled call: reads a unit's records, shuffles them, trains its batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainer.input import PIECES
from trainer.layers.flat import FlatWeights
from trainer.loop_config import LoopConfig
from trainer.objective import Objective
from trainer.optimizers import Optimizer
from trainer.read_ahead import read_ahead
from trainer.step import Step
from trainer.working_set import WorkingSet

Function = tf.types.experimental.PolymorphicFunction

SIGNATURE = [*PIECES, tf.TensorSpec((2,), tf.int64), tf.TensorSpec((), tf.int64)]
"""What ``WorkUnit.arguments`` gives, and the number of the unit's first step."""

CLIENT = tf.TensorSpec((), tf.resource)
"""What follows where the objective asks the language model: the client of the worker that runs the unit."""


Read = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], dict[str, Any]]
"""``PIECES`` -> their n rows, as keyword arguments of ``Objective.batch``: nests of tensors (n, …)."""


def unit_function(
    read: Read,
    objective: Objective,
    optimizer: Optimizer,
    dense: FlatWeights,
    config: LoopConfig,
    steps: int,
    workers: int = 0,
    asks: bool = False,
    overlap: bool = False,
) -> Function:
    """A function of ``SIGNATURE`` that trains ``steps`` batches.

    It returns each one's loss, what that is a mean over, and by name the sums and numbers (steps, 2) of what the losses
    told.

    Args:
      dense: the weights that the objective reads.
      workers: of the cluster, where the unit is trained on a working set; 0 where it is not.
      asks: the objective asks the language model: the function also takes a ``CLIENT``.
      overlap: it asks for a step's knowledge before the update of the step before (`Collaboration.ask`).
    """
    batch = config.batch
    wire, prefetch = tf.as_dtype(config.wire), config.prefetch

    @tf.function(input_signature=[*SIGNATURE, CLIENT] if asks else SIGNATURE, autograph=False)
    def unit(files, firsts, counts, seed, first, client=None):
        rows = read(files, firsts, counts)
        order = tf.argsort(tf.random.stateless_uniform((tf.shape(tf.nest.flatten(rows)[0])[0],), seed))
        batches = []
        for k in range(steps):
            drawn = order[k * batch : (k + 1) * batch]
            some = {name: tf.nest.map_structure(lambda part, at=drawn: tf.gather(part, at), value)
                    for name, value in rows.items()}  # fmt: skip
            batches.append(objective.batch(**some, seed=tf.stack([seed[0], first + k])))
        working = None
        if workers:
            working = WorkingSet(objective.touched(batches), dense, optimizer, workers, wire)

        def rows_of(k):
            return read_ahead(objective.touched([batches[k]]), wire)

        def one(index, ahead, parts, *asked):
            with Step(index, dense, working, wire, ahead, client) as step:
                loss, count = objective.loss(step, parts, *asked)
            step.update(loss, optimizer)
            return loss, count, step.told

        def ask(k):
            with Step(first + k, dense, working, wire, None, client) as step:
                return objective.ask(step, batches[k])

        if overlap:
            # Calls of one client run in the order they are written in: k + 1's forward, then k's backward.
            done, asked = [], ask(0)
            for k in range(steps):
                following = ask(k + 1) if k + 1 < steps else None
                done.append(one(first + k, None, batches[k], asked))
                asked = following
        elif prefetch:
            done, ahead = [], rows_of(0)
            for k in range(steps):
                # Asked for before the step's update; the step, traced in place, does not wait for the answer.
                following = rows_of(k + 1) if k + 1 < steps else {}
                done.append(one(first + k, ahead, batches[k]))
                ahead = following
        else:
            step_function = tf.function(one, autograph=False)
            done = [step_function(first + k, None, batches[k]) for k in range(steps)]
        if working is not None:
            working.push()
        losses, counts, told = zip(*done, strict=True)
        return tf.stack(losses), tf.stack(counts), tf.nest.map_structure(lambda *each: tf.stack(each), *told)

    return unit

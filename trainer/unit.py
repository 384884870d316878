"""The work of one scheduled call: reads a unit's records, shuffles them, trains its batches."""

from __future__ import annotations

import tensorflow as tf

from trainer.config import TrainConfig
from trainer.input import PIECES, read_records, training_windows
from trainer.models.coco import Knowledge
from trainer.objective import Objective
from trainer.optimizers import Optimizer
from trainer.read_ahead import read_ahead
from trainer.recommender import Recommender
from trainer.step import Step
from trainer.stored import Stored
from trainer.vocabulary import Vocabulary
from trainer.working_set import WorkingSet

Function = tf.types.experimental.PolymorphicFunction

SIGNATURE = [*PIECES, tf.TensorSpec((2,), tf.int64), tf.TensorSpec((), tf.int64)]
"""What ``WorkUnit.arguments`` gives, and the number of the unit's first step."""

CLIENT = tf.TensorSpec((), tf.resource)
"""What follows where the objective asks the language model: the client of the worker that runs the unit."""


def unit_function(
    recommender: Recommender,
    objective: Objective,
    optimizer: Optimizer,
    vocabulary: Vocabulary,
    config: TrainConfig,
    steps: int,
    workers: int = 0,
    asks: bool = False,
    stored: Stored | None = None,
    overlap: bool = False,
) -> Function:
    """A function of ``SIGNATURE`` that trains ``steps`` batches.

    It returns each one's loss, what that is a mean over, and by name the sums and numbers (steps, 2) of what the losses
    told.

    Args:
      workers: of the cluster, where the unit is trained on a working set; 0 where it is not.
      asks: the objective asks the language model: the function also takes a ``CLIENT``.
      stored: what the objective is to know of each row, where that lies beside the examples.
      overlap: it asks for a step's knowledge before the update of the step before (`Collaboration.ask`).
    """
    length, batch = config.model.max_length, config.batch
    wire, prefetch = tf.as_dtype(config.wire), config.prefetch

    @tf.function(input_signature=[*SIGNATURE, CLIENT] if asks else SIGNATURE)
    def unit(files, firsts, counts, seed, first, client=None):
        history, targets = training_windows(read_records(files, firsts, counts), vocabulary, length)
        order = tf.argsort(tf.random.stateless_uniform((tf.shape(history)[0],), seed))
        history, targets = tf.gather(history, order), tf.gather(targets, order)
        known = stored and stored.read(files, firsts, counts)
        batches = []
        for k in range(steps):
            rows = slice(k * batch, (k + 1) * batch)
            beside = [] if known is None else [Knowledge(*(tf.gather(part, order[rows]) for part in known))]
            batches.append(objective.batch(history[rows], targets[rows], tf.stack([seed[0], first + k]), *beside))
        working = None
        if workers:
            working = WorkingSet(objective.touched(batches), recommender.dense, optimizer, workers, wire)

        def rows_of(k):
            return read_ahead(objective.touched([batches[k]]), wire)

        def one(index, ahead, parts, *asked):
            with Step(index, recommender.dense, working, wire, ahead, client) as step:
                loss, count = objective.loss(step, parts, *asked)
            step.update(loss, optimizer)
            return loss, count, step.told

        def ask(k):
            with Step(first + k, recommender.dense, working, wire, None, client) as step:
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
            step_function = tf.function(one)
            done = [step_function(first + k, None, batches[k]) for k in range(steps)]
        if working is not None:
            working.push()
        losses, counts, told = zip(*done, strict=True)
        return tf.stack(losses), tf.stack(counts), tf.nest.map_structure(lambda *each: tf.stack(each), *told)

    return unit

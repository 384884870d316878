"""Where a training step runs: in this process, or on the workers of a parameter-server cluster.

Both have one small interface, so that the training loop reads the same for either.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import tensorflow as tf
from tensorflow.python.distribute.coordinator.coordinator_context import get_current_dispatch_context

from trainer.cluster.ended import Ended


class ParameterServerLost(RuntimeError):
    """A parameter server is gone, and its share of the parameters with it."""


class Result(Protocol):
    """What a scheduled call will return. What it tells of itself is there when it has been fetched."""

    worker: int  # that ended it
    attempts: int  # how often it was begun; each time but the last, its worker was lost
    staleness: int  # calls that others ended between its last beginning and its end

    def fetch(self) -> Any:
        """The values as numpy; waits for the call. Raises what the call raised."""


class Runtime(Protocol):
    """Where steps run."""

    ps_devices: list[str | None]  # where parameters live
    workers: int

    def schedule(self, function: Callable, args: Sequence = ()) -> Result: ...

    def join(self) -> None:
        """Waits for every scheduled call."""


class InProcess:
    """Runs every scheduled call at once, in this process."""

    ps_devices: list[str | None] = [None]
    workers = 1

    def schedule(self, function: Callable, args: Sequence = ()) -> Result:
        return _Value(function(*args))

    def join(self) -> None:
        """Nothing is ever outstanding."""


class Cluster:
    """The coordinator's view of a parameter-server cluster.

    A call whose worker is lost runs again on another worker, or on the same one when it is back. A lost
    parameter server raises ParameterServerLost from ``schedule``, ``join`` or ``fetch``.
    """

    def __init__(self, coordinator: tf.distribute.coordinator.ClusterCoordinator, spec: tf.train.ClusterSpec):
        self.coordinator = coordinator
        self.ps_devices: list[str | None] = [
            f"/job:ps/replica:0/task:{i}/device:CPU:0" for i in range(spec.num_tasks("ps"))
        ]
        self.workers = spec.num_tasks("worker")
        self._ended = Ended()

    def schedule(self, function: Callable, args: Sequence = ()) -> Result:
        """Queues ``function(*args)``, a tf.function, for the next free worker; blocks on a full queue."""
        call = _Call(function.get_concrete_function(*args), self._ended)
        # Its own schedule() takes nothing but a tf.function, though its threads run any callable.
        with _named_loss():
            call.value = self.coordinator._cluster.schedule(call, args=tuple(args), kwargs={})
        return call

    def join(self) -> None:
        with _named_loss():
            self.coordinator.join()


def connect(tf_config: dict) -> Cluster:
    """Connects this process, the coordinator, to the servers of `tf_config`; waits until they answer.

    Raises:
        ValueError: `tf_config` has no coordinator's task, or lacks a role.
    """
    spec = tf.train.ClusterSpec(tf_config["cluster"])
    task = tf_config["task"]
    if task["type"] != "chief":
        raise ValueError(f'TF_CONFIG: the coordinator is of type "chief", got {task["type"]!r}')
    for role in ("chief", "ps", "worker"):
        if role not in spec.jobs:
            raise ValueError(f"TF_CONFIG: the cluster has no {role!r}, only {spec.jobs}")
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        spec, task_type="chief", task_id=int(task["index"]), rpc_layer="grpc"
    )
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    return Cluster(tf.distribute.coordinator.ClusterCoordinator(strategy), spec)


def from_environment() -> dict | None:
    """TF_CONFIG, or None where it is not set. Raises ValueError when it is not a cluster and a task."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return None
    try:
        tf_config = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"TF_CONFIG is not JSON ({error}): {text[:200]!r}") from None
    for field in ("cluster", "task"):
        if not isinstance(tf_config, dict) or not isinstance(tf_config.get(field), dict):
            raise ValueError(f"TF_CONFIG: {field!r} must be an object, in {text[:200]!r}")
    return tf_config


class _Value:
    worker, attempts, staleness = 0, 1, 0

    def __init__(self, tensors: Any):
        self._tensors = tensors

    def fetch(self) -> Any:
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), self._tensors)


class _Call:
    """One scheduled call, which TensorFlow's coordinator begins in a worker's own thread, again where one is lost."""

    value: tf.distribute.experimental.coordinator.RemoteValue

    def __init__(self, function: Callable, ended: Ended):
        self._function, self._ended = function, ended
        self.worker, self.attempts, self.staleness = -1, 0, 0

    def __call__(self, *args: tf.Tensor) -> Any:
        self.attempts += 1
        self.worker = get_current_dispatch_context().worker_index
        before = self._ended.count
        values = self._function(*args)
        self.staleness = self._ended.another() - 1 - before
        return values

    def fetch(self) -> Any:
        with _named_loss():
            return self.value.fetch()


@contextmanager
def _named_loss() -> Iterator[None]:
    """Turns TensorFlow's error for a lost parameter server into one that says which and what to do."""
    try:
        yield
    except tf.errors.UnavailableError as error:
        lost = re.search(r"/job:ps/replica:0/task:(\d+)", str(error))
        if not lost:
            raise
        raise ParameterServerLost(
            f"parameter server {lost[1]} does not answer: restart the cluster and resume from a checkpoint"
        ) from error

"""Where a training step runs: in this process, or on the workers of a parameter-server cluster.

Both have one small interface, so that the training loop reads the same for either.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import tensorflow as tf
from tensorflow.python.distribute.coordinator.coordinator_context import get_current_dispatch_context
from tensorflow.python.distribute.coordinator.values import PerWorkerValues

from trainer.cluster.ended import Ended
from trainer.cluster.overdue import Overdue
from trainer.cluster.supervisor import AGAIN

_HERE = "/job:chief/replica:0/task:0/device:CPU:0"


class ParameterServerLost(RuntimeError):
    """A parameter server is gone, and its share of the parameters with it."""

    exit_code = AGAIN


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

    def per_worker(self, make: Callable[[], tf.Tensor]) -> Any:
        """What ``make``, run on each worker now and whenever it comes back after a loss, gives: a resource handle.

        As an argument of ``schedule`` it is the handle of the worker that runs the call.
        """

    def done(self, results: Collection[Result], seconds: float) -> list[Result]:
        """Those of ``results`` that can be fetched at once; waits up to ``seconds`` for the first."""

    def join(self) -> None:
        """Waits for every scheduled call."""


class InProcess:
    """Runs every scheduled call at once, in this process."""

    ps_devices: list[str | None] = [None]
    workers = 1

    def schedule(self, function: Callable, args: Sequence = ()) -> Result:
        return _Value(function(*args))

    def per_worker(self, make: Callable[[], tf.Tensor]) -> tf.Tensor:
        """See ``Runtime``."""
        return make()

    def done(self, results: Collection[Result], seconds: float) -> list[Result]:
        """All of them."""
        return list(results)

    def join(self) -> None:
        """Nothing is ever outstanding."""


IN_PROCESS = InProcess()
"""It keeps nothing, so that one serves all who are not on a cluster."""


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
        self.overdue = Overdue(float("inf"))
        self.ended = threading.Condition()
        self.finished = Ended()

    def schedule(self, function: Callable, args: Sequence = ()) -> Result:
        """Queues ``function(*args)``, a tf.function, for the next free worker; blocks on a full queue."""
        specs = [tf.TensorSpec((), tf.resource) if isinstance(arg, PerWorkerValues) else arg for arg in args]
        call = _Call(function.get_concrete_function(*specs), self)
        self.overdue.scheduled()
        with named_loss():  # below ClusterCoordinator.schedule, which takes no callable that could count its attempts
            self.coordinator._cluster.schedule(call, args=tuple(args), kwargs={})
        return call

    def per_worker(self, make: Callable[[], tf.Tensor]) -> Any:
        """See ``Runtime``."""
        return self.coordinator._create_per_worker_resources(make)

    def done(self, results: Collection[Result], seconds: float) -> list[Result]:
        """Those of ``results`` that have ended; waits up to ``seconds`` for the first.

        Raises:
            ParameterServerLost: what is waited for will not come. Other errors are those of the calls.
        """
        with self.ended:
            self.ended.wait_for(lambda: any(result.ended for result in results), seconds)
            found = [result for result in results if result.ended]
        if not found:
            with named_loss():
                self.coordinator.done()
        return found

    def join(self) -> None:
        with named_loss():
            self.coordinator.join()

    def watch(self, floor: float, hung: Callable[[int], None]) -> None:
        """From now on calls ``hung`` with the index of a worker whose call takes far longer than calls do.

        When that does not help and no call ends, this process ends with ``AGAIN``: something else hangs, and a new
        cluster is needed. See ``Overdue``.

        Args:
            floor: seconds that any call may take.
        """
        self.overdue = Overdue(floor)
        threading.Thread(target=self._watch, args=(hung,), name="overdue calls", daemon=True).start()

    def _watch(self, hung: Callable[[int], None]) -> None:
        while True:
            time.sleep(1.0)
            for worker in self.overdue.workers():
                hung(worker)
            if self.overdue.all:
                print("no call to the cluster ends: it has to be started again", file=sys.stderr, flush=True)
                os._exit(AGAIN)


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


class _Value:
    worker, attempts, staleness = 0, 1, 0

    def __init__(self, tensors: Any):
        self._tensors = tensors

    def fetch(self) -> Any:
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), self._tensors)


class _Call:
    """One scheduled call, which TensorFlow's coordinator begins on a worker's own thread, again where one is lost.

    It keeps its values itself: TensorFlow's RemoteValue waits for ever when another call's error ends the queue.
    """

    def __init__(self, function: Callable, cluster: Cluster):
        self._function, self._cluster = function, cluster
        self.attempts, self.worker, self.staleness, self.ended = 0, -1, 0, False

    def __call__(self, *args: tf.Tensor) -> None:
        worker = get_current_dispatch_context().worker_index
        overdue, condition = self._cluster.overdue, self._cluster.ended
        self.attempts += 1
        overdue.began(worker)
        before, well = self._cluster.finished.count, False
        try:
            tensors = self._function(*args)
            with tf.device(_HERE):
                values = tf.nest.map_structure(lambda tensor: tf.identity(tensor).numpy(), tensors)
            well = True
        finally:
            overdue.ended(worker, well)
        self.staleness = self._cluster.finished.another() - 1 - before
        with condition:
            self._values, self.worker, self.ended = values, worker, True
            condition.notify_all()

    def fetch(self) -> Any:
        while not self._cluster.done([self], 1.0):
            pass
        return self._values


@contextmanager
def named_loss() -> Iterator[None]:
    """Turns TensorFlow's error for a lost parameter server into ParameterServerLost, which says which."""
    try:
        yield
    except tf.errors.OpError as error:
        lost = re.search(r"/job:ps/replica:0/task:(\d+)", str(error))
        if not lost or not _tells_of_a_loss(error):
            raise
        raise ParameterServerLost(
            f"parameter server {lost[1]} does not answer: restart the cluster and resume from a checkpoint"
        ) from error


def _tells_of_a_loss(error: tf.errors.OpError) -> bool:
    """The other end of a call is gone, or is another process at the same address, which knows nothing of us."""
    if isinstance(error, tf.errors.InvalidArgumentError):
        return any(words in str(error) for words in ("unknown device", "Unable to find the relevant tensor"))
    return isinstance(error, tf.errors.UnavailableError | tf.errors.AbortedError | tf.errors.CancelledError)

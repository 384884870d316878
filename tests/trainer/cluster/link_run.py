"""Steps that ask a side process, in one process or on a cluster; prints what was found as JSON.

Run as `python link_run.py <address> <folder> <process id of the side process>`. Whoever runs it starts the side process
again when it ends.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.cluster import strategy
from trainer.cluster.launcher import ClusterSize, LocalCluster
from trainer.config import LinkConfig
from trainer.llm_link import LlmLink, spare

UNROLLED, BATCH, M, WIDTH, D = 2, 3, 2, 12, 4


class Training:
    """Prompts on a parameter server, trained so that the knowledge comes near to a target."""

    def __init__(self, runtime: strategy.Runtime, address: str) -> None:
        self.runtime = runtime
        self.link = LlmLink(LinkConfig(address, wait_seconds=240.0, call_seconds=20.0), D, tf.float64)
        self.link.begin(0)
        self.client = runtime.per_worker(self.link.client)
        random = np.random.default_rng(0)
        with tf.device(runtime.ps_devices[0]):
            self.prompts = tf.Variable(random.normal(size=(M, WIDTH)))
        target, history = random.normal(size=D), tf.constant(random.integers(1, 30, (BATCH, 3)), tf.int32)

        @tf.function(input_signature=[tf.TensorSpec((), tf.resource), tf.TensorSpec((), tf.int64)])
        def unit(client, first):
            losses = []
            for k in range(UNROLLED):
                with tf.GradientTape() as tape:
                    prompts = tf.identity(self.prompts)
                    tape.watch(prompts)
                    users = tf.tile(prompts[tf.newaxis], (BATCH, 1, 1))
                    mask = tf.ones((BATCH, M), tf.bool)
                    knowledge = self.link.knowledge(client, first + k, users, mask, history)
                    far = tf.reduce_sum((knowledge.h - target) ** 2, (1, 2))
                    loss = tf.reduce_mean(spare(far, knowledge.gate, tf.range(BATCH) < 1))
                self.prompts.assign_sub(0.01 * tape.gradient(loss, prompts))
                losses.append(loss)
            return tf.stack(losses)

        self._unit = unit

    def schedule(self, number: int) -> strategy.Result:
        return self.runtime.schedule(self._unit, (self.client, tf.constant(1 + number * UNROLLED, tf.int64)))

    def one_by_one(self, units: int) -> list[float]:
        return np.concatenate([self.schedule(number).fetch() for number in range(units)]).tolist()

    def together(self, units: int) -> dict[str, object]:
        results = [self.schedule(number) for number in range(units)]
        losses = np.concatenate([result.fetch() for result in results])
        found = {"workers": sorted({r.worker for r in results}), "attempts": sum(r.attempts for r in results)}
        return {**found, "finite": bool(np.isfinite(losses).all()), **json.loads(self.link.status())}


def main(address: str, folder: str, side: str) -> None:
    found = {"alone": Training(strategy.InProcess(), address).one_by_one(4)}
    with LocalCluster(ClusterSize(ps=1, workers=2), Path(folder)) as servers:
        cluster = strategy.connect(servers.tf_config)
        found["cluster"] = Training(cluster, address).one_by_one(4)
        found["together"] = Training(cluster, address).together(8)

        training = Training(cluster, address)
        begun = [training.schedule(number) for number in range(4)]
        begun[0].fetch()
        os.kill(int(side), signal.SIGKILL)
        [result.fetch() for result in begun]
        found["side process killed"] = json.loads(training.link.status())

        training = Training(cluster, address)
        begun = [training.schedule(number) for number in range(6)]
        begun[0].fetch()
        servers.kill("worker-0")
        servers.restart("worker-0")
        [result.fetch() for result in begun]
        found["worker killed"] = json.loads(training.link.status())
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])

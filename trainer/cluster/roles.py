"""The part this process plays in a stage that may run on a cluster: a server, the coordinator, or all by itself."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from trainer.cluster import launcher, server, strategy
from trainer.cluster.environment import from_environment


@contextmanager
def runtime(cluster: str, logs: Path) -> Iterator[strategy.Runtime]:
    """Where to compute: on the cluster TF_CONFIG names, else on a local one such as "ps=2,workers=2", else here.

    Where TF_CONFIG makes this process a parameter server or a worker, it serves until it is told to end, and the
    call does not return.

    Args:
      cluster: of a local cluster; "" is none. logs: folder of its servers' logs.

    Raises:
      ValueError: TF_CONFIG is not a cluster and a task.
      ClusterError: a local server did not start.
    """
    tf_config = from_environment()
    if tf_config is not None and tf_config["task"]["type"] in ("ps", "worker"):
        server.serve(tf_config)
    with ExitStack() as stack:
        if tf_config is None and cluster:
            size = launcher.ClusterSize.parse(cluster)
            tf_config = stack.enter_context(launcher.LocalCluster(size, logs)).tf_config
        if tf_config is None:
            yield strategy.InProcess()
            return
        server.leave_gpus_to_workers()
        yield strategy.connect(tf_config)
        gc.collect()  # remote functions and variables are given back while their servers still answer

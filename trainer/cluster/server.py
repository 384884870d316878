"""A parameter server or a worker: a process that waits for the coordinator's calls.

`python -m trainer.cluster.server` plays the role that TF_CONFIG names. It ends on SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from feature_store.end_signals import until_told
from trainer.cluster.launcher import PARENT

if TYPE_CHECKING:
    import tensorflow as tf

_PR_SET_PDEATHSIG = 1


def serve(tf_config: dict, threads: int | None = None) -> None:
    """Serves until SIGTERM or SIGINT, then ends the process with code 0.

    Args:
        tf_config: TF_CONFIG with a task of type "ps" or "worker".
        threads: threads in which one operation computes; by default every core.

    Raises:
        ValueError: the task is of another type, or is not in the cluster.
    """
    task = tf_config["task"]
    role, index = task["type"], int(task["index"])
    if role not in ("ps", "worker"):
        raise ValueError(f'TF_CONFIG: a server is of type "ps" or "worker", got {role!r}')
    tasks = len(tf_config["cluster"].get(role, ()))
    if index >= tasks:
        raise ValueError(f"TF_CONFIG: there is no {role} {index}, the cluster has {tasks}")
    with until_told() as told:
        import tensorflow as tf

        gpus = len(tf.config.list_physical_devices("GPU"))
        options = session_config(role, index, gpus, _peers(tf_config["cluster"], role), threads)
        server = tf.distribute.Server(
            tf.train.ClusterSpec(tf_config["cluster"]), role, index, protocol="grpc", config=options
        )
        print(f"{role} {index} serves at {server.target}", flush=True)
        parent = os.environ.get(PARENT)
        while not told.wait(1.0):
            if parent and os.getppid() != int(parent):
                break
        os._exit(0)  # the runtime has no clean end while clients are connected


def session_config(
    role: str, index: int, gpus: int, peers: int, threads: int | None = None
) -> tf.compat.v1.ConfigProto:
    """What a server may take of its machine. A worker computes on one GPU and takes its memory as it needs it; where
    a machine's workers see several, each takes the one of its index. A parameter server takes none.

    Args:
        gpus: that this process sees. peers: servers that may call this one at a time.
        threads: threads in which one operation computes; None is every core.
    """
    import tensorflow as tf

    options = tf.compat.v1.ConfigProto()
    options.intra_op_parallelism_threads = threads or 0
    # An operation that waits for another server holds a thread: with few cores the default could deadlock.
    options.inter_op_parallelism_threads = max(4, os.cpu_count() or 1, peers + 1)
    if role == "ps":
        options.device_count["GPU"] = 0
    elif gpus:
        options.gpu_options.allow_growth = True
        options.gpu_options.visible_device_list = str(index % gpus)
    return options


def leave_gpus_to_workers() -> None:
    """In a coordinator, before it computes anything: it takes no GPU, which would take the GPU's memory too."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")


def _peers(cluster: dict[str, list[str]], role: str) -> int:
    return len(cluster["worker" if role == "ps" else "ps"])


def die_with_parent() -> None:
    """Asks Linux for SIGKILL when the parent ends; elsewhere the loop in `serve` notices within a second."""
    if sys.platform == "linux" and PARENT in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, help="threads in which one operation computes")
    arguments = parser.parse_args()
    die_with_parent()
    serve(json.loads(os.environ["TF_CONFIG"]), arguments.threads)


if __name__ == "__main__":
    main()

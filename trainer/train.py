"""The training stage: reads a folder of examples, trains one variant, leaves its best checkpoint."""

from __future__ import annotations

import atexit
import dataclasses
import gc
import json
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from trainer.cluster import launcher, server, strategy
from trainer.config import TrainConfig
from trainer.input import Examples
from trainer.knowledge import read_knowledge
from trainer.loop import Trainer
from trainer.monitor import Monitor
from trainer.recommender import Recommender


def run(examples: Path, knowledge: Path | None, out: Path, train: TrainConfig) -> dict[str, Any]:
    """Trains ``train`` on ``examples`` into ``out`` (``models/<variant>``), resuming what is there.

    With ``TF_CONFIG`` set this process plays its role: a parameter server or worker serves until it is told to
    end, the chief trains. Without it, ``train.cluster`` such as "ps=2,workers=2" spawns a local cluster of separate
    processes; with neither, training runs in this process.

    Returns:
      Summary: epochs, best validation NDCG@10, seconds.

    Raises:
      DataError: the examples or the knowledge are not whole.
      ValueError: a checkpoint in ``out`` was made with another config.
    """
    tf_config = strategy.from_environment()
    if tf_config is not None and tf_config["task"]["type"] in ("ps", "worker"):
        server.serve(tf_config)
        return {}
    start = time.perf_counter()
    if tf_config is not None or train.cluster:
        server.leave_gpus_to_workers()
    data = Examples(examples)
    _check_length(data, train)
    _claim(out, train)
    vectors = None
    if train.model.knowledge:
        vectors = read_knowledge(knowledge, data.vocabulary, train.model.knowledge_width)
    with ExitStack() as stack:
        monitor = stack.enter_context(Monitor(train.metrics_port))
        runtime: strategy.Runtime = strategy.InProcess()
        if tf_config is None and train.cluster:
            size = launcher.ClusterSize.parse(train.cluster)
            tf_config = stack.enter_context(launcher.LocalCluster(size, out / "cluster")).tf_config
            atexit.register(_mute)
        if tf_config is not None:
            runtime = strategy.connect(tf_config)
        recommender = Recommender(train.model, data.vocabulary.size, vectors, runtime.ps_devices, train.seed)
        progress = Trainer(runtime, data, recommender, out, train, monitor).run()
        # Remote functions and variables are given back while their servers still answer.
        del recommender
        gc.collect()
    summary = {
        "epochs": progress.epoch,
        "steps": progress.step,
        "best_epoch": progress.best_epoch,
        "best_checkpoint": progress.best_checkpoint,
        "valid_ndcg@10": progress.best,
        "seconds": time.perf_counter() - start,
        "cluster": train.cluster,
    }
    _write(out / "history.json", {"summary": summary, "epochs": progress.history})
    return summary


def _mute() -> None:
    """At exit the local servers are gone, and TensorFlow says so once for every remote function it had there."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


FREE_TO_CHANGE = (
    "epochs", "patience", "cluster", "working_set", "metrics_port",
    "keep_checkpoints", "checkpoint_every", "validate_every",
)  # fmt: skip
"""Settings a run may be resumed with other values of; every other one makes another model."""


def _claim(out: Path, train: TrainConfig) -> None:
    """Writes the config into ``out``, or checks that what is there was trained with the same."""
    path, config = out / "config.json", dataclasses.asdict(train)
    if path.exists():
        old = json.loads(path.read_text())
        for field, value in json.loads(json.dumps(config)).items():
            if field not in FREE_TO_CHANGE and old.get(field) != value:
                raise ValueError(
                    f"{path}: was trained with {field}={old.get(field)!r}, asked for {value!r}; "
                    f"remove {out} to train anew"
                )
    _write(path, config)


def _check_length(data: Examples, train: TrainConfig) -> None:
    there = data.manifest["history_length"]
    if train.model.max_length > there:
        raise ValueError(
            f"model.max_length is {train.model.max_length}, but the examples in {data.folder} hold "
            f"histories of at most {there} items (features.history_length)"
        )


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".writing")
    scratch.write_text(json.dumps(value, indent=1))
    scratch.rename(path)

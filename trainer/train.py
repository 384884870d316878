"""The training stage: reads a folder of examples, trains one variant, leaves its best checkpoint.

TensorFlow is not loaded here: with a local cluster this process only looks after those that train.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from trainer.cluster import server, supervisor
from trainer.cluster.environment import from_environment
from trainer.cluster.launcher import ClusterSize
from trainer.config import TrainConfig
from trainer.loop_config import LoopConfig
from trainer.requests.config import RequestTrainConfig

TASKS = {"next_item": TrainConfig, "requests": RequestTrainConfig}
"""What can be trained, by the name that a coordinator's command line calls it."""


def run(
    examples: Path, knowledge: Path | None, out: Path, train: TrainConfig | RequestTrainConfig
) -> dict[str, Any]:
    """Trains ``train`` on ``examples`` into ``out`` (``models/<variant>``), resuming what is there.

    Of a ``RequestTrainConfig`` the examples are requests, which have no ``knowledge``.

    With ``TF_CONFIG`` set this process plays its role: a parameter server or worker serves until it is told to
    end, the chief trains. Without it, ``train.cluster`` such as "ps=2,workers=2" spawns a local cluster of separate
    processes, the coordinator among them, and starts again what dies; with neither, training runs in this process.

    Returns:
      Summary: epochs, best validation metric, examples trained on, seconds.

    Raises:
      DataError: the examples or the knowledge are not whole (on a local cluster a ValueError with the same words).
      ValueError: a checkpoint in ``out`` was made with another config.
      ParameterServerLost: under TF_CONFIG; start the chief again.
      ClusterError: a local cluster dies again and again without coming further.
    """
    tf_config = from_environment()
    if tf_config is not None and tf_config["task"]["type"] in ("ps", "worker"):
        server.serve(tf_config)
        return {}
    if tf_config is None and train.cluster:
        command = chief_command(examples, knowledge, out, train)
        size = ClusterSize.parse(train.cluster)
        newest = out / "checkpoints"
        supervisor.supervise(command, size, out / "cluster", lambda: _names(newest), train.grace_seconds)
        return json.loads((out / "history.json").read_text())["summary"]
    from trainer import chief

    return chief.train(examples, knowledge, out, train, tf_config)


def chief_command(
    examples: Path, knowledge: Path | None, out: Path, train: TrainConfig | RequestTrainConfig
) -> list[str]:
    """The command line of a coordinator, which finds its cluster in TF_CONFIG."""
    what = {
        "examples": str(examples),
        "knowledge": str(knowledge) if knowledge else None,
        "out": str(out),
        "task": next(name for name, kind in TASKS.items() if type(train) is kind),
        "train": dataclasses.asdict(train),
    }
    return [sys.executable, "-P", "-m", "trainer.chief", json.dumps(what)]


def _names(checkpoints: Path) -> list[str]:
    return sorted(p.name for p in checkpoints.glob("ckpt-*"))


FREE_TO_CHANGE = (
    "epochs", "rounds", "patience", "cluster", "working_set", "metrics_port", "keep_checkpoints", "checkpoint_every",
    "checkpoint_minutes", "validate_every", "hang_seconds", "grace_seconds", "llm",
)  # fmt: skip
"""Settings a run may be resumed with other values of; every other one makes another model."""


def free_to_change(train: LoopConfig) -> tuple[str, ...]:
    """``FREE_TO_CHANGE``, less ``epochs`` where the learning rate falls over them."""
    falls = isinstance(train, RequestTrainConfig) and train.optimizer.final_rate > 0
    return tuple(name for name in FREE_TO_CHANGE if not (falls and name == "epochs"))


def claim(out: Path, train: TrainConfig | RequestTrainConfig) -> None:
    """Writes the config into ``out``, or checks that what is there was trained with the same."""
    path, config = out / "config.json", dataclasses.asdict(train)
    if path.exists():
        old = json.loads(path.read_text())
        old = {"start_from": "", **old}  # of a folder from before there was one
        if isinstance(train, TrainConfig) and train.coco.refresh:
            old["coco"]["source"] = train.coco.source  # another one in every round
        for field, value in json.loads(json.dumps(config)).items():
            if field not in free_to_change(train) and old.get(field) != value:
                raise ValueError(
                    f"{path}: was trained with {field}={old.get(field)!r}, asked for {value!r}; "
                    f"remove {out} to train anew"
                )
    write_json(path, config)


def write_json(path: Path, value: Any) -> None:
    """Writes a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".writing")
    scratch.write_text(json.dumps(value, indent=1))
    scratch.rename(path)

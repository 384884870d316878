"""One training run of the fault tests: processes as their users start them, watched and hurt from outside.

`python -m benchmarks._fault_run <settings as JSON>` is the run itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from trainer import train
from trainer.cluster.launcher import ClusterSize, LocalCluster
from trainer.config import LossConfig, ModelConfig, OptimizerConfig, TrainConfig

REPOSITORY = Path(__file__).parents[1]
PATIENCE = 900.0  # seconds that anything may take before a scenario has failed
CONFIG = TrainConfig(
    batch=4, epochs=4, steps_per_schedule=2, patience=0, checkpoint_minutes=0.002, hang_seconds=20.0,
    model=ModelConfig(d=8, blocks=1, max_length=10, dropout=0.1), loss=LossConfig("sampled_softmax", negatives=8),
    optimizer=OptimizerConfig("lazy_adam", 0.01),
)  # fmt: skip


class ScenarioFailed(RuntimeError):
    """What had to happen after a fault did not."""


class Run:
    """A run into ``out``: on a local cluster, or in one process where ``cluster`` is "".

    Args:
      examples: what on. out: ``models/<variant>``.
    """

    def __init__(self, examples: Path, out: Path, cluster: str) -> None:
        self.examples, self.out = examples, out
        self.config = TrainConfig(**{**vars(CONFIG), "cluster": cluster})
        self.checkpoints = out / "checkpoints"
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Run:
        self.out.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            for process in self._family():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.kill()
            self._process.wait()

    def start(self) -> None:
        """Starts it, or starts it again."""
        what = {"examples": str(self.examples), "out": str(self.out), "train": asdict(self.config)}
        self.launch([sys.executable, "-P", "-m", "benchmarks._fault_run", json.dumps(what)])

    def launch(self, command: list[str], **environment: str) -> None:
        """Starts ``command``; what it prints goes on in ``log``."""
        own = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"}
        environment = {**os.environ, **own, "PYTHONPATH": str(REPOSITORY), **environment}
        with open(self.out / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    @property
    def log(self) -> str:
        """What it has printed."""
        return (self.out / "log").read_text(errors="replace")

    def send(self, name: str, number: int) -> None:
        """Sends a signal to "worker-0", "ps-1", "chief-0", or to the process that was started: "run"."""
        if name == "run":
            self._process.send_signal(number)
            return
        self.process(name).send_signal(number)

    def process(self, name: str) -> psutil.Process:
        """The process of a role of the local cluster."""
        found = [process for process in self._family() if _role(process) == name]
        if len(found) != 1:
            raise ScenarioFailed(f"{name}: there are {len(found)} such processes")
        return found[0]

    def wait(self) -> int:
        """Its exit code."""
        self.until(lambda: self._process.poll() is not None, "the end")
        return self._process.returncode

    def state(self) -> dict[str, Any]:
        """The state in the newest checkpoint, {} without one."""
        for folder in sorted(self.checkpoints.glob("ckpt-*"), key=_step, reverse=True):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile, for a newer one
                return json.loads((folder / "state.json").read_text())
        return {}

    def until_inside_an_epoch(self) -> int:
        """Waits for a checkpoint between the ends of two epochs; returns its step."""

        def inside() -> bool:
            state = self.state()
            return bool(state) and len(state["queue"]["done"]) > 0 and state["epoch"] < self.config.epochs - 1

        self.until(inside, "a checkpoint inside an epoch")
        return self.state()["step"]

    def until_past(self, step: int) -> None:
        """Waits for a checkpoint beyond ``step``."""
        self.until(lambda: self.state().get("step", 0) > step, f"a checkpoint beyond step {step}")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits.

        Raises:
          ScenarioFailed: not within ``PATIENCE`` seconds, or the run ended.
        """
        end = time.monotonic() + PATIENCE
        while not condition():
            code = self._process.poll()
            if (code is not None and not condition()) or time.monotonic() > end:
                ended = "in time" if code is None else f"before the run ended with code {code}"
                raise ScenarioFailed(f"{what}: not {ended}; the end of its log:\n{self.log[-3000:]}")
            time.sleep(0.05)

    def history(self) -> dict[str, Any]:
        """``history.json``."""
        return json.loads((self.out / "history.json").read_text())

    def parameters(self) -> dict[str, np.ndarray]:
        """The arrays of the newest checkpoint, by name."""
        newest = max(self.checkpoints.glob("ckpt-*"), key=_step)
        return {path.stem: np.load(path) for path in newest.glob("*.npy")}

    def damaged(self) -> list[str]:
        """Checkpoints that are not whole, or were left half-written."""
        left = [path.name for path in self.checkpoints.glob(".*")] if self._process.poll() is not None else []
        for folder in self.checkpoints.glob("ckpt-*"):
            try:
                names = {path.name for path in folder.iterdir()}
                whole = {"state.json", "dense.npy", "dense.m.npy", "table.item.npy", "table.item.v.npy"} <= names
                json.loads((folder / "state.json").read_text())
                for name in names - {"state.json"}:
                    np.load(folder / name)  # an array that was cut off is an error
            except (OSError, ValueError):
                whole = not folder.exists()  # removed meanwhile, for a newer one
            left += [] if whole else [folder.name]
        return left

    def _family(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


class Pods(Run):
    """The same under TF_CONFIG: servers and chief are started by somebody else, who starts again what ended."""

    def __init__(self, examples: Path, out: Path, cluster: str) -> None:
        super().__init__(examples, out, cluster)
        self.servers = LocalCluster(ClusterSize.parse(cluster), out / "cluster")

    def __enter__(self) -> Pods:
        super().__enter__()
        self.servers.start()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.servers.stop()

    def start(self) -> None:
        command = train.chief_command(self.examples, None, self.out, self.config)
        self.launch(command, TF_CONFIG=json.dumps(self.servers.tf_config))

    def send(self, name: str, number: int) -> None:
        if name in self.servers.pids:
            os.kill(self.servers.pids[name], number)
        else:
            super().send("run", number)


def _role(process: psutil.Process) -> str:
    try:
        task = json.loads(process.environ()["TF_CONFIG"])["task"]
        return f"{task['type']}-{task['index']}"
    except (psutil.Error, KeyError):
        return ""


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("ckpt-"))


def main() -> None:
    what = json.loads(sys.argv[1])
    config = TrainConfig.from_json(what["train"])
    print(json.dumps(train.run(Path(what["examples"]), None, Path(what["out"]), config)))


if __name__ == "__main__":
    main()

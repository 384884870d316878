"""The process that trains: alone, or as the coordinator of a cluster.

`python -m trainer.chief <what to train, as JSON>` is how a supervised cluster starts it; TF_CONFIG names the cluster.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf

from feature_store.checks import require
from trainer import checkpoint, warm_start
from trainer.attributes import read_attributes
from trainer.cluster import environment, strategy
from trainer.cluster.server import die_with_parent, leave_gpus_to_workers
from trainer.cluster.supervisor import AGAIN, tell
from trainer.config import TrainConfig
from trainer.input import Examples
from trainer.knowledge import Basis, read_knowledge
from trainer.llm_link import LlmLink
from trainer.loop import Trainer
from trainer.monitor import Monitor
from trainer.next_item import NextItem
from trainer.progress import Progress
from trainer.recommender import Recommender
from trainer.requests.config import RequestTrainConfig
from trainer.requests.input import Requests
from trainer.requests.ranker import RequestRanker
from trainer.requests.task import RequestTask
from trainer.stored import Stored
from trainer.task import Task
from trainer.train import TASKS, claim, write_json


def train(
    examples: Path,
    knowledge: Path | None,
    out: Path,
    train: TrainConfig | RequestTrainConfig,
    tf_config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """See ``trainer.train.run``. With ``tf_config`` this process coordinates that cluster."""
    start, processor = time.perf_counter(), time.process_time()
    begun: Begun = (
        _OfRequests(examples, train)
        if isinstance(train, RequestTrainConfig)
        else _OfNextItem(examples, knowledge, out, train)
    )
    claim(out, begun.train)
    begun.open()
    runtime: strategy.Runtime = strategy.IN_PROCESS
    with Monitor(train.metrics_port) as monitor, strategy.named_loss():
        if tf_config is not None:
            leave_gpus_to_workers()
            runtime = strategy.connect(tf_config)
            runtime.watch(train.hang_seconds, _report)
        task = begun.task(runtime, monitor)
        progress = Trainer(runtime, task, out, begun.train, monitor).run()
    summary = {
        "epochs": progress.epoch,
        "steps": progress.step,
        "best_epoch": progress.best_epoch,
        "best_checkpoint": progress.best_checkpoint,
        f"valid_{task.selection}": progress.best,
        "examples": progress.examples,
        "repeated": progress.repeated,
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,  # of this process, not of a cluster's others
        "cluster": train.cluster,
        **begun.told(progress),
        **({"start": progress.start} if progress.start else {}),
    }
    write_json(out / "history.json", {"summary": summary, "epochs": progress.history})
    return summary


class Begun(Protocol):
    """A training whose inputs are there and fit its config.

    Attributes:
      train: the config, with what it left open.
    """

    train: TrainConfig | RequestTrainConfig

    def open(self) -> None:
        """Opens what is read once the folder of the model is claimed."""

    def task(self, runtime: strategy.Runtime, monitor: Monitor) -> Task:
        """The task, with its parameters where ``runtime`` holds them."""

    def told(self, progress: Progress) -> dict[str, Any]:
        """What the summary says beside how it went."""


class _OfNextItem:
    """Of a sequential recommender."""

    def __init__(self, examples: Path, knowledge: Path | None, out: Path, train: TrainConfig) -> None:
        self._data, self._knowledge, self._out = Examples(examples), knowledge, out
        _check_length(self._data, train)
        self.train = fitted(train, self._data)

    def open(self) -> None:
        self._source = _source(self._out, self.train)

    def task(self, runtime: strategy.Runtime, monitor: Monitor) -> Task:
        source = self._source
        recommender = build(self.train, self._data, self._knowledge, runtime.ps_devices, source and source.basis)
        warm_start.keep_names(self._out, self._data.vocabulary.ids, recommender.attributes)
        with monitor.phase("read"):
            return NextItem(runtime, self._data, recommender, self.train, source)

    def told(self, progress: Progress) -> dict[str, Any]:
        return {"knowledge": _made_by(self.train, self._data, self._out, progress.best_epoch)}


class _OfRequests:
    """Of a model of labelled requests."""

    def __init__(self, examples: Path, train: RequestTrainConfig) -> None:
        self._data, self.train = Requests(examples), train
        require(self._data.count("valid") > 0, "the requests", "must have a validation split", str(examples))

    def open(self) -> None:
        """Nothing."""

    def task(self, runtime: strategy.Runtime, monitor: Monitor) -> Task:
        ranker = RequestRanker(self.train, self._data, runtime.ps_devices)
        return RequestTask(runtime, self._data, ranker, self.train)

    def told(self, progress: Progress) -> dict[str, Any]:
        return {}


def _made_by(train: TrainConfig, data: Examples, out: Path, best_epoch: int) -> dict[str, str] | None:
    """Of the stored knowledge that the best checkpoint was trained with; with rounds it may be an earlier one's."""
    if not train.coco.stored:
        return None
    if train.coco.refresh and (out / "history.json").exists():
        before = json.loads((out / "history.json").read_text())["summary"]
        if best_epoch <= before["epochs"]:
            return before["knowledge"]
    return Stored(train.coco.source, data).made_by


def build(
    train: TrainConfig,
    data: Examples,
    knowledge: Path | None,
    devices: Sequence[str | None] = (None,),
    basis: Basis | None = None,
) -> Recommender:
    """The recommender as its training begins, but for what it takes over from another model.

    Args:
      train: fitted. knowledge: as of ``trainer.train.run``. devices: as of ``Recommender``. basis: of `read_knowledge`.

    Raises:
      DataError: a folder that it is made from is not whole.
    """
    vectors = None
    if train.model.likeness:
        basis = None  # no weight knows its coordinates
    if train.model.knowledge:
        vectors = read_knowledge(knowledge, data.vocabulary, train.model.knowledge_width, basis)
    attributes = read_attributes(data, train.model.attributes) if train.model.attributes else None
    known = Stored(train.coco.source, data).statistics if train.coco.stored else None
    size = data.vocabulary.size
    return Recommender(train.model, size, vectors, devices, train.seed, attributes, train.coco, known)


def fitted(train: TrainConfig, data: Examples) -> TrainConfig:
    """With CoCo, the config with what it leaves open as the language model's side process, or what is stored, has it.

    Raises:
      DataError: what is stored is not whole, or not of these examples.
      ValueError: no side process is named, or what is stored is of another width than ``coco.knowledge_width``.
      InvalidArgumentError: it cannot be reached.
    """
    coco = train.coco
    if not coco.enabled:
        return train
    if coco.stored:
        width = Stored(coco.source, data).width
        rule = f"must be {width}, as wide as what is stored in {coco.source}, or 0"
        require(coco.knowledge_width in (0, width), "coco.knowledge_width", rule, coco.knowledge_width)
        return replace(train, coco=replace(coco, knowledge_width=width))
    require(bool(train.llm.address), "llm.address", 'must be the "host:port" of a side process with coco.enabled', "")
    told = json.loads(LlmLink(train.llm, 0).status())
    found = {name: getattr(coco, name) or told[name] for name in ("width", "knowledge_width", "scale")}
    return replace(train, coco=replace(coco, **found))


def _source(out: Path, train: TrainConfig) -> warm_start.Source | None:
    """The model that training starts from, where it has not begun."""
    if not train.start_from or checkpoint.newest(out / "checkpoints"):
        return None
    return warm_start.Source.open(Path(train.start_from))


def _report(worker: int) -> None:
    """A worker hangs: the supervisor ends it. On another cluster that is for whoever runs it to do."""
    if not tell(hung=f"worker-{worker}"):
        print(f"WARNING: worker {worker} does not answer; training waits for its unit", file=sys.stderr, flush=True)


def _check_length(data: Examples, train: TrainConfig) -> None:
    there = data.manifest["history_length"]
    if train.model.max_length > there:
        raise ValueError(
            f"model.max_length is {train.model.max_length}, but the examples in {data.folder} hold "
            f"histories of at most {there} items (features.history_length)"
        )


def _log_to(folder: Path) -> None:
    """TensorFlow tells of each lost worker at length: that goes to a file, our line of it to the terminal."""
    folder.mkdir(parents=True, exist_ok=True)
    logger = tf.get_logger()
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.addHandler(logging.FileHandler(folder / "chief-0.log"))
    logger.propagate = False


def main() -> int:
    die_with_parent()
    what = json.loads(sys.argv[1])
    _log_to(Path(what["out"]) / "cluster")
    knowledge = Path(what["knowledge"]) if what["knowledge"] else None
    try:
        config = TASKS[what["task"]].from_json(what["train"])
        train(Path(what["examples"]), knowledge, Path(what["out"]), config, environment.from_environment())
    except strategy.ParameterServerLost as error:
        print(error, file=sys.stderr)
        return AGAIN
    except Exception as error:
        bad_input = isinstance(error, ValueError)
        text = str(error) if bad_input else f"{type(error).__name__}: {error}"
        if not tell(error=text, input=bad_input, traceback=traceback.format_exc()):
            traceback.print_exc()
        return 2 if bad_input else 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # TensorFlow's own end would wait for servers, which end later

"""The side process's end of the link: TensorFlow's RPC server in front of a `Learner`.

The one file here that imports TensorFlow, whose workers call it from inside their graphs (`trainer.llm_link` is their
end). Another transport would replace these two files.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import torch

from feature_store.end_signals import until_told
from llm_offline.config import LlmConfig
from llm_offline.knowledge.learner import Learner
from llm_offline.knowledge.reasoner import Question, Reasoner
from llm_offline.knowledge.request import Request
from llm_offline.knowledge.state import Checkpoints, read
from llm_offline.knowledge.title_vectors import text_of
from llm_offline.language_model import load

_PARTS = 4096  # more than a batch ever has, so that each part of each step has a seed of its own


class LinkService:
    """What the link's methods do. They run one after another, on one thread.

    A request of another session than the newest `begin` is refused: it is of a training that has ended.
    """

    def __init__(self, learner: Learner, checkpoints: Checkpoints, config: LlmConfig) -> None:
        self._learner, self._checkpoints, self._config = learner, checkpoints, config
        self._session, self._saved = 0, 0
        self._read: tuple[int, dict[str, torch.Tensor]] | None = None  # the checkpoint that was read last, by its step
        limit = {"initializer": torch.set_num_threads, "initargs": (config.threads,)} if config.threads else {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="learner", **limit)

    def resume(self) -> int:
        """Restores the newest checkpoint; returns its step, 0 where there is none."""
        step = max(self._checkpoints.steps(), default=0)
        self._session = self._checkpoints.restore(self._learner, step)
        self._saved = self._learner.version
        return step

    def forward(self, request: np.ndarray, prompts: np.ndarray, mask: np.ndarray, history: np.ndarray) -> list[Any]:
        one = self._request(request)
        knowledge, version = self._learner.forward(one, self._question(one, prompts, mask, history))
        return [knowledge, np.int64(version)]

    def backward(self, request: np.ndarray, upstream: np.ndarray, learns: np.ndarray) -> list[Any]:
        found = self._learner.backward(self._request(request), upstream, learns)
        self._save_now_and_then()
        return [np.bool_(False), np.zeros((0, 0, 0), upstream.dtype)] if found is None else [np.bool_(True), found]

    def replay(
        self,
        request: np.ndarray,
        prompts: np.ndarray,
        mask: np.ndarray,
        history: np.ndarray,
        upstream: np.ndarray,
        learns: np.ndarray,
    ) -> list[Any]:
        one = self._request(request)
        found = self._learner.replay(one, self._question(one, prompts, mask, history), upstream, learns)
        self._save_now_and_then()
        return [found]

    def know(self, step: np.int64, prompts: np.ndarray, mask: np.ndarray, history: np.ndarray) -> list[Any]:
        """Forward alone, without dropout: with the adapter of the checkpoint of ``step``, 0 being the beginning, or
        below 0 with the newest.

        It is no step of a training: nothing is learnt, and any session may ask.
        """
        weights = None if step < 0 else self._weights(int(step))
        return [self._learner.know(Question(prompts, mask, history, None), weights)]

    def begin(self, session: np.int64, step: np.int64) -> list[Any]:
        """The trainer begins at ``step``, 0 or that of its checkpoint. Sent again, it changes nothing."""
        if session != self._session:
            self._checkpoints.restore(self._learner, int(step))
            self._checkpoints.keep([*(s for s in self._checkpoints.steps() if s <= step), int(step)])
            self._session = int(session)
            self._save(int(step), asked=True)
            print(f"llm: a trainer begins at step {step}, adapter version {self._learner.version}", flush=True)
        return [np.int64(self._learner.version)]

    def checkpoint(self, session: np.int64, step: np.int64, kept: np.ndarray) -> list[Any]:
        """The trainer writes its checkpoint of ``step`` and keeps those of ``kept``."""
        self._check(int(session))
        self._save(int(step), asked=True)
        self._checkpoints.keep([*kept.tolist(), int(step)])
        return [np.int64(self._learner.version)]

    def status(self) -> list[Any]:
        """Version, step, processor seconds of this process, the adapter of each checkpoint by its step, the language
        model's sizes and counts as JSON."""
        learner = self._learner
        told = {"version": learner.version, "step": learner.step, "processor_seconds": time.process_time()}
        told["adapters"] = self._checkpoints.adapters()
        return [json.dumps({**told, **learner.about(), **learner.counts}).encode()]

    def end(self) -> None:
        """Ends the process, after the requests that wait and a checkpoint; nothing is answered after that."""
        self._thread.submit(self._end).result()

    def _end(self) -> None:
        code = 0
        try:
            self._save(self._learner.step, asked=False)
            print(f"llm stopped at step {self._learner.step}, adapter version {self._learner.version}", flush=True)
        except OSError as error:
            print(f"llm: no checkpoint of step {self._learner.step}: {error}", file=sys.stderr, flush=True)
            code = 1
        os._exit(code)  # TensorFlow's server has no clean end while clients are connected

    def alone(self, method: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        """``method`` on the learner's thread: torch keeps a pool of threads for each thread that calls it."""
        return lambda *arrays: self._thread.submit(method, *arrays).result()

    def _request(self, numbers: np.ndarray) -> Request:
        session, *rest = numbers.tolist()
        self._check(session)
        return Request(*rest)

    def _check(self, session: int) -> None:
        if session != self._session:
            raise ValueError(f"session {session} is over: the side process serves session {self._session}")

    def _question(self, one: Request, prompts: np.ndarray, mask: np.ndarray, history: np.ndarray) -> Question:
        seed = (self._config.seed * 1_000_003 + one.step) * _PARTS + one.part
        return Question(prompts, mask, history, seed * _PARTS)

    def _save_now_and_then(self) -> None:
        if self._learner.version - self._saved < self._config.checkpoint_updates:
            return
        try:
            self._save(self._learner.step, asked=False)
        except OSError as error:
            self._saved = self._learner.version
            print(f"WARNING: llm: no checkpoint of step {self._learner.step}: {error}", flush=True)

    def _weights(self, step: int) -> dict[str, torch.Tensor]:
        if self._read is None or self._read[0] != step:
            began = step == 0 and 0 not in self._checkpoints.steps()
            self._read = step, self._learner.first() if began else self._checkpoints.weights(step)
        return self._read[1]

    def _save(self, step: int, asked: bool) -> None:
        self._read = None
        self._checkpoints.save(self._learner, self._session, step, asked)
        self._saved = self._learner.version


def start(service: LinkService, wire: str, address: str) -> Any:
    """Serves ``service`` at "host:port"; it ends with the object that is returned.

    Raises:
        OSError: the port is taken.
    """
    number, request, steps = (tf.TensorSpec(shape, tf.int64) for shape in ((), (5,), (None,)))
    learns, flags = tf.TensorSpec((None,), tf.bool), tf.TensorSpec((None, None), tf.bool)
    history, cube = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None, None), tf.as_dtype(wire))
    methods = {
        "forward": (service.forward, [request, cube, flags, history], [cube, number]),
        "backward": (service.backward, [request, cube, learns], [tf.TensorSpec((), tf.bool), cube]),
        "replay": (service.replay, [request, cube, flags, history, cube, learns], [cube]),
        "know": (service.know, [number, cube, flags, history], [cube]),
        "begin": (service.begin, [number, number], [number]),
        "checkpoint": (service.checkpoint, [number, number, steps], [number]),
        "status": (service.status, [], [tf.TensorSpec((), tf.string)]),
    }
    _require_free(address)
    server = tf.distribute.experimental.rpc.Server.create("grpc", address)
    for name, (method, takes, gives) in methods.items():
        server.register(name, _in_graph(service.alone(method), takes, gives))
    server.start()
    return server


def _in_graph(method: Callable[..., list[Any]], takes: Sequence[tf.TensorSpec], gives: Sequence[tf.TensorSpec]) -> Any:
    @tf.function(input_signature=takes)
    def call(*arguments):
        found = tf.numpy_function(method, arguments, [spec.dtype for spec in gives], stateful=True)
        found = found if isinstance(found, (list, tuple)) else [found]
        return [tf.ensure_shape(value, spec.shape) for value, spec in zip(found, gives, strict=True)]

    return call


def _require_free(address: str) -> None:
    """TensorFlow's server tells nobody that its port is taken, and gRPC would share it."""
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            raise OSError(f"llm.port: cannot listen on {address}: {error.strerror}") from None


def run(titles: Sequence[str], folder: Path, config: LlmConfig) -> None:
    """Serves until SIGTERM or SIGINT, then writes a checkpoint and ends the process. On the main thread.

    Prints one line once it answers: ``llm ready address=HOST:PORT model=… adapter=… step=…``.

    Args:
        titles: of the items by index, from 1.
        folder: of its checkpoints, the newest is gone on from, and of the titles' vectors.
    Raises:
        OSError: the port is taken. DataError: the newest checkpoint, or ``llm.start``, is not whole.
        ValueError, FileNotFoundError: as `language_model.load`, `Reasoner` and `Learner.restore`.
    """
    with until_told() as told:
        tf.config.set_visible_devices([], "GPU")
        language_model = load(config)
        reasoner = Reasoner(language_model, text_of(titles, language_model, config, folder), config)
        learner = Learner(reasoner, config)
        if config.start not in ("", "anew"):
            _begin_with(learner, config.start)
        service = LinkService(learner, Checkpoints(folder), config)
        step = service.resume()
        address = f"{config.host}:{config.port or _free_port(config.host)}"
        _server = start(service, str(reasoner.wire).removeprefix("torch."), address)
        where = f"address={address} model={language_model.model_id} adapter={learner.version} step={step}"
        print(f"llm ready {where} titles={len(titles)}", flush=True)
        told.wait()
        service.end()


def _begin_with(learner: Learner, start: str) -> None:
    try:
        learner.start_from(read(Path(start)))
    except ValueError as error:
        raise ValueError(f"llm.start: cannot begin with {start} ('anew' begins without): {error}") from None
    print(f"llm: begins with {start}", flush=True)


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host.strip("[]"), 0))
        return probe.getsockname()[1]

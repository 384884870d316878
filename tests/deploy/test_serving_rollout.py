"""The deployment's own flags and files in a running server: it is ready, batches, and rolls out by labels and back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import urllib3

from serving.client import Client
from serving.errors import NotFound


class Echo(tf.Module):
    """Answers a history with its items one after the other; the score is the version."""

    def __init__(self, version: int):
        super().__init__()
        self.version = tf.Variable(float(version), trainable=False)

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string, name="history")])
    def recommend(self, history: tf.Tensor) -> dict[str, tf.Tensor]:
        items = tf.strings.reduce_join(history, axis=1, keepdims=True)
        return {"items": items, "scores": tf.fill(tf.shape(items), self.version)}


@dataclass
class Deployed:
    """A server as the manifest starts it, but for its ports, its paths and how often it reads the model config."""

    grpc: str
    rest: str
    base_path: Path
    config: Path
    log: Path

    def publish(self, version: int) -> None:
        module = Echo(version)
        scratch = self.base_path / f".writing-{version}"
        tf.saved_model.save(module, str(scratch), signatures={"serving_default": module.recommend})
        scratch.rename(self.base_path / str(version))

    def edit(self, before: str, after: str) -> None:
        text = self.config.read_text()
        assert before in text
        self.config.write_text(text.replace(before, after))

    def version(self, label: str) -> int:
        with Client(self.grpc, "ids", label=label, timeout=60) as client:
            return client.predict({"history": [["", "a"]]}).version

    def states(self) -> dict[int, str]:
        with Client(self.grpc, "ids", timeout=60) as client:
            return {entry["version"]: entry["state"] for entry in client.status()}


@pytest.fixture(scope="module")
def deployed(
    folder: Path, container: dict[str, Any], repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    root = tmp_path_factory.mktemp("deployed")
    base_path, config, log = root / "ids", root / "models.config", root / "log"
    base_path.mkdir()
    text = (folder / "models.config").read_text()
    config.write_text(text.replace("/runs/demo/export/ids", str(base_path)))
    arguments = [
        argument.replace("/etc/tf_serving/models", str(root)).replace("/etc/tf_serving/settings", str(folder))
        for argument in container["args"]
    ]
    arguments += ["--port=0", "--rest_api_port=0", "--model_config_file_poll_wait_seconds=0.2"]
    server = Deployed("", "", base_path, config, log)
    server.publish(1)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.server", *arguments],
            cwd=repository, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready "), log.read_text()
    ready = dict(field.split("=", 1) for field in line.split()[1:])
    server.grpc, server.rest = ready["grpc"], ready["rest"]
    yield server
    process.terminate()
    process.wait(timeout=60)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "still waiting after two minutes"
        time.sleep(0.1)


def test_both_probes_say_ready_and_only_of_a_model_that_serves(
    deployed: Deployed, container: dict[str, Any], compose: dict[str, Any]
) -> None:
    host, _, port = deployed.rest.rpartition(":")
    path = container["readinessProbe"]["httpGet"]["path"]
    check = compose["services"]["tf-serving"]["healthcheck"]["test"][1:]
    check[-1] = check[-1].replace("8501", port)
    with urllib3.HTTPConnectionPool(host, int(port), timeout=60) as http:
        assert http.request("GET", path).status == 200
        assert http.request("GET", path.replace("stable", "none")).status != 200
    assert subprocess.run(check, timeout=60).returncode == 0
    check[-1] = check[-1].replace("stable", "none")
    assert subprocess.run(check, timeout=60).returncode != 0


def test_histories_of_any_length_share_batches(deployed: Deployed) -> None:
    histories = [[chr(97 + (row + place) % 26) for place in range(row % 9)] for row in range(200)]
    with Client(deployed.grpc, "ids", label="stable", timeout=120) as client, ThreadPoolExecutor(32) as pool:
        answers = pool.map(lambda history: client.recommend([history], 1), histories)
        for history, answer in zip(histories, answers, strict=True):
            assert answer == [[("".join(history), 1.0)] if history else []]


def test_a_version_is_rolled_out_by_labels_and_rolled_back(deployed: Deployed) -> None:
    deployed.publish(2)
    assert (deployed.version("stable"), deployed.version("canary")) == (1, 1)

    deployed.edit("versions: 1 ", "versions: 1 versions: 2 ")
    until(lambda: deployed.states().get(2) == "AVAILABLE")
    assert (deployed.version("stable"), deployed.version("canary")) == (1, 1)

    deployed.edit('"canary" value: 1', '"canary" value: 2')
    until(lambda: deployed.version("canary") == 2)
    assert deployed.version("stable") == 1

    deployed.edit('"stable" value: 1', '"stable" value: 2')
    until(lambda: deployed.version("stable") == 2)

    deployed.edit('"stable" value: 2', '"stable" value: 1')
    until(lambda: deployed.version("stable") == 1)

    # a label of a version that is not there: the whole file is refused, and what serves goes on
    deployed.edit('"canary" value: 2', '"canary" value: 9')
    until(lambda: "was not applied" in deployed.log.read_text())
    assert (deployed.version("stable"), deployed.version("canary")) == (1, 2)

    deployed.edit('"canary" value: 9', '"canary" value: 1')
    until(lambda: deployed.version("canary") == 1)
    deployed.edit("versions: 1 versions: 2 ", "versions: 1 ")
    until(lambda: deployed.states().get(2) == "END")
    with Client(deployed.grpc, "ids", 2, timeout=60) as client, pytest.raises(NotFound):
        client.predict({"history": [["", "a"]]})

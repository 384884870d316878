import shutil
import subprocess
import sys

import pytest

from antiphon.retraining import canary_server
from serving import rollout


@pytest.fixture
def served(version, tmp_path, repository):
    """A server that reads a model config file again and again: (address, base path, file) of its model "ids"."""
    base, file = tmp_path / "ids", tmp_path / "models.config"
    shutil.copytree(version, base / "1")
    rollout.write(file, "ids", base, {"stable": 1})
    flags = ["--port=0", "--rest_api_port=0", f"--model_config_file={file}", "--file_system_poll_wait_seconds=0.2",
             "--model_config_file_poll_wait_seconds=0.2", "--allow_version_labels_for_unavailable_models"]  # fmt: skip
    command = [sys.executable, "-m", "serving.server", *flags]
    process = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("ready "), line
    yield dict(field.split("=", 1) for field in line.split()[1:])["grpc"], base, file
    process.kill()
    process.wait()


def test_a_label_waits_for_its_version_and_then_answers(served, version, shop):
    address, base, file = served
    (base / "2").mkdir()
    (base / "2" / "saved_model.pb").write_text("not a model")
    rollout.write(file, "ids", base, {"stable": 1}, frozenset({2}))
    assert "version 2 was not loaded" in canary_server.wait(address, "ids", 2, 120)
    shutil.copytree(version, base / "3")
    rollout.write(file, "ids", base, {"stable": 1}, frozenset({3}))
    assert canary_server.wait(address, "ids", 3, 120) == ""
    rollout.write(file, "ids", base, {"stable": 1, "canary": 3})
    assert canary_server.ask(address, "ids", shop / "examples", 120) == 0
    assert canary_server.ask(address, "ids ", shop / "examples", 0.1) > 0

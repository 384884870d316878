import sys

import pytest

from trainer.cluster import supervisor
from trainer.cluster.launcher import ClusterError, ClusterSize

TELL = """
import json, os, sys
from trainer.cluster.supervisor import tell
assert json.loads(os.environ["TF_CONFIG"])["task"]["type"] == "chief"
tell(hung="worker-0")
tell(error="batch must be at least 1", input=True, traceback="")
sys.exit(2)
"""


def supervise(code, logs, position=lambda: 0):
    supervisor.supervise([sys.executable, "-c", code], ClusterSize(), logs, position, grace=1.0)


def test_an_error_of_the_coordinator_is_raised_here_with_its_words(tmp_path):
    with pytest.raises(ValueError, match="^batch must be at least 1$"):
        supervise(TELL, tmp_path)


def test_a_cluster_that_is_lost_again_and_again_without_a_new_checkpoint_is_an_error(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(supervisor, "RESTARTS", 1)
    with pytest.raises(ClusterError, match="lost its cluster; the cluster was started 2 times since the newest"):
        supervise(f"import sys; sys.exit({supervisor.AGAIN})", tmp_path)
    assert "the coordinator lost its cluster; starting the cluster again" in capfd.readouterr().out


def test_a_killed_coordinator_is_started_again_and_the_end_is_the_end(tmp_path, capfd):
    done = tmp_path / "done"
    code = f"""
import os, pathlib, signal
done = pathlib.Path({str(done)!r})
if not done.exists():
    done.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    supervise(code, tmp_path / "logs", position=done.exists)
    assert "the coordinator was ended by signal 9; starting the cluster again" in capfd.readouterr().out


def test_without_a_supervisor_nothing_is_told(monkeypatch):
    monkeypatch.delenv("ANTIPHON_SUPERVISOR", raising=False)
    assert not supervisor.tell(hung="worker-0")

import json
import os
import subprocess
import sys

from trainer.cluster import roles
from trainer.cluster.strategy import InProcess

SERVE = """
import sys
from trainer.cluster import roles
with roles.runtime("ps=9,workers=9", sys.argv[1]):
    print("came back")
"""


def test_without_a_cluster_the_work_is_done_here(tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with roles.runtime("", tmp_path) as runtime:
        assert isinstance(runtime, InProcess)


def test_a_process_that_tf_config_makes_a_server_serves_until_it_is_ended(repository, tmp_path):
    cluster = {"chief": ["127.0.0.1:1"], "ps": ["127.0.0.1:0"], "worker": ["127.0.0.1:2"]}
    config = json.dumps({"cluster": cluster, "task": {"type": "ps", "index": 0}})
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TF_CONFIG": config, "PYTHONPATH": str(repository)},
    ) as server:  # fmt: skip
        assert "ps 0 serves at" in server.stdout.readline()
        server.terminate()
        rest, _ = server.communicate(timeout=120)
        assert (server.returncode, rest) == (0, "")

import signal
import subprocess
import sys
import time

import pytest

from trainer.cluster import launcher
from trainer.cluster.launcher import ClusterError, ClusterSize, LocalCluster


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pids, seconds=120):
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.1)
    return not any(map(alive, pids))


def wait_for_its_line(log, line, seconds=120):
    """A server tells where it serves a moment after it accepts."""
    end = time.monotonic() + seconds
    while line not in log.read_text() and time.monotonic() < end:
        time.sleep(0.05)
    assert line in log.read_text()


def test_a_size_is_read_in_any_order():
    assert ClusterSize.parse("workers=3, ps=2") == ClusterSize(ps=2, workers=3)
    assert ClusterSize.parse("ps=2") == ClusterSize(ps=2, workers=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got '' in ''"),
        ("ps=2,workers", "got 'workers'"),
        ("ps=two", "got 'ps=two'"),
        ("chief=1", "got 'chief=1'"),
        ("ps=1,ps=2", "ps is given twice"),
        ("ps=0,workers=1", "ps must be at least 1, got 0"),
    ],
)
def test_a_wrong_size_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        ClusterSize.parse(text)


def test_servers_accept_and_end_with_the_block(tmp_path):
    with LocalCluster(ClusterSize(ps=1, workers=1), tmp_path) as servers:
        assert sorted(servers.pids) == ["ps-0", "worker-0"]
        assert servers.tf_config["task"] == {"type": "chief", "index": 0}
        assert {role: len(tasks) for role, tasks in servers.tf_config["cluster"].items()} == {
            "chief": 1, "ps": 1, "worker": 1
        }
        servers.check()
        pids = list(servers.pids.values())
        assert all(map(alive, pids))
        wait_for_its_line(tmp_path / "ps-0.log", "ps 0 serves at")
    assert wait_until_gone(pids)


def test_a_dead_server_is_named_with_the_end_of_its_log(tmp_path):
    with LocalCluster(ClusterSize(ps=1, workers=1), tmp_path) as servers:
        wait_for_its_line(tmp_path / "worker-0.log", "worker 0 serves at")
        servers.kill("worker-0")
        with pytest.raises(ClusterError, match="(?s)worker-0 ended with code -9.*worker 0 serves at"):
            # A process with many threads is gone some time after the first of them is.
            for _ in range(1200):
                servers.check()
                time.sleep(0.1)


def test_a_dead_worker_is_started_again_at_its_address_and_not_for_ever(tmp_path, monkeypatch, capsys):
    with LocalCluster(ClusterSize(ps=1, workers=1), tmp_path) as servers:
        spec, old = servers.tf_config["cluster"], servers.pids["worker-0"]
        assert servers.restart_workers() == []
        servers.kill("worker-0")
        assert servers.restart_workers() == ["worker-0"]
        assert "worker-0 ended with code -9: starting it again" in capsys.readouterr().out
        servers.wait_until_accepting()
        assert servers.pids["worker-0"] != old
        assert servers.tf_config["cluster"] == spec
        monkeypatch.setattr(launcher.sys, "executable", "/bin/false")
        servers.kill("worker-0")
        with pytest.raises(ClusterError, match="worker-0 ended 4 times soon after its start, with code 1"):
            while True:
                servers.restart_workers()


def test_a_server_that_dies_at_once_fails_the_start_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher.sys, "executable", "/bin/false")
    servers = LocalCluster(ClusterSize(ps=1, workers=1), tmp_path)
    with pytest.raises(ClusterError, match="(ps|worker)-0 ended with code 1"):
        servers.start()
    assert not any(map(alive, servers.pids.values()))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_end_with_their_parent_however_it_dies(tmp_path, number):
    parent = subprocess.Popen(
        [
            sys.executable, "-c",
            "import sys, time\n"
            "from trainer.cluster.launcher import *\n"
            "servers = LocalCluster(ClusterSize(), sys.argv[1])\n"
            "servers.start()\n"
            "print(*servers.pids.values(), flush=True)\n"
            "time.sleep(300)\n",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        # A test run in a shell's background is born with Ctrl-C ignored, and would hand that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.send_signal(number)
        assert parent.wait(120) != 0
        assert wait_until_gone(pids)
    finally:
        parent.kill()


def test_a_server_ends_on_sigterm_with_code_zero(tmp_path):
    with LocalCluster(ClusterSize(), tmp_path) as servers:
        server = servers._servers["ps-0"]
        server.terminate()
        assert server.wait(120) == 0


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"type": "evaluator", "index": 0}, "'evaluator'"),
        ({"type": "ps", "index": 2}, "there is no ps 2, the cluster has 1"),
    ],
)
def test_a_server_refuses_a_role_it_cannot_play(task, message):
    from trainer.cluster.server import serve

    with pytest.raises(ValueError, match=message):
        serve({"cluster": {"ps": ["localhost:1"], "worker": ["localhost:2"]}, "task": task})

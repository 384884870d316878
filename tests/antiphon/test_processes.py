import os
import signal
import subprocess
import sys

import psutil
import pytest

from antiphon import processes


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wait_until(condition, seconds=60.0):
    processes.wait_for(condition, seconds, "the test's condition")


def ended(pid: int) -> bool:
    """Gone, or a zombie that only waits for its parent to ask."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_output_is_passed_on_and_kept_with_only_the_last_state_of_a_bar(tmp_path, capfdbinary):
    code = r"import sys; print('one'); sys.stderr.write('\r 10%\r100%\n'); sys.stdout.write('end')"
    assert processes.run(python(code), tmp_path / "x.log") == 0
    kept = (tmp_path / "x.log").read_bytes()
    assert sorted(kept.splitlines()) == [b"100%", b"end", b"one"]
    assert capfdbinary.readouterr().out == kept


def test_what_tensorflow_says_before_it_can_be_quieted_stays_in_the_log(tmp_path, capfdbinary):
    lines = [
        "one",
        "I0000 00:00:1.2  345 port.cc:153] oneDNN operations are on.",
        "W0000 00:00:1.2 345 x.cc:1] told",
    ]
    assert processes.run(python(f"print({chr(10).join(lines)!r})"), tmp_path / "x.log") == 0
    assert (tmp_path / "x.log").read_text().splitlines() == lines
    assert capfdbinary.readouterr().out.decode().splitlines() == [lines[0], lines[2]]


def test_the_exit_code_is_returned(tmp_path):
    assert processes.run(python("raise SystemExit(7)"), tmp_path / "x.log") == 7


def test_a_grandchild_that_holds_the_output_open_does_not_hold_us(tmp_path):
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid)"
    assert processes.run(python(code), tmp_path / "x.log") == 0
    wait_until(lambda: ended(int((tmp_path / "x.log").read_text())))


def test_a_second_run_in_a_folder_is_refused_and_told_who_is_there(tmp_path):
    code = f"""
from antiphon import processes
from pathlib import Path
try:
    with processes.lock(Path({str(tmp_path)!r})):
        print("got it")
except processes.Busy as error:
    print(error)
"""

    def other():
        return subprocess.run(python(code), capture_output=True, text=True, timeout=60).stdout.strip()

    with processes.lock(tmp_path):
        assert other() == f"{tmp_path}: another run (process {os.getpid()}) is at work in this folder"
    assert other() == "got it"


RUN = """
import sys
from pathlib import Path
from antiphon import processes
with processes.signals_as_exceptions():
    processes.run([sys.executable, "-c", sys.argv[2]], Path(sys.argv[1]), grace=float(sys.argv[3]))
"""
SAVES = """
import signal, sys, time
def save(*_):
    time.sleep(0.5)
    print("saved", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(600)
"""
FAMILY = """
import os, signal, subprocess, time
signal.signal(signal.SIGTERM, lambda *_: None)
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_run_leaves_no_process_even_if_its_stage_ignores_sigterm(tmp_path, number):
    log = tmp_path / "x.log"
    run = subprocess.Popen(
        [sys.executable, "-c", RUN.replace("with", "processes._GRACE = 0.5\nwith", 1), str(log), FAMILY, "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") == 1)
    family = [int(pid) for pid in log.read_text().split()]
    run.send_signal(number)
    run.wait(30)
    assert run.returncode != 0
    assert all(ended(pid) for pid in family)


def test_a_stopped_stage_has_the_time_it_asks_for_and_is_heard_to_its_end(tmp_path):
    log = tmp_path / "x.log"
    run = subprocess.Popen(
        [sys.executable, "-c", RUN.replace("with", "processes._GRACE = 0.0\nwith", 1), str(log), SAVES, "60"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: log.exists() and b"ready" in log.read_bytes())
    run.terminate()
    assert run.wait(60) != 0
    assert log.read_text().split() == ["ready", "saved"]


def test_a_killed_run_takes_its_stage_with_it(tmp_path):
    log = tmp_path / "x.log"
    stage = (
        "from antiphon import processes; processes.end_with_parent()\n"
        "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    )
    run = subprocess.Popen([sys.executable, "-c", RUN, str(log), stage, "0"], stdout=subprocess.DEVNULL)
    wait_until(lambda: log.exists() and log.read_bytes().endswith(b"\n"))
    pid = int(log.read_text())
    assert not ended(pid)
    run.kill()
    run.wait()
    wait_until(lambda: ended(pid))
    assert ended(pid)


def test_waiting_ends_when_the_process_does():
    process = subprocess.Popen(python("raise SystemExit(3)"))
    with pytest.raises(RuntimeError, match="server: its process ended with code 3"):
        processes.wait_for(lambda: False, 60, "server", process)


def test_waiting_ends_after_its_time():
    with pytest.raises(TimeoutError, match="server: not within 0.1 s"):
        processes.wait_for(lambda: False, 0.1, "server")

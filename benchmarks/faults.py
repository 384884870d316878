"""What training survives: `antiphon bench faults`.

Real processes on this machine train a small model; one or more of them are killed, stopped or hindered inside an
epoch. A scenario is survived when the run ends well by itself (or, where it was told to end, by the same command
again), every example of every epoch has been trained on, every checkpoint is whole, and the loss falls from epoch to
epoch as it does undisturbed. With one worker, and no example repeated, the model has to equal that of an undisturbed
run in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil

from benchmarks import _fault_data, _machine
from benchmarks._fault_run import Pods, Run, ScenarioFailed
from trainer.cluster.supervisor import AGAIN

SAME_MODEL = 1e-3  # relative distance of all parameters, of two runs that sum in another order


def one_worker(run: Run) -> None:
    """A worker is killed."""
    run.send("worker-0", signal.SIGKILL)


def one_server(run: Run) -> None:
    """A parameter server is killed."""
    run.send("ps-1", signal.SIGKILL)


def coordinator(run: Run) -> None:
    """The coordinator is killed."""
    run.send("chief-0", signal.SIGKILL)


def worker_and_server(run: Run) -> None:
    """A worker and a parameter server are killed at once."""
    run.send("worker-1", signal.SIGKILL)
    run.send("ps-0", signal.SIGKILL)


def hung_worker(run: Run) -> None:
    """A worker is stopped and never goes on."""
    run.send("worker-0", signal.SIGSTOP)
    run.until(lambda: "worker-0 does not answer" in run.log, "noticing the hung worker")


def everything(run: Run) -> None:
    """The machine goes down: every process is killed, and the same command is run again."""
    run.send("run", signal.SIGKILL)
    run.wait()
    run.start()


def told_to_end(run: Run) -> None:
    """SIGTERM: a checkpoint, then the end within the grace period; the same command goes on."""
    run.send("run", signal.SIGTERM)
    code, state = run.wait(), run.state()
    if code != -signal.SIGTERM or "the same command goes on" not in run.log:
        raise ScenarioFailed(f"ended with code {code}; the end of its log:\n{run.log[-2000:]}")
    run.start()
    resumed = f"resuming {run.out.name} from ckpt-{state['step']},"
    run.until(lambda: resumed in run.log, f'"{resumed}"')


def full_disk(run: Run) -> None:
    """The disk is full for a while, and then read-only, while checkpoints are written."""
    refused = "could not be written"
    for hinder in (_ballast, _read_only) if os.path.ismount(run.checkpoints) else (_no_file_size,):
        seen = run.log.count(refused)
        with hinder(run) as press:
            run.until(lambda press=press, seen=seen: press() or run.log.count(refused) > seen, "the warning")
            if found := run.damaged():
                raise ScenarioFailed(f"on a full disk these checkpoints are not whole: {found}")


def pods(run: Pods) -> None:
    """Under TF_CONFIG a worker is killed and comes back; then a server, after which the chief asks to be restarted."""
    run.send("worker-0", signal.SIGKILL)
    run.servers.kill("worker-0")
    run.servers.restart("worker-0")
    run.until_past(run.state()["step"])
    run.send("ps-1", signal.SIGKILL)
    if (code := run.wait()) != AGAIN:
        raise ScenarioFailed(f"the chief ended with code {code}; the end of its log:\n{run.log[-2000:]}")
    run.servers.restart("ps-1")
    run.start()


@dataclass(frozen=True)
class Scenario:
    """A fault, and the cluster it happens to."""

    fault: Callable[[Run], None]
    cluster: str
    kind: type[Run] = Run


SCENARIOS = {
    "worker": Scenario(one_worker, "ps=2,workers=2"),
    "server": Scenario(one_server, "ps=2,workers=1"),
    "coordinator": Scenario(coordinator, "ps=2,workers=1"),
    "worker_and_server": Scenario(worker_and_server, "ps=2,workers=2"),
    "hung_worker": Scenario(hung_worker, "ps=2,workers=2"),
    "everything": Scenario(everything, "ps=1,workers=1"),
    "sigterm": Scenario(told_to_end, "ps=1,workers=1"),
    "full_disk": Scenario(full_disk, "ps=1,workers=1"),
    "pods": Scenario(pods, "ps=2,workers=1", Pods),
}


@dataclass(frozen=True)
class Outcome:
    """What came of a scenario."""

    survived: bool
    lost: int  # examples of an epoch that the final model was not trained on, summed over epochs
    repeated: int  # at most so many were trained on twice
    recovery_seconds: float  # from the fault to the next checkpoint that is further than the run then was
    why: str = ""  # it was not survived


def reference(examples: Path, folder: Path) -> Run:
    """An undisturbed run in one process."""
    with Run(examples, folder / "reference", "") as run:
        run.start()
        if code := run.wait():
            raise ScenarioFailed(f"the undisturbed run ended with code {code}:\n{run.log[-3000:]}")
    return run


def play(name: str, examples: Path, folder: Path, undisturbed: Run) -> Outcome:
    """Plays one scenario of ``SCENARIOS`` in ``folder/<name>``."""
    scenario = SCENARIOS[name]
    with _small_disk(folder / name / "checkpoints", name == "full_disk"):
        with scenario.kind(examples, folder / name, scenario.cluster) as run:
            seconds = float("nan")
            try:
                run.start()
                step = run.until_inside_an_epoch()
                start = time.monotonic()
                scenario.fault(run)
                run.until_past(step)
                seconds = time.monotonic() - start
                if code := run.wait():
                    raise ScenarioFailed(f"it ended with code {code}; the end of its log:\n{run.log[-3000:]}")
            except ScenarioFailed as error:
                return Outcome(False, -1, -1, seconds, str(error))
        return _judge(run, undisturbed, seconds)


def _judge(run: Run, undisturbed: Run, seconds: float) -> Outcome:
    history, expected = run.history(), undisturbed.history()
    train = json.loads((run.examples / "MANIFEST.json").read_text())["splits"]["train"]
    epochs = history["epochs"]
    lost = sum(train["examples"] - epoch["examples"] for epoch in epochs)
    faults = [f"checkpoints that are not whole: {found}"] if (found := run.damaged()) else []
    if [epoch["epoch"] for epoch in epochs] != [epoch["epoch"] for epoch in expected["epochs"]]:
        faults.append(f"epochs {[epoch['epoch'] for epoch in epochs]}")
    if lost or any(epoch["targets"] != train["targets"] for epoch in epochs):
        told = [(epoch["examples"], epoch["targets"]) for epoch in epochs]
        faults.append(f"of {train['examples']} examples and {train['targets']} targets an epoch had {told}")
    losses = [epoch["loss"] for epoch in epochs]
    wanted = expected["epochs"][-1]["loss"]
    jumps = any(after > 1.1 * before for before, after in pairwise(losses))
    if jumps or abs(losses[-1] - wanted) > 0.2 * wanted:
        faults.append(f"losses {losses}, undisturbed {[epoch['loss'] for epoch in expected['epochs']]}")
    repeated = history["summary"]["repeated"]
    alone = run.config.cluster.endswith("workers=1") and not repeated
    if alone and (far := _distance(run, undisturbed)) > SAME_MODEL:
        faults.append(f"the parameters are {far:.1e} from those of an undisturbed run")
    return Outcome(not faults, lost, repeated, round(seconds, 1), "; ".join(faults))


def _distance(run: Run, other: Run) -> float:
    ours, theirs = run.parameters(), other.parameters()
    mine, wanted = (np.concatenate([p[name].ravel() for name in sorted(theirs)]) for p in (ours, theirs))
    return float(np.linalg.norm(mine - wanted) / np.linalg.norm(wanted))


@contextmanager
def _small_disk(folder: Path, wanted: bool) -> Iterator[None]:
    """A file system of 16 MiB in memory at ``folder``, where this process may mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    mounted = wanted and os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def _ballast(run: Run) -> Iterator[Callable[[], None]]:
    path = run.checkpoints / "ballast"
    with path.open("wb", buffering=0) as file:

        def fill() -> None:
            with suppress(OSError):  # until there is no room
                while True:
                    file.write(bytes(4096))

        yield fill
    path.unlink()


@contextmanager
def _read_only(run: Run) -> Iterator[Callable[[], None]]:
    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(run.checkpoints)], capture_output=True)

    yield lambda: remount("ro")  # refused while a file is being written
    remount("rw")


@contextmanager
def _no_file_size(run: Run) -> Iterator[Callable[[], None]]:
    """Where nothing may be mounted: the coordinator can no longer write a file of more than 100 bytes."""
    chief = run.process("chief-0")
    _, hard = chief.rlimit(psutil.RLIMIT_FSIZE)
    chief.rlimit(psutil.RLIMIT_FSIZE, (100, hard))
    yield lambda: None
    chief.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="antiphon bench faults", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS))
    options = parser.parse_args(argv)
    names = options.only or list(SCENARIOS)
    outcomes = {}
    with tempfile.TemporaryDirectory() as name:
        examples = _fault_data.write(Path(name))
        undisturbed = reference(examples, Path(name))
        for scenario in names:
            outcomes[scenario] = outcome = play(scenario, examples, Path(name), undisturbed)
            told = SCENARIOS[scenario].fault.__doc__.partition(":")[0].rstrip(".")
            verdict = "survived" if outcome.survived else f"NOT SURVIVED: {outcome.why}"
            print(
                f"{told}: {verdict}; {outcome.lost} examples lost, at most {outcome.repeated} repeated, "
                f"{outcome.recovery_seconds:.0f} s to recover", flush=True
            )  # fmt: skip
    figures = {
        "benchmark": "faults",
        "faults": len(outcomes),
        "survived": sum(outcome.survived for outcome in outcomes.values()),
        "examples_lost": sum(outcome.lost for outcome in outcomes.values()),
        "examples_repeated": sum(outcome.repeated for outcome in outcomes.values()),
        "scenarios": {scenario: asdict(outcome) for scenario, outcome in outcomes.items()},
        "machine": _machine.describe(),
    }
    print(json.dumps(figures))
    return 0 if figures["survived"] == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

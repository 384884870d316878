import json
import os

import numpy as np

from benchmarks import big_table
from benchmarks._memory import PeakMemory


def test_a_quick_run_restores_on_fewer_servers_and_prints_its_figures(capsys):
    assert big_table.main(["--quick"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures["train"]["servers"], figures["restore"]["servers"]) == (4, 3)
    assert figures["restore"]["sample_equal"]
    assert figures["train"]["checkpoint_gib"] >= figures["with_slots_gib"]
    processes = {"coordinator", "worker-0", "ps-0", "ps-1", "ps-2", "ps-3"}
    assert set(figures["train"]["peak_gib"]) == processes
    assert set(figures["restore"]["peak_gib"]) == processes - {"ps-3"}
    assert all(peak["resident"] >= peak["own"] > 0 for peak in figures["train"]["peak_gib"].values())


def test_a_peak_is_kept_when_the_memory_is_given_back():
    with PeakMemory({"here": os.getpid()}, every=0.01) as memory:
        before = memory.gib()["here"]["own"]
        held = np.ones(2**26, np.uint8)  # 64 MiB
        during = memory.gib()["here"]["own"]
        del held
        assert during - before > 0.04
        assert memory.gib()["here"]["own"] == during

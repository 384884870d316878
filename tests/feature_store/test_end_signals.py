"""Servers' wait for the signal that ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from feature_store.end_signals import until_told

NUMBERS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_noted_and_stays_so(number: int) -> None:
    with until_told() as told:
        assert not told.wait(0)
        os.kill(os.getpid(), number)
        assert told.wait(10)
        assert told.wait(0)


def test_one_that_comes_before_the_wait_counts() -> None:
    with until_told() as told:
        signal.raise_signal(signal.SIGTERM)
        assert told.wait()


def test_it_comes_to_a_thread_that_is_not_the_main_one() -> None:
    with until_told() as told:
        sender = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM))
        sender.start()
        assert told.wait(10)
        sender.join()


def test_another_signal_does_not_end_the_wait() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with until_told() as told:
            signal.raise_signal(signal.SIGUSR1)
            assert not told.wait(0.05)
            signal.raise_signal(signal.SIGTERM)
            assert told.wait(10)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_afterwards_all_is_as_before() -> None:
    handlers = [signal.getsignal(number) for number in NUMBERS]
    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with until_told():
        pass
    assert [signal.getsignal(number) for number in NUMBERS] == handlers
    assert signal.set_wakeup_fd(-1) == -1
    assert not open_files or len(os.listdir("/proc/self/fd")) == open_files


BUSY = """
import threading
from feature_store.end_signals import until_told

def spin():
    while True:
        sum(range(2000))

with until_told() as told:
    for _ in range(3):
        threading.Thread(target=spin, daemon=True).start()
    print("ready", flush=True)
    told.wait()
"""


def test_a_signal_amid_the_beginning_of_the_wait_ends_a_busy_process() -> None:
    """With an event that the handler sets, one process in five stayed for good."""
    for _ in range(25):
        process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE)
        try:
            assert process.stdout.readline() == b"ready\n"
            process.terminate()
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

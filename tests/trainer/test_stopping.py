import signal
import subprocess
import sys

import pytest

from trainer.stopping import Stopping


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


class Ended(Exception):
    pass


def test_a_signal_is_noted_and_takes_its_way_after_the_block():
    def end(*_):
        raise Ended

    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(Ended), Stopping() as stopping:
            assert not stopping.requested
            signal.raise_signal(signal.SIGTERM)
            assert stopping.requested and not stopping.overdue
        assert signal.getsignal(signal.SIGTERM) is end
        with pytest.raises(Ended), Stopping():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # a second one is not held up
            pytest.fail("it was")
    finally:
        signal.signal(signal.SIGTERM, before)


def test_without_a_signal_nothing_changes():
    before = signal.getsignal(signal.SIGINT)
    with Stopping():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", -signal.SIGTERM), ("SIGINT", -signal.SIGINT)])
def test_the_process_ends_by_the_signal_it_got(number, code):
    found = python(f"""
import signal
from trainer.stopping import Stopping
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
with Stopping():
    signal.raise_signal(signal.{number})
    print("in good order")
""")
    assert (found.stdout, found.returncode) == ("in good order\n", code)


def test_when_the_grace_period_is_over_it_ends_in_any_case():
    found = python("""
import signal, time
from trainer.stopping import Stopping
with Stopping(grace=0.1) as stopping:
    signal.raise_signal(signal.SIGTERM)
    while not stopping.overdue:
        pass
    print("half", flush=True)
    time.sleep(600)
""")
    assert (found.stdout, found.returncode) == ("half\n", 128 + signal.SIGTERM)

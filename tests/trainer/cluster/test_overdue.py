import pytest

from trainer.cluster.overdue import Overdue


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def run(overdue, clock, worker, seconds):
    overdue.scheduled()
    overdue.began(worker)
    clock.now += seconds
    overdue.ended(worker, well=True)


def test_before_any_call_has_ended_ten_times_the_floor_may_pass(clock):
    overdue = Overdue(20.0, clock)
    overdue.scheduled()
    overdue.began(1)
    clock.now = 200.0
    assert overdue.workers() == []
    clock.now = 201.0
    assert overdue.workers() == [1]


def test_short_calls_leave_the_floor_and_long_ones_ten_times_their_median(clock):
    overdue = Overdue(20.0, clock)
    run(overdue, clock, 0, 1.0)
    assert overdue.limit == 20.0
    for seconds in (5.0, 9.0):
        run(overdue, clock, 0, seconds)
    assert overdue.limit == 50.0


def test_a_call_is_named_once_and_its_repetition_again(clock):
    overdue = Overdue(20.0, clock)
    run(overdue, clock, 0, 1.0)
    overdue.scheduled()
    overdue.began(0)
    clock.now += 21.0
    assert overdue.workers() == [0]
    assert overdue.workers() == []
    overdue.ended(0, well=False)
    overdue.began(1)
    clock.now += 21.0
    assert overdue.workers() == [1]


def test_when_nothing_ends_though_workers_were_replaced_all_is_overdue(clock):
    overdue = Overdue(20.0, clock)
    run(overdue, clock, 0, 1.0)
    clock.now += 1000.0
    assert not overdue.all  # nothing waits
    overdue.scheduled()
    clock.now += 50.0
    assert not overdue.all
    clock.now += 1.0
    assert overdue.all

import threading
import time

import pytest

from llm_offline.service.batcher import Batcher, Overloaded, TooLate


class Model:
    """Doubles numbers once it is let; keeps the batches it was given."""

    def __init__(self):
        self.batches, self.let, self.begun = [], threading.Event(), threading.Event()
        self.let.set()

    def __call__(self, items):
        self.begun.set()
        self.let.wait()
        if "bad" in items:
            raise ValueError("bad item")
        self.batches.append(items)
        return [2 * item for item in items]


@pytest.fixture
def batcher():
    made = []

    def make(max_batch=4, max_wait=60.0, max_queue=8, **options):
        model = Model()
        made.append((Batcher(model, max_batch, max_wait, max_queue, **options), model))
        return made[-1]

    yield make
    for one, model in made:
        model.let.set()
        one.close()


def soon():
    return time.monotonic() + 60


def test_a_full_batch_does_not_wait(batcher):
    told = []
    batch, model = batcher(observe=lambda size, waits: told.append((size, len(waits))))
    futures = [batch.submit(n, soon()) for n in range(4)]
    assert [future.result(30) for future in futures] == [0, 2, 4, 6]
    assert model.batches == [[0, 1, 2, 3]] and told == [(4, 4)]


def test_the_first_waits_no_longer_than_it_may(batcher):
    batch, model = batcher(max_wait=0.05)
    assert batch.submit(3, soon()).result(30) == 6
    assert model.batches == [[3]]


def test_what_comes_while_the_model_is_busy_goes_together(batcher):
    batch, model = batcher(max_wait=0.0)
    model.let.clear()
    first = batch.submit(1, soon())
    model.begun.wait(30)
    others = [batch.submit(n, soon()) for n in (2, 3, 4)]
    model.let.set()
    assert [future.result(30) for future in (first, *others)] == [2, 4, 6, 8]
    assert model.batches == [[1], [2, 3, 4]]


def test_what_is_late_is_not_computed(batcher):
    batch, model = batcher(max_wait=0.0)
    model.let.clear()
    first = batch.submit(1, soon())
    model.begun.wait(30)
    late, fine = batch.submit(2, time.monotonic() - 1), batch.submit(3, soon())
    model.let.set()
    with pytest.raises(TooLate):
        late.result(30)
    assert (first.result(30), fine.result(30)) == (2, 6)
    assert model.batches == [[1], [3]]


def test_a_full_queue_turns_away(batcher):
    batch, model = batcher(max_wait=0.0, max_queue=2)
    model.let.clear()
    batch.submit(1, soon())
    model.begun.wait(30)
    batch.submit(2, soon()), batch.submit(3, soon())
    with pytest.raises(Overloaded, match="2 requests wait"):
        batch.submit(4, soon())


def test_an_error_is_each_item_s_and_the_next_batch_goes_on(batcher):
    batch, _ = batcher(max_batch=1)
    with pytest.raises(ValueError, match="bad item"):
        batch.submit("bad", soon()).result(30)
    assert batch.submit(5, soon()).result(30) == 10


def test_closing_computes_what_waits():
    model = Model()
    batch = Batcher(model, 4, 60.0, 8)
    future = batch.submit(1, soon())
    batch.close()
    assert future.result(0) == 2
    with pytest.raises(Overloaded, match="shutting down"):
        batch.submit(2, soon())

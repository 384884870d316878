import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.cluster.work_queue import Piece, Shard, WorkQueue

SHARDS = [Shard("a", 5), Shard("b", 3)]
shards = st.lists(st.integers(0, 30), min_size=1, max_size=5).filter(any).map(
    lambda counts: [Shard(f"shard-{i}", count) for i, count in enumerate(counts)]
)


def take_all(queue):
    units = []
    while unit := queue.take():
        units.append(unit)
    return units


def records(units):
    return Counter(
        (piece.file, i)
        for unit in units
        for piece in unit.pieces
        for i in range(piece.first, piece.first + piece.count)
    )


def every_record(shards):
    return Counter((shard.file, i) for shard in shards for i in range(shard.records))


@given(shards, st.integers(1, 12), st.integers(0, 5))
@settings(deadline=None)
def test_every_record_is_given_out_once_an_epoch(shards, size, seed):
    queue = WorkQueue(shards, size, seed)
    for _ in range(2):
        units = take_all(queue)
        assert records(units) == every_record(shards)
        assert [unit.records for unit in units[:-1]] == [size] * (len(units) - 1)
        for unit in units:
            queue.done(unit)
        queue.next_epoch()


@given(shards, st.integers(1, 12), st.data())
@settings(deadline=None)
def test_a_restored_queue_gives_out_what_was_not_done(shards, size, data):
    queue = WorkQueue(shards, size, seed=1)
    taken = [queue.take() for _ in range(data.draw(st.integers(0, queue.units)))]
    done = [unit for unit in data.draw(st.permutations(taken)) if data.draw(st.booleans())]
    for unit in done:
        queue.done(unit)
    resumed = WorkQueue(shards, size, seed=1)
    resumed.restore(json.loads(json.dumps(queue.state())))
    assert resumed.completed == len(done)
    assert records(done + take_all(resumed)) == every_record(shards)


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        return [unit.pieces for unit in take_all(WorkQueue(SHARDS, 2, seed, epoch))]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_the_order_of_the_files_does_not_matter():
    assert take_all(WorkQueue(SHARDS, 2, 1)) == take_all(WorkQueue(SHARDS[::-1], 2, 1))


def test_a_unit_runs_on_into_the_next_piece():
    (unit,) = take_all(WorkQueue([Shard("a", 3)], 10, seed=0))
    start = unit.pieces[0].first
    assert unit.pieces == (Piece("a", start, 3 - start), Piece("a", 0, start))


def test_arguments_are_arrays_a_scheduled_function_can_take():
    unit = WorkQueue([Shard("a", 4)], 10, seed=0).take()
    files, firsts, counts, seed = unit.arguments()
    assert set(files) == {b"a"}
    assert list(zip(firsts, counts, strict=True)) == [(p.first, p.count) for p in unit.pieces]
    assert list(seed) == [unit.seed, unit.index]


def test_an_epoch_ends_only_when_every_unit_is_done():
    queue = WorkQueue(SHARDS, 4, seed=1)
    first, second = take_all(queue)
    queue.done(second)
    assert not queue.finished
    with pytest.raises(RuntimeError, match="epoch 0 has 1 units that are not done"):
        queue.next_epoch()
    queue.done(first)
    assert queue.finished
    queue.next_epoch()
    assert (queue.epoch, queue.completed, queue.units) == (1, 0, 2)


def test_a_unit_is_done_once():
    queue = WorkQueue(SHARDS, 4, seed=1)
    unit = queue.take()
    queue.done(unit)
    with pytest.raises(ValueError, match="unit 0 of epoch 0 is not being worked on"):
        queue.done(unit)


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (WorkQueue(SHARDS, 4, seed=2), "seed was 1, is 2"),
        (WorkQueue(SHARDS, 3, seed=1), "records_per_unit was 4, is 3"),
        (WorkQueue([Shard("a", 5), Shard("b", 4)], 4, seed=1), "records was 8, is 9"),
    ],
)
def test_a_position_in_other_data_is_refused(other, field):
    with pytest.raises(ValueError, match=field):
        other.restore(WorkQueue(SHARDS, 4, seed=1).state())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([Shard("a", 0)], 4, 1), "no records in the 1 shards"),
        (([], 4, 1), "no records in the 0 shards"),
        (([Shard("a", 1), Shard("a", 2)], 4, 1), "a: listed twice"),
        (([Shard("a", -1)], 4, 1), "a: a shard cannot hold -1 records"),
        ((SHARDS, 0, 1), "records_per_unit must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        WorkQueue(*arguments)

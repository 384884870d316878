import numpy as np
import pytest
import tensorflow as tf

from trainer import checkpoint
from trainer.layers.features import Feature, FeatureTables, row_map
from trainer.layers.flat import FlatWeights
from trainer.layers.tables import normal, zeros
from trainer.optimizers import SGD, Adagrad, RowwiseAdagrad
from trainer.step import Step
from trainer.working_set import WorkingSet

ONE = tf.constant(1, tf.int64)
COUNTRY = Feature("country", rows=4, width=2)
CLICKS = Feature("clicks", rows=5, width=2, kind="bag", combiner="mean")
HISTORY = Feature("history", rows=3, width=2, kind="sequence")
PRICE = Feature("price", rows=6, width=1)


def numbered(features, shards=2, spread=False):
    """Feature tables in which row r of a table is r, r, …"""
    tables = FeatureTables(features, zeros(), devices=(None,) * shards, spread=spread)
    for table in tables.tables:
        table.assign(np.repeat(np.arange(table.rows, dtype=np.float32)[:, None], table.width, axis=1))
    return tables


def test_features_of_a_width_share_a_table_one_after_another():
    tables = numbered([COUNTRY, PRICE, CLICKS])
    assert [(t.name, t.rows, t.width) for t in tables.tables] == [("features_2", 9, 2), ("features_1", 6, 1)]
    assert tables.rows("country", tf.constant([0, 3])).numpy().tolist() == [0, 3]
    assert tables.rows("clicks", tf.constant([[0, 4], [1, -1]])).numpy().tolist() == [[4, 8], [5, -1]]
    assert tables.rows("price", tf.constant([0])).numpy().tolist() == [0]


@pytest.mark.parametrize(
    ("combiner", "expected"), [("sum", [4 + 6 + 6, 0, 8]), ("mean", [16 / 3, 0, 8]), ("sqrtn", [16 / 3**0.5, 0, 8])]
)
def test_single_bag_and_sequence_by_hand(combiner, expected):
    tables = numbered([COUNTRY, Feature("clicks", 5, 2, "bag", combiner), HISTORY, PRICE])
    ids = {
        "country": tf.constant([3, -1, 0]),
        "clicks": tf.constant([[0, 2, 2], [-1, -1, -1], [-1, 4, -1]]),
        "history": tf.constant([[2, 0], [-1, 1], [-1, -1]]),
        "price": tf.constant([5, 5, -1]),
    }
    with Step(ONE) as step:
        found = tables.lookup(step, ids)
    assert found["country"].numpy().tolist() == [[3, 3], [0, 0], [0, 0]]
    assert found["clicks"].numpy()[:, 0] == pytest.approx(expected)
    assert found["history"].numpy()[:, :, 1].tolist() == [[11, 9], [0, 10], [0, 0]]
    assert found["price"].numpy().tolist() == [[5], [5], [0]]


def test_a_row_gets_the_sum_of_its_gradients_and_padding_moves_nothing():
    tables = numbered([COUNTRY, CLICKS, HISTORY])
    ids = {
        "country": tf.constant([3, -1]),
        "clicks": tf.constant([[0, 0], [-1, 1]]),
        "history": tf.constant([[-1, -1], [2, 2]]),
    }
    with Step(ONE) as step:
        found = tables.lookup(step, ids)
        loss = tf.add_n([tf.reduce_sum(vectors[..., 0]) for vectors in found.values()])
    step.update(loss, SGD(learning_rate=1.0))
    moved = np.arange(12) - tables.tables[0].whole().numpy()[:, 0]
    # country 3; clicks 0 twice at a half and 1 once; history 2 twice
    assert moved.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 2]


class Counted(Step):
    """Writes down what tables are asked for."""

    def __init__(self):
        super().__init__(ONE)
        self.asked = []

    def rows(self, table, *ids):
        self.asked.append((table.name, sorted(np.concatenate([part.numpy() for part in ids]).tolist())))
        return super().rows(table, *ids)


def test_each_table_is_asked_once_a_step_and_never_for_padding():
    tables = numbered([COUNTRY, CLICKS, HISTORY, PRICE])
    ids = {
        "country": tf.constant([1]), "clicks": tf.constant([[0, -1]]), "history": tf.constant([[-1, 2]]),
        "price": tf.constant([-1]),
    }  # fmt: skip
    with Counted() as step:
        tables.lookup(step, ids)
    assert step.asked == [("features_2", [1, 4, 11]), ("features_1", [])]
    touched = tables.touched(ids)
    assert {table.name: found.numpy().tolist() for table, found in touched.items()} == {
        "features_2": [1, 4, 11], "features_1": [],
    }  # fmt: skip


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("make", [Adagrad, RowwiseAdagrad])
def test_a_working_set_trains_features_to_the_same_values(make, spread):
    import tf_keras

    optimizer, ends = make(learning_rate=0.1), []
    random = np.random.default_rng(0)
    units = [
        {"country": random.integers(-1, 4, (3, 6)), "clicks": random.integers(-1, 5, (3, 6, 4))} for _ in range(2)
    ]
    for local in (False, True):
        model = tf_keras.Sequential([tf_keras.layers.Dense(1, kernel_initializer="ones")])
        model.build((None, 4))
        dense = FlatWeights(model)
        tables = FeatureTables([COUNTRY, CLICKS], normal(1.0), 3, (None, None, None), spread)
        optimizer.add_slots(tables.tables, dense)

        @tf.function
        def unit(country, clicks, tables=tables, model=model, dense=dense, local=local):
            flat = {"country": tf.reshape(country, (-1,)), "clicks": tf.reshape(clicks, (-1, 4))}
            working = WorkingSet(tables.touched(flat), dense, optimizer, 1) if local else None
            for k in range(3):
                with Step(ONE, dense, working) as step:
                    found = tables.lookup(step, {"country": country[k], "clicks": clicks[k]})
                    with step.weights(dense):
                        loss = tf.reduce_mean(model(tf.concat(list(found.values()), axis=1)) ** 2)
                step.update(loss, optimizer)
            if working is not None:
                working.push()

        before = tables.tables[0].whole()
        for arguments in units:
            unit(tf.constant(arguments["country"]), tf.constant(arguments["clicks"]))
        assert not np.allclose(before, tables.tables[0].whole())
        ends.append([tables.tables[0].whole(), tables.tables[0].whole("accumulator"), dense.variables[0]])
    for alone, copied in zip(*ends, strict=True):
        np.testing.assert_allclose(alone, copied, rtol=1e-5)


def test_a_checkpoint_of_spread_features_fits_another_number_of_servers(tmp_path):
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Dense(1)])
    model.build((None, 1))
    two, three = (FeatureTables([COUNTRY, CLICKS], normal(1.0), n, (None,) * n) for n in (2, 3))
    path = checkpoint.save(tmp_path, two.tables, FlatWeights(model), {"step": 1})
    checkpoint.restore(path, three.tables, FlatWeights(model))
    ids = {"country": tf.range(4), "clicks": tf.range(5)[:, None]}
    with Step(ONE) as first, Step(ONE) as second:
        expected, found = two.lookup(first, ids), three.lookup(second, ids)
    for name in ids:
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("shards", [1, 2, 3, 5])
def test_servers_hold_a_tables_bytes_alike(shards):
    features = [Feature("a", 101, 8), Feature("b", 37, 8), Feature("c", 16, 8)]
    (table,) = FeatureTables(features, zeros(), devices=(None,) * shards).tables
    table.add_slot("accumulator", 0.1)
    held = [4 * sum(int(tf.size(v)) for v in parts) for parts in zip(table.shards, *table.slots.values(), strict=True)]
    assert max(held) - min(held) <= 2 * 4 * 8  # one row with its slot's
    assert sum(held) == 2 * 4 * 8 * (101 + 37 + 16)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "a feature's name must not be empty, received ''"),
        ({"rows": 0}, "feature 'f': rows must be at least 1, received 0"),
        ({"rows": 2**31 + 1}, "feature 'f': rows must be at most 2147483648, received 2147483649"),
        ({"width": 0}, "feature 'f': width must be at least 1, received 0"),
        ({"kind": "list"}, "feature 'f': kind must be one of 'single', 'bag', 'sequence', received 'list'"),
        ({"kind": "bag"}, "feature 'f': combiner must be one of 'sum', 'mean', 'sqrtn', received ''"),
        ({"combiner": "sum"}, "feature 'f': combiner must be one of '', received 'sum'"),
    ],
)
def test_a_wrong_feature_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        Feature(**{"name": "f", "rows": 3, "width": 2, **fields})


def test_features_have_a_name_each():
    with pytest.raises(ValueError, match="features must have a name each, received .'price', 'price'."):
        FeatureTables([PRICE, PRICE], zeros())
    with pytest.raises(ValueError, match="features must hold at least one feature"):
        FeatureTables([], zeros())


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"country": [0]}, r"ids must be of the features \['clicks', 'country'\], received \['country'\]"),
        ({"country": [[0]], "clicks": [[0]]}, r"feature 'country': ids of kind 'single' must have rank 1, received"),
        ({"country": [0], "clicks": [0]}, r"feature 'clicks': ids of kind 'bag' must have rank 2, received"),
    ],
)
def test_ids_that_do_not_fit_the_features_are_named(ids, message):
    with Step(ONE) as step, pytest.raises(ValueError, match=message):
        numbered([COUNTRY, CLICKS]).lookup(step, {name: tf.constant(own) for name, own in ids.items()})


@pytest.mark.parametrize("spread", [False, True])
def test_an_id_of_another_features_row_is_an_error(spread):
    tables = numbered([COUNTRY, CLICKS], spread=spread)

    @tf.function
    def lookup(country, clicks):
        with Step(ONE) as step:
            return tables.lookup(step, {"country": country, "clicks": clicks})

    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        lookup(tf.constant([0, 4]), tf.constant([[1], [1]]))
    for part in ("country", "ids must be below", "4"):
        assert part in str(caught.value)


@pytest.mark.parametrize("spread", [False, True])
def test_rows_of_tables_that_grew_lie_where_the_same_ids_did(spread):
    before = [Feature("country", 11, 2), PRICE, Feature("clicks", 7, 2)]
    now = [Feature("clicks", 9, 2), Feature("shop", 4, 2), Feature("country", 13, 2), Feature("price", 8, 1)]
    was = {"clicks": np.array([6, -1, 0, 1, 2, 3, 4, 5, -1])}  # of each id now; others have kept theirs
    old, new = numbered(before, spread=spread), numbered(now, spread=spread)
    maps = dict(zip((table.width for table in new.tables), row_map(before, now, was, spread), strict=True))
    for feature in now:
        found = maps[feature.width][new.rows(feature.name, tf.range(feature.rows))]
        own = {"clicks": was["clicks"], "shop": np.full(4, -1)}.get(feature.name, np.arange(feature.rows))
        for row, id_ in zip(found, own, strict=True):
            there = 0 <= id_ < getattr(old.features.get(feature.name), "rows", 0)
            assert row == (old.rows(feature.name, tf.constant([id_])).numpy()[0] if there else -1), feature.name

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from trainer import optimizers
from trainer.config import OptimizerConfig
from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable, normal
from trainer.loop_config import ScheduledOptimizerConfig

STOCK = {
    "sgd": tf_keras.optimizers.SGD,
    "adagrad": tf_keras.optimizers.Adagrad,
    "rowwise_adagrad": tf_keras.optimizers.Adagrad,
    "ftrl": tf_keras.optimizers.Ftrl,
    "adam": tf_keras.optimizers.Adam,
    "lazy_adam": tf_keras.optimizers.Adam,
}
GRADIENTS = [[[1.0, -2.0], [0.5, 0.0], [0.0, 3.0]], [[-1.0, 1.0], [0.1, 0.2], [4.0, 0.0]]]


def parameter(kind, table=True):
    """An optimizer, a parameter of a table or of a dense layer, and its slots at the values the kernels start from."""
    optimizer = optimizers.build(OptimizerConfig(kind, learning_rate=0.1))
    variable = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    shapes = {name: (3, 1) if table and name in optimizer.per_row else (3, 2) for name in optimizer.slots}
    slots = {name: tf.Variable(tf.fill(shapes[name], value)) for name, value in optimizer.slots.items()}
    return optimizer, variable, slots


def trained(config, rows=(0, 1, 2)):
    """A table and dense weights, both [[1, 2], [3, 4], [5, 6]] at first, after both of GRADIENTS on some rows."""
    optimizer = optimizers.build(config)
    table = EmbeddingTable("t", 3, 2, normal(1.0), devices=(None, None))
    table.assign(np.array([[1, 2], [3, 4], [5, 6]], np.float32))
    layer = tf_keras.layers.Dense(2, use_bias=False, kernel_initializer=lambda *_, **__: table.whole())
    model = tf_keras.Sequential([layer])
    model.build((None, 3))
    dense = FlatWeights(model)
    optimizer.add_slots([table], dense)
    for step, gradient in enumerate(GRADIENTS, 1):
        number = tf.constant(step, tf.int64)
        slots = {name: variables[0] for name, variables in dense.slots.items()}
        optimizer.dense(dense.variables[0], slots, tf.constant(gradient), number)
        split = table.split(tf.constant(rows))
        for k, shard in enumerate(table.shards):
            slots = {name: variables[k] for name, variables in table.slots.items()}
            part = tf.gather(tf.gather(gradient, rows), split.places[k])
            optimizer.rows(shard, slots, split.local[k], part, number)
    return table, dense


@pytest.mark.parametrize("kind", STOCK)
def test_dense_updates_are_those_of_keras(kind):
    optimizer, variable, slots = parameter(kind, table=False)
    stock, expected = STOCK[kind](learning_rate=0.1), tf.Variable(variable)
    for step, gradient in enumerate(GRADIENTS, 1):
        optimizer.dense(variable, slots, tf.constant(gradient), tf.constant(step, tf.int64))
        stock.apply_gradients([(tf.constant(gradient), expected)])
    np.testing.assert_allclose(variable, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", STOCK)
def test_updating_every_row_is_a_dense_update(kind):
    optimizer, variable, slots = parameter(kind)
    _, expected, expected_slots = parameter(kind)
    for step, gradient in enumerate(GRADIENTS, 1):
        number = tf.constant(step, tf.int64)
        optimizer.rows(variable, slots, tf.constant([2, 0, 1]), tf.gather(gradient, [2, 0, 1]), number)
        optimizer.dense(expected, expected_slots, tf.constant(gradient), number)
    np.testing.assert_allclose(variable, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["sgd", "adagrad", "rowwise_adagrad", "ftrl", "lazy_adam"])
def test_a_row_that_was_not_read_stays_and_so_do_its_slots(kind):
    optimizer, variable, slots = parameter(kind)
    for step, row in enumerate([0, 2], 1):
        optimizer.rows(
            variable, slots, tf.constant([row]), tf.constant([[1.0, -1.0]]), tf.constant(step, tf.int64)
        )
    assert variable[1].numpy().tolist() == [3.0, 4.0]
    assert not np.isclose(variable[0], [1.0, 2.0]).any()
    for name, slot in slots.items():
        assert slot[1].numpy() == pytest.approx(optimizer.slots[name])


def test_adam_moves_rows_that_were_read_before():
    optimizer, variable, slots = parameter("adam")
    one = tf.constant([[1.0, 1.0]])
    optimizer.rows(variable, slots, tf.constant([0]), one, tf.constant(1, tf.int64))
    before = variable[0].numpy()
    optimizer.rows(variable, slots, tf.constant([1]), one, tf.constant(2, tf.int64))
    assert (variable[0].numpy() < before).all()


def test_adagrad_by_hand():
    optimizer, variable, slots = parameter("adagrad")
    optimizer.rows(variable, slots, tf.constant([1]), tf.constant([[2.0, 0.0]]), tf.constant(1, tf.int64))
    assert slots["accumulator"][1].numpy().tolist() == pytest.approx([4.1, 0.1])
    assert variable[1].numpy().tolist() == pytest.approx([3.0 - 0.1 * 2.0 / 4.1**0.5, 4.0])


@pytest.mark.parametrize("kind", ["adagrad", "rowwise_adagrad", "ftrl"])
def test_squared_gradients_are_added_to_what_the_config_says(kind):
    optimizer = optimizers.build(OptimizerConfig(kind, 0.1, initial_accumulator=1e-6))
    assert optimizer.slots["accumulator"] == 1e-6
    assert optimizers.build(OptimizerConfig(kind, 0.1)).slots["accumulator"] == 0.1
    with pytest.raises(ValueError, match="initial_accumulator"):
        OptimizerConfig(kind, 0.1, initial_accumulator=0.0)


def test_with_a_small_first_accumulator_a_small_gradient_moves_a_row_by_the_rate():
    optimizer = optimizers.build(OptimizerConfig("adagrad", 0.1, initial_accumulator=1e-9))
    variable, slots = tf.Variable([[1.0]]), {"accumulator": tf.Variable([[optimizer.slots["accumulator"]]])}
    optimizer.rows(variable, slots, tf.constant([0]), tf.constant([[1e-3]]), tf.constant(1, tf.int64))
    assert variable.numpy() == pytest.approx(1.0 - 0.1 * 1e-3 / (1e-9 + 1e-6) ** 0.5, abs=1e-5)


def test_rowwise_adagrad_by_hand():
    optimizer, variable, slots = parameter("rowwise_adagrad")
    optimizer.rows(variable, slots, tf.constant([1]), tf.constant([[2.0, 0.0]]), tf.constant(1, tf.int64))
    assert slots["accumulator"].numpy().ravel().tolist() == pytest.approx([0.1, 2.1, 0.1])  # + (2² + 0²) / 2
    assert variable[1].numpy().tolist() == pytest.approx([3.0 - 0.1 * 2.0 / 2.1**0.5, 4.0])
    optimizer.rows(variable, slots, tf.constant([1]), tf.constant([[1.0, 1.0]]), tf.constant(2, tf.int64))
    assert slots["accumulator"].numpy().ravel().tolist() == pytest.approx([0.1, 3.1, 0.1])  # + (1² + 1²) / 2
    first = 3.0 - 0.1 * 2.0 / 2.1**0.5
    assert variable[1].numpy().tolist() == pytest.approx([first - 0.1 / 3.1**0.5, 4.0 - 0.1 / 3.1**0.5])


def test_rowwise_adagrad_keeps_one_value_a_row_beside_a_table_and_every_value_beside_dense_weights():
    table, dense = trained(OptimizerConfig("rowwise_adagrad", 0.1))
    assert [slot.shape.as_list() for slot in table.slots["accumulator"]] == [[2, 1], [1, 1]]
    accumulator = table.whole("accumulator").numpy().ravel()
    assert accumulator.tolist() == pytest.approx([0.1 + 5 / 2 + 2 / 2, 0.1 + 0.25 / 2 + 0.05 / 2, 0.1 + 9 / 2 + 8])
    plain, same = trained(OptimizerConfig("adagrad", 0.1))
    np.testing.assert_array_equal(dense.values(dense.variables), same.values(same.variables))
    assert not np.allclose(table.whole(), plain.whole())


def test_ftrl_by_hand():
    config = OptimizerConfig("ftrl", learning_rate=0.1, l1=3.0, l2=0.5)
    optimizer, variable = optimizers.build(config), tf.Variable([[1.0, -2.0]])
    slots = {"accumulator": tf.Variable([[4.0, 4.0]]), "linear": tf.Variable([[-20.0, 40.0]])}  # -w √4 / 0.1
    gradient = tf.constant([[1.5, 0.0]])
    optimizer.rows(variable, slots, tf.constant([0]), gradient, tf.constant(1, tf.int64))
    # √(4 + 1.5²) = 2.5, so σ = (2.5 - 2) / 0.1 = 5 and z = -20 + 1.5 - 5 · 1
    assert slots["accumulator"].numpy().tolist() == [[6.25, 4.0]]
    assert slots["linear"].numpy()[0] == pytest.approx([-23.5, 40.0])
    assert variable.numpy()[0] == pytest.approx([(23.5 - 3) / (25 + 1), -(40 - 3) / (20 + 1)])


@pytest.mark.parametrize("kind", STOCK)
def test_reset_puts_the_slots_where_those_of_a_new_optimizer_of_these_weights_are(kind):
    table = EmbeddingTable("t", 3, 2, normal(1.0), devices=(None, None))
    model = tf_keras.Sequential([tf_keras.layers.Dense(2)])
    model.build((None, 3))
    dense = FlatWeights(model)
    optimizer = optimizers.build(OptimizerConfig(kind, learning_rate=0.1))
    optimizer.add_slots([table], dense)
    values = {(owner, name): [v.numpy() for v in owner.slots[name]] for owner in (table, dense) for name in owner.slots}
    for owner in (table, dense):
        for slot in owner.slots.values():
            for variable in slot:
                variable.assign_add(tf.ones_like(variable))
    optimizer.reset([table], dense)
    for (owner, name), before in values.items():
        for variable, value in zip(owner.slots[name], before, strict=True):
            np.testing.assert_array_equal(variable, value)


def test_ftrl_zeroes_a_weight_whose_gradients_stay_within_l1():
    table, dense = trained(OptimizerConfig("ftrl", learning_rate=0.1, l1=1000.0))
    assert not table.whole().numpy().any() and not dense.values(dense.variables).any()


def test_ftrl_without_penalties_takes_adagrads_path_from_the_initial_weights():
    (table, dense), (same, also) = (trained(OptimizerConfig(kind, 0.1)) for kind in ("ftrl", "adagrad"))
    np.testing.assert_allclose(table.whole(), same.whole(), rtol=1e-5)
    np.testing.assert_allclose(dense.values(dense.variables), also.values(also.variables), rtol=1e-5)


@pytest.mark.parametrize("kind", ["sgd", "adagrad", "ftrl", "lazy_adam"])
def test_a_table_whose_every_row_is_read_at_every_step_moves_as_dense_weights_do(kind):
    table, dense = trained(OptimizerConfig(kind, 0.1), rows=(2, 0, 1))
    np.testing.assert_allclose(table.whole().numpy().ravel(), dense.values(dense.variables), rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "adamw"}, "kind must be one of 'sgd', 'adagrad', 'rowwise_adagrad', 'ftrl', .* received 'adamw'"),
        ({"kind": "ftrl", "l1": -1.0}, "l1 must be at least 0, received -1.0"),
        ({"kind": "adam", "l2": 0.1}, "l2 must be 0 with kind 'adam', received 0.1"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**settings)


@pytest.mark.parametrize("kind", ["sgd", "adagrad", "rowwise_adagrad", "adam", "lazy_adam"])
def test_a_scheduled_optimizer_takes_the_steps_rate(kind):
    constant = trained(OptimizerConfig(kind, 0.1))
    config = ScheduledOptimizerConfig(kind, 0.1, final_rate=0.1, schedule="cosine")
    for one, two in zip(constant, trained(config), strict=True):
        values = [part.whole() if isinstance(part, EmbeddingTable) else part.variables[0] for part in (one, two)]
        np.testing.assert_allclose(*values, rtol=1e-5)
    falls = optimizers.build(ScheduledOptimizerConfig(kind, 0.1, final_rate=0.02), 2)
    assert float(falls.rate(tf.constant(2, tf.int64))) == pytest.approx(0.02)


@pytest.mark.parametrize("kind", ["adam", "lazy_adam"])
def test_weight_decay_is_beside_adams_own_move(kind):
    plain, decayed = (optimizers.build(ScheduledOptimizerConfig(kind, 0.1, weight_decay=w)) for w in (0.0, 0.5))
    for update in ("dense", "rows"):
        values = []
        for optimizer in (plain, decayed):
            variable = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
            slots = {name: tf.Variable(tf.zeros((3, 2))) for name in optimizer.slots}
            one, gradient = tf.constant(1, tf.int64), tf.constant(GRADIENTS[0])
            if update == "dense":
                optimizer.dense(variable, slots, gradient, one)
            else:
                optimizer.rows(variable, slots, tf.constant([0, 2]), tf.gather(gradient, [0, 2]), one)
            values.append(variable.numpy())
        moved = values[1] - values[0]
        before = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
        if update == "rows" and kind == "lazy_adam":
            before[1] = 0  # a row that is not read is left alone
        np.testing.assert_allclose(moved, -0.1 * 0.5 * before, rtol=1e-4, atol=1e-6)

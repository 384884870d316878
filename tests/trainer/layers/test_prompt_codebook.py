import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from trainer.config import CocoConfig
from trainer.layers.prompt_codebook import FixedPrompts, PromptCodebook

CODES = np.array([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]], np.float32)
LENGTH = ((4 + 1 + 9) / 3) ** 0.5
USERS = tf.constant([[1.0, 0.0], [0.6, 0.8], [0.0, -5.0]])  # cosines: 1, 0, −1 | 0.6, 0.8, −0.6 | 0, −1, 0
CONFIG = CocoConfig(codes=3, shared=1, selected=2, threshold=0.45, commitment=0.25)


def codebook(config=CONFIG, codes=CODES):
    """W is the identity, so e_u is h at LENGTH, and the shared prompt is (7, 8)."""
    made = PromptCodebook(config, codes)
    made.build(tf.TensorShape((None, 2)))
    made.project.assign(np.eye(2))
    made.shared.assign([[7.0, 8.0]] * config.shared)
    return made


def changed(**values):
    return CocoConfig(**{**vars(CONFIG), **values})


def test_the_codes_above_the_threshold_follow_the_shared_prompts_nearest_first():
    found = codebook()(USERS)
    assert found.mask.numpy().tolist() == [[True, True, False], [True, True, True], [True, False, False]]
    expected = [[[7, 8], [2, 0], [0, 0]], [[7, 8], [0, 1], [2, 0]], [[7, 8], [0, 0], [0, 0]]]
    np.testing.assert_allclose(found.prompts, expected)
    assert found.index.numpy()[1].tolist() == [1, 0]


def test_no_more_than_so_many_are_selected():
    found = codebook(changed(selected=1))(USERS)
    assert found.mask.numpy()[:, 1:].tolist() == [[True], [True], [False]]
    assert found.index.numpy()[:2].tolist() == [[0], [1]]


def test_quantization_is_the_mean_over_the_selected_codes_or_of_the_nearest_one():
    """‖e − z‖² of e = L (1, 0) and (2, 0) | L (0.6, 0.8) and (0, 1), (2, 0) | L (0, −1) and (2, 0), first of a tie."""
    found = codebook()(USERS).quantization
    first, third = (LENGTH - 2) ** 2, LENGTH**2 + 4
    second = (0.6 * LENGTH) ** 2 + (0.8 * LENGTH - 1) ** 2, (0.6 * LENGTH - 2) ** 2 + (0.8 * LENGTH) ** 2
    np.testing.assert_allclose(found, [1.25 * first, 1.25 * sum(second) / 2, 1.25 * third], rtol=1e-5)


def test_codes_go_to_the_user_and_the_user_a_quarter_as_fast_to_its_codes():
    """Codes by 2 (z − e); a user by the part of 0.25 · 2 (e − z) that turns e, L / |h| times."""
    made, users = codebook(changed(selected=1)), tf.Variable(USERS[1:2])
    with tf.GradientTape() as tape:
        loss = made(users).quantization[0]
    codes, user = tape.gradient(loss, [made.codes, users])
    expected = [[0, 0], [-2 * 0.6 * LENGTH, 2 * (1 - 0.8 * LENGTH)], [0, 0]]
    np.testing.assert_allclose(tf.convert_to_tensor(codes), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(user[0], [0.24 * LENGTH, -0.18 * LENGTH], rtol=1e-5)


@pytest.mark.parametrize("commitment", [0.25, CocoConfig().commitment])
def test_codes_come_to_users_who_stay_apart_unless_they_are_drawn_to_the_codes_too(commitment):
    """Of L_Q alone with a commitment the best is few points for all: nothing is rebuilt from what is selected."""
    draw = np.random.default_rng(0)
    users = tf.constant(draw.normal(0.3, size=(200, 16)), tf.float32)
    config = CocoConfig(codes=16, shared=1, selected=2, threshold=0.3, commitment=commitment)
    made = PromptCodebook(config, (draw.normal(size=(16, 32)) / 32**0.5).astype(np.float32))
    made.build(tf.TensorShape((None, 16)))
    adam, first = tf_keras.optimizers.Adam(1e-2), float(tf.reduce_mean(made(users).quantization))
    for _ in range(400):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(made(users).quantization)
        gradients = zip(tape.gradient(loss, made.trainable_variables), made.trainable_variables, strict=True)
        adam.apply_gradients([pair for pair in gradients if pair[0] is not None])
    found = made(users)
    sets = {tuple(codes[there]) for codes, there in zip(found.index.numpy(), found.mask.numpy()[:, 1:], strict=True)}
    if commitment:
        assert float(loss) < 0.1 * first and len(sets) < 30
    else:
        assert 0.1 * first < float(loss) < 0.9 * first and len(sets) > 50


@pytest.mark.parametrize(
    "weights, expected",
    [
        ("cosine", [0.8, 0.6]),
        ("softmax", [math.exp(8) / (math.exp(8) + math.exp(6) + math.exp(-6)),
                     math.exp(6) / (math.exp(8) + math.exp(6) + math.exp(-6))]),
    ],
)  # fmt: skip
def test_a_gate_may_scale_the_prompts_by_their_weights(weights, expected):
    found = codebook(changed(gate="scaled", weights=weights))(USERS[1:2]).prompts
    np.testing.assert_allclose(found[0, 1:], [[0.0, expected[0]], [2 * expected[1], 0.0]], rtol=1e-5)


@pytest.mark.parametrize("gate", ["straight_through", "scaled", "off"])
def test_through_a_gate_the_user_hears_of_its_prompts_and_shared_prompts_are_always_learnt(gate):
    made = codebook(changed(gate=gate))
    with tf.GradientTape() as tape:
        tape.watch(USERS)
        loss = tf.reduce_sum(made(USERS).prompts)
    users, shared = tape.gradient(loss, [USERS, made.shared], unconnected_gradients="zero")
    heard = np.abs(users.numpy()).sum(axis=1) > 1e-6
    assert heard.tolist() == ([False] * 3 if gate == "off" else [True, True, False])
    np.testing.assert_allclose(shared, [[3.0, 3.0]])


def test_straight_through_is_the_gradient_of_the_weights():
    """d(z · w)/de through w alone, with w = cos(e, z) at e = (1, 0), z = (2, 0): there it is flat along e."""
    made = codebook(changed(weights="cosine"))
    with tf.GradientTape() as tape:
        tape.watch(USERS)
        loss = tf.reduce_sum(made(USERS).prompts[1, 1] * [3.0, 5.0])  # the code (0, 1) of e = (0.6, 0.8)
    gradient = tape.gradient(loss, USERS)[1]
    np.testing.assert_allclose(gradient, [5 * -0.6 * 0.8, 5 * 0.6 * 0.6], rtol=1e-5)  # 5 · dcos/de


def test_orthogonality_is_the_mean_squared_cosine_of_pairs_or_as_printed_the_sum_of_cosines():
    codes = np.array([[1.0, 0.0], [3.0, 4.0], [-2.0, 0.0]], np.float32)  # cosines 0.6, −1, −0.6
    assert float(codebook(codes=codes).orthogonality()) == pytest.approx((0.36 + 1 + 0.36) / 3)
    assert float(codebook(changed(orthogonality="signed"), codes).orthogonality()) == pytest.approx(-1.0)


def test_fixed_prompts_are_everybody_s_and_not_trained():
    made = FixedPrompts(CODES)
    made.build(tf.TensorShape((None, 2)))
    found = made(USERS)
    assert found.prompts.shape == (3, 3, 2) and found.mask.numpy().all() and not made.trainable_variables
    np.testing.assert_array_equal(found.prompts[2], CODES)
    assert float(made.orthogonality()) == 0 and not found.quantization.numpy().any()

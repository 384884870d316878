"""The chain TensorFlow -> torch -> TensorFlow over a real process, with a tiny language model in float64."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from trainer.config import LinkConfig, TrainConfig
from trainer.llm_link import LlmLink, spare

B, M, D, WIDTH = 5, 3, 4, 12


@pytest.fixture(scope="module")
def side(side_process):
    return side_process(dropout=0.3, checkpoint_updates=1)


@pytest.fixture(scope="module")
def still(side_process):
    return side_process(dropout=0.0, checkpoint_updates=1, learning_rate=0.003, text="titles")


def connected(side, wait_seconds=300.0, call_seconds=20.0, step=0):
    link = LlmLink(LinkConfig(side.address, wait_seconds, call_seconds), D, tf.float64)
    link.begin(step)
    return link


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    mask = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 1]], bool)
    history = np.array([[0, 1, 2], [3, 2, 1], [0, 0, 0], [0, 4, 5], [0, 0, 1]], np.int32)
    return random.normal(size=(B, M, WIDTH)), mask, history


def asker(link, mask, history):
    """A graph that gives, for prompts and an upstream gradient: the knowledge and the prompts' gradient."""
    client = link.client()

    @tf.function(
        input_signature=[
            tf.TensorSpec((B, M, WIDTH), tf.float64),
            tf.TensorSpec((B, M, D), tf.float64),
            tf.TensorSpec((B,), tf.bool),
            tf.TensorSpec((), tf.int64),
        ]
    )
    def ask(prompts, upstream, helped, step):
        with tf.GradientTape() as tape:
            tape.watch(prompts)
            knowledge = link.knowledge(client, step, prompts, tf.constant(mask), tf.constant(history))
            loss = tf.reduce_sum(spare(knowledge.h, knowledge.gate, helped) * upstream)
        return knowledge.h, tape.gradient(loss, prompts)

    def call(prompts, upstream, step, helped=None):
        helped = np.zeros(B, bool) if helped is None else helped
        h, gradient = ask(prompts, upstream, helped, step)
        return h.numpy(), gradient.numpy()

    return call


def test_the_gradient_through_both_frameworks_is_the_adjoint_and_agrees_with_finite_differences(side, batch):
    """Forward passes change nothing; a step's dropout is the same at each, so a new session may ask them again."""
    prompts, mask, history = batch
    ask = asker(connected(side), mask, history)
    random = np.random.default_rng(1)
    upstream, direction = random.normal(size=(B, M, D)), random.normal(size=(B, M, WIDTH))
    _, gradient = ask(prompts, upstream, step=1)
    assert (gradient[~mask] == 0).all()

    def forward(prompts):
        ask = asker(connected(side), mask, history)  # at the first weights again
        return ask(prompts, upstream, step=1)[0]

    size = 1e-5
    along = (forward(prompts + size * direction) - forward(prompts - size * direction)) / (2 * size)
    np.testing.assert_allclose((along * upstream).sum(), (gradient * direction).sum(), rtol=1e-6)


def test_each_step_teaches_once_and_its_answer_is_the_same_when_it_is_sent_again(side, batch):
    prompts, mask, history = batch
    link = connected(side)
    ask = asker(link, mask, history)
    upstream = np.random.default_rng(1).normal(size=(B, M, D))
    h, gradient = ask(prompts, upstream, step=1)
    moved, _ = ask(prompts, upstream, step=2)
    assert np.abs(moved - h).max() > 1e-6
    before = json.loads(link.status())
    _, again = ask(prompts, upstream, step=1)
    after = json.loads(link.status())
    np.testing.assert_array_equal(again, gradient)
    assert (before["version"], after["version"]) == (2, 2) and after["duplicates"] == 1


def test_the_next_batch_may_be_asked_for_before_this_one_s_gradient_is_sent(side, batch):
    """In one graph, calls of a client keep their order: each answer is one update old, whatever runs beside them."""
    prompts, mask, history = batch
    upstream = np.random.default_rng(1).normal(size=(B, M, D))
    link = connected(side)
    client = link.client()

    @tf.function
    def unit(prompts):
        def ask(step):
            with tf.GradientTape() as tape:
                tape.watch(prompts)
                number, told = tf.constant(step, tf.int64), (tf.constant(mask), tf.constant(history))
                return tape, link.knowledge(client, number, prompts, *told).h

        found, asked = [], ask(1)
        for step in (1, 2, 3):
            following = ask(step + 1) if step < 3 else None
            found.append((asked[1], asked[0].gradient(asked[1], prompts, upstream)))
            asked = following
        return found

    (first, gradient), (second, _), (third, _) = unit(tf.constant(prompts))
    told = json.loads(link.status())
    assert (told["version"], told.get("recomputed", 0)) == (3, 0)
    ask = asker(connected(side), mask, history)
    np.testing.assert_array_equal(second, ask(prompts, upstream, step=2)[0])
    ask = asker(connected(side), mask, history)
    h, expected = ask(prompts, upstream, step=1)
    np.testing.assert_array_equal(first, h)
    np.testing.assert_array_equal(gradient, expected)
    np.testing.assert_array_equal(third, ask(prompts, upstream, step=3)[0])


def test_a_batch_trained_again_gets_its_own_gradient_and_teaches_nothing(side, batch):
    prompts, mask, history = batch
    link = connected(side)
    ask = asker(link, mask, history)
    random = np.random.default_rng(1)
    one, other = random.normal(size=(2, B, M, D))
    _, first = ask(prompts, one, step=1)
    _, second = ask(prompts + 1, other, step=1)
    assert np.abs(second - first).max() > 1e-6
    told = json.loads(link.status())
    assert (told["version"], told["again"]) == (1, 1)


def test_rows_that_were_helped_teach_lora_nothing(side, batch):
    """With all rows helped only the decoupling attention learns: the prompts' gradient is as without."""
    prompts, mask, history = batch
    upstream = np.random.default_rng(1).normal(size=(B, M, D))
    found = {}
    for name, helped in (("none", np.zeros(B, bool)), ("all", np.ones(B, bool)), ("some", np.arange(B) < 2)):
        ask = asker(connected(side), mask, history)
        gradient = ask(prompts, upstream, step=1, helped=helped)[1]
        found[name] = gradient, ask(prompts, upstream, step=2)[0]
    np.testing.assert_array_equal(found["none"][0], found["all"][0])
    np.testing.assert_array_equal(found["none"][0], found["some"][0])
    assert len({found[name][1].tobytes() for name in found}) == 3


def test_a_batch_too_big_for_a_message_goes_in_parts_and_gives_the_same(still, batch, monkeypatch):
    prompts, mask, history = batch
    upstream = np.random.default_rng(1).normal(size=(B, M, D))
    whole = asker(connected(still), mask, history)
    expected = [*whole(prompts, upstream, step=1), *whole(prompts, upstream, step=2)]
    monkeypatch.setattr("trainer.llm_link.MESSAGE_BYTES", 2 * (M * (WIDTH + D) * 8 + M + 8 * 3))
    link = connected(still)
    ask = asker(link, mask, history)
    found = [*ask(prompts, upstream, step=1), *ask(prompts, upstream, step=2)]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)
    told = json.loads(link.status())
    assert (told["forward"], told["backward"], told["updates"]) == (6, 6, 2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_side_process_that_dies_between_forward_and_backward_changes_nothing(side, batch, number):
    prompts, mask, history = batch
    upstream = np.random.default_rng(1).normal(size=(B, M, D))
    expected = []
    for ends in (False, True):
        link = connected(side)
        ask = asker(link, mask, history)
        ask(prompts, upstream, step=1)
        client = link.client()
        with tf.GradientTape() as tape:
            variable = tf.constant(prompts)
            tape.watch(variable)
            knowledge = link.knowledge(client, tf.constant(2, tf.int64), variable, mask, history)
            loss = tf.reduce_sum(knowledge.h * upstream)
        if ends:
            side.end(number)
            later = threading.Timer(2.0, side.start, [False])
            later.start()
        gradient = tape.gradient(loss, variable).numpy()
        h, _ = ask(prompts, upstream, step=3)
        expected.append((gradient, h, json.loads(link.status())["version"]))
    later.join()
    np.testing.assert_allclose(expected[1][0], expected[0][0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(expected[1][1], expected[0][1], rtol=0, atol=1e-12)
    assert [version for *_, version in expected] == [3, 3]


def test_a_checkpoint_of_the_trainer_s_step_is_what_a_later_begin_goes_back_to(side, batch):
    prompts, mask, history = batch
    upstream = np.random.default_rng(1).normal(size=(B, M, D))
    link = connected(side)
    ask = asker(link, mask, history)
    ask(prompts, upstream, step=1)
    link.checkpoint(1, kept=[])
    expected = ask(prompts, upstream, step=2)
    ask(prompts, upstream, step=3)
    old, link = link, connected(side, step=1)
    found = asker(link, mask, history)(prompts, upstream, step=2)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    with pytest.raises(tf.errors.InvalidArgumentError, match="refused forward: .*session .* is over"):
        asker(old, mask, history)(prompts, upstream, step=4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="refused begin: .*MANIFEST"):
        connected(side, step=17)


def test_what_is_only_read_teaches_nothing_and_may_be_of_an_earlier_checkpoint(still, batch, monkeypatch):
    prompts, mask, history = batch
    upstream = np.random.default_rng(1).normal(size=(B, M, D))
    link = connected(still)
    ask = asker(link, mask, history)

    def know(**step):
        return link.know(link.client(), tf.constant(prompts), tf.constant(mask), tf.constant(history), **step).numpy()

    ask(prompts, upstream, step=1)
    link.checkpoint(1, kept=[])
    first = know()
    np.testing.assert_array_equal(ask(prompts, upstream, step=2)[0], first)
    told = json.loads(link.status())
    assert np.abs(know() - first).max() > 1e-6
    np.testing.assert_array_equal(know(step=1), first)
    monkeypatch.setattr("trainer.llm_link.MESSAGE_BYTES", 2 * (M * (WIDTH + D) * 8 + M + 8 * 3))
    np.testing.assert_allclose(know(step=1), first, rtol=0, atol=1e-12)
    after = json.loads(link.status())
    assert (after["version"], after["known"] - told["known"]) == (told["version"], 5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="refused know: .*MANIFEST"):
        know(step=17)


def test_a_side_process_out_of_reach_is_an_error_that_names_it(capfd):
    link = LlmLink(LinkConfig("127.0.0.1:9", wait_seconds=1.0, call_seconds=0.5), D, tf.float64)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"llm.address: 127.0.0.1:9 could not be reached for 1"):
        link.begin(0)
    assert "the language model at 127.0.0.1:9 does not answer; waiting up to 1 s" in capfd.readouterr().err


def test_what_the_side_process_cannot_do_is_told_in_its_words(side, batch):
    prompts, mask, history = batch
    ask = asker(connected(side), mask, history + 10_000)
    with pytest.raises(tf.errors.InvalidArgumentError, match="refused forward: .*an index must be at least 0"):
        ask(prompts, np.zeros((B, M, D)), step=1)


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda: LinkConfig("here"), 'address must be "host:port"'),
        (lambda: LinkConfig(wait_seconds=0), "wait_seconds must be above 0"),
        (lambda: TrainConfig(llm=LinkConfig("a:1", wait_seconds=120)), "llm.wait_seconds must be below hang_seconds"),
    ],
)
def test_faulty_settings_are_told(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_workers_of_a_cluster_ask_at_once_and_each_step_teaches_once(still, repository, tmp_path):
    script = Path(__file__).parent / "cluster" / "link_run.py"
    again = threading.Thread(target=lambda: (still.wait(), still.start(wait=False)), daemon=True)
    killed = still.pid
    again.start()
    done = subprocess.run(
        [sys.executable, str(script), still.address, str(tmp_path / "logs"), str(still.pid)],
        capture_output=True, text=True, timeout=1200, env={**os.environ, "PYTHONPATH": str(repository)},
    )  # fmt: skip
    logs = "".join(path.read_text(errors="replace") for path in (tmp_path / "logs").glob("*.log"))
    assert done.returncode == 0, done.stderr[-3000:] + logs[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(found["cluster"], found["alone"], rtol=1e-9)
    assert found["alone"][-1] < found["alone"][0]
    together = found["together"]
    assert (together["workers"], together["attempts"], together["finite"]) == ([0, 1], 8, True)
    assert (together["version"], together["backward"]) == (16, 16)
    assert found["side process killed"]["version"] == 8
    assert found["worker killed"]["version"] == 12
    assert still.pid != killed

"""CoCo over a real side process in float64: the whole chain of gradients, and the mask on its way."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from coco_chain import COCO, Chain, ReaderSource, adapter

from trainer import collaboration
from trainer.models.coco import Knowledge

pytestmark = pytest.mark.usefixtures("doubles")


def test_the_gradients_of_all_weights_agree_with_finite_differences(side):
    chain = Chain(side)
    random, size, source = np.random.default_rng(5), 1e-5, ReaderSource(chain)
    directions = [random.normal(size=weight.shape) for weight in chain.weights]
    values = [weight.numpy() for weight in chain.weights]

    def along(chosen):
        found = []
        for sign in (1, -1):
            for weight, value, direction, moved in zip(chain.weights, values, directions, chosen, strict=True):
                weight.assign(value + sign * size * direction * moved)
            found.append(float(chain.loss(1, source=source)))
        for weight, value in zip(chain.weights, values, strict=True):
            weight.assign(value)
        return (found[0] - found[1]) / (2 * size)

    before = json.loads(chain.link.status())
    codebook, position = chain.coco.codebook, chain.coco.backbone.encoder.position
    alone = [chain.items, position, codebook.codes, codebook.shared, codebook.project, chain.coco.fusion.lift.kernel]
    parts = [np.ones(len(values)), *(np.array([weight is one for weight in chain.weights]) for one in alone)]
    differences = [along(chosen) for chosen in parts]
    assert json.loads(chain.link.status())["version"] == before["version"]
    gradients = [(g * d).sum() for g, d in zip(chain.step(1), directions, strict=True)]
    for chosen, difference in zip(parts, differences, strict=True):
        assert abs(difference) > 1e-6
        assert np.dot(gradients, chosen) == pytest.approx(difference, rel=1e-5)


def test_users_that_were_helped_leave_lora_as_it_is_to_the_bit_and_change_nothing_else(side, monkeypatch):
    """What LoRA learns is the sum over the users it failed; all else is the same with any mask."""
    start = adapter(side, Chain(side), 0)
    gradients, moves = {}, {}
    for name, mask in {"none": [0, 0, 0, 0], "some": [1, 0, 1, 0], "others": [0, 1, 0, 1], "all": [1] * 4}.items():
        helped = np.array(mask, bool)
        monkeypatch.setattr(collaboration, "helped", lambda *_, m=helped: m)
        chain = Chain(side)
        gradients[name] = chain.step(1)
        moves[name] = {part: value - start[part] for part, value in adapter(side, chain, 1).items()}
    for part in start:
        none, some, others, every = (moves[name][part] for name in ("none", "some", "others", "all"))
        if "lora" not in part:
            assert np.abs(none).max() > 0
            for other in (some, others, every):
                np.testing.assert_array_equal(other, none)
            continue
        assert every.tobytes() == np.zeros_like(every).tobytes()
        np.testing.assert_allclose(some + others, none, rtol=0, atol=1e-12)
        assert ("lora_A" in part) == (not np.abs(some).any())  # B is zero at first, so A's gradient is
    for name in ("some", "others", "all"):
        for mine, theirs in zip(gradients[name], gradients["none"], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_what_is_asked_ahead_is_the_same_step_when_nothing_changes_in_between(side):
    start, moves = adapter(side, Chain(side), 0), {}
    for name, ahead in {"in turn": False, "ahead": True}.items():
        chain = Chain(side)
        gradients = chain.taken(1, asked=chain.ask(1) if ahead else None)[1]
        moved = {part: value - start[part] for part, value in adapter(side, chain, 1).items()}
        moves[name] = [gradient.numpy() for gradient in gradients] + list(moved.values())
    for one, other in zip(moves["in turn"], moves["ahead"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_asked_ahead_is_known_by_the_adapter_and_the_codes_of_then_and_teaches_the_codes_of_now(side):
    chain = Chain(side, replace(COCO, beta=0.0, gate="off"))
    first, second = chain.ask(1), chain.ask(2)
    chain.taken(1, asked=first)
    codes, before = chain.coco.codebook.codes, second.question.h.numpy()
    codes.assign(codes.numpy()[::-1])
    with tf.GradientTape() as tape:
        loss = chain.loss(2, asked=second)
    gradient = tape.gradient(loss, codes).numpy()
    known = Knowledge(tf.constant(before), second.selection.mask)
    assert float(loss) == pytest.approx(float(chain.loss(2, source=Given(known))), rel=1e-12)
    assert float(loss) != pytest.approx(float(chain.loss(2, source=ReaderSource(chain))), rel=1e-9)
    taken = {int(code) for code in tf.boolean_mask(second.selection.index, second.selection.mask[:, COCO.shared :])}
    assert set(np.flatnonzero(np.abs(gradient).sum(1))) == taken


class Given:
    """What is known, whatever is asked. A `Source`."""

    def __init__(self, known):
        self._known = known

    def knowledge(self, step, selection, history, stored=None, asked=None):
        return self._known, None


def test_half_the_batch_by_each_of_two_workers_is_the_whole_batch_by_one(side_process):
    """With ``llm.accumulate`` the side process averages as synchronous workers do. Both asked before either learns,
    and they learn at once; both halves have six positions."""
    side = side_process(dropout=0.0, checkpoint_updates=10**6, accumulate=2)
    coco = replace(COCO, gamma=0.25)
    halves = Chain(side, coco)
    rows = {1: slice(0, 2), 2: slice(2, 4)}
    asked = {number: halves.ask(number, mine) for number, mine in rows.items()}
    with ThreadPoolExecutor(2) as pool:
        taken = pool.map(lambda number: halves.taken(number, rows[number], asked[number])[1], rows)
        parts = [[gradient.numpy() for gradient in each] for each in taken]
    of_halves = adapter(side, halves, 2)
    whole = Chain(side, coco)
    once = whole.step(1)
    whole.step(2)
    of_whole = adapter(side, whole, 2)
    for one, two, both in zip(*parts, once, strict=True):
        np.testing.assert_allclose((one + two) / 2, both, rtol=0, atol=1e-12)
    for part, value in of_whole.items():
        np.testing.assert_allclose(of_halves[part], value, rtol=0, atol=1e-12)

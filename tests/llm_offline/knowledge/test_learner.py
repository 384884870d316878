import numpy as np
import pytest
import torch

from llm_offline.knowledge.learner import Learner
from llm_offline.knowledge.request import Request

UPSTREAM = np.random.default_rng(2).normal(size=(4, 3, 4))
ALL = np.ones(4, bool)


@pytest.fixture
def learner(reasoner, settings):
    def make(**changes):
        rates = {"learning_rate": 0.1, "decoupling_learning_rate": 0.1}
        changes = {"optimizer": "sgd", **rates, "dropout": 0.3, **changes}
        return Learner(reasoner(**changes), settings(**changes))

    return make


def step(learner, number, question, upstream=UPSTREAM):
    """One batch in one part; the prompts' gradient."""
    _, version = learner.forward(Request(number, 0, 1, 0), question)
    return learner.backward(Request(number, 0, 1, version), upstream, ALL)


def weights(learner):
    return {name: value.clone() for name, value in learner.state()["weights"].items()}


def apart(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_the_decoupling_attention_learns_at_a_rate_of_its_own(learner, question):
    moved = {}
    for rate in (0.1, 0.2):
        mine = learner(decoupling_learning_rate=rate)
        before = weights(mine)
        step(mine, 1, question())
        moved[rate] = {name: after - before[name] for name, after in weights(mine).items()}
    for name, once in moved[0.1].items():
        expected = 2 * once if name.startswith("decoupling.") else once
        torch.testing.assert_close(moved[0.2][name], expected, rtol=0, atol=1e-12)


def test_an_update_is_the_optimizer_s_on_the_gradient_at_the_answer(learner, question, reasoner):
    mine = learner()
    before = weights(mine)
    step(mine, 1, question())
    leaves = {name: value.requires_grad_() for name, value in before.items()}
    made = reasoner(dropout=0.3)
    (answer,) = made.answer(question(), leaves)
    _, gradients = made.gradients(answer, UPSTREAM, ALL, list(leaves.values()))
    for (name, value), gradient in zip(before.items(), gradients, strict=True):
        torch.testing.assert_close(weights(mine)[name], (value - 0.1 * gradient).detach(), rtol=0, atol=1e-12)
    assert mine.version == 1 and mine.step == 1


@pytest.mark.parametrize("batch_tokens", [14, 64])
def test_a_forward_pass_that_is_computed_again_gives_the_same_bits(learner, question, batch_tokens):
    held, forgetful = learner(batch_tokens=batch_tokens), learner(batch_tokens=batch_tokens, held_tokens=0)
    expected = step(held, 1, question())
    assert step(forgetful, 1, question()) is None
    found = forgetful.replay(Request(1, 0, 1, 0), question(), UPSTREAM, ALL)
    np.testing.assert_array_equal(found, expected)
    assert apart(weights(held), weights(forgetful)) == 0
    assert (held.counts["recomputed"], forgetful.counts["recomputed"]) == (0, 1)


def test_a_gradient_is_of_the_adapter_that_answered_and_moves_the_newest(learner, question):
    """Two workers ask, then both answer: the second one's gradient is of the first version still."""
    mine, other = learner(), learner()
    one, two = Request(1, 0, 1, 0), Request(2, 0, 1, 0)
    mine.forward(one, question(seed=1)), mine.forward(two, question(seed=2))
    start = weights(mine)
    mine.backward(one, UPSTREAM, ALL)
    between = weights(mine)
    mine.backward(two, UPSTREAM, ALL)
    other.forward(two, question(seed=2))
    other.backward(two, UPSTREAM, ALL)
    for name, value in weights(mine).items():
        torch.testing.assert_close(value - between[name], weights(other)[name] - start[name], rtol=0, atol=1e-12)
    assert mine.version == 2


def test_a_request_sent_again_gets_its_answer_and_changes_nothing(learner, question):
    mine = learner()
    first = step(mine, 1, question())
    after = weights(mine)
    np.testing.assert_array_equal(mine.backward(Request(1, 0, 1, 0), UPSTREAM, ALL), first)
    np.testing.assert_array_equal(mine.replay(Request(1, 0, 1, 0), question(), UPSTREAM, ALL), first)
    mine.forward(Request(1, 0, 1, 0), question())  # late: its worker was thought lost
    assert apart(weights(mine), after) == 0
    assert mine.counts["duplicates"] == 2 and mine.version == 1


def test_a_forward_request_sent_again_is_computed_once(learner, question):
    mine = learner()
    request = Request(1, 0, 1, 0)
    first, _ = mine.forward(request, question())
    assert mine.forward(request, question())[0] is first
    other = question()
    assert mine.forward(request, type(other)(other.prompts + 1, other.mask, other.history, 7))[0] is not first


def test_a_request_too_old_to_be_remembered_is_answered_and_not_applied(learner, question):
    mine = learner()
    step(mine, 10_000, question())
    after = weights(mine)
    assert step(mine, 1, question()).shape == (4, 3, 12)
    assert apart(weights(mine), after) == 0 and mine.counts["late"] == 1


def test_parts_make_one_update_whatever_their_order(learner, question):
    whole, cut = learner(dropout=0.0), learner(dropout=0.0)
    expected = step(whole, 1, question())
    before = weights(cut)
    for part, rows in ((1, slice(2, 4)), (0, slice(0, 2))):
        assert apart(weights(cut), before) == 0
        cut.forward(Request(1, part, 2, 0), question(rows))
        found = cut.backward(Request(1, part, 2, 0), UPSTREAM[rows], ALL[rows])
        np.testing.assert_allclose(found, expected[rows], rtol=0, atol=1e-12)
    assert cut.version == 1 and apart(weights(cut), weights(whole)) < 1e-12


def test_accumulated_steps_make_one_update_with_the_mean_of_their_gradients(learner, question):
    single, double = learner(dropout=0.0), learner(dropout=0.0, accumulate=2)
    step(single, 1, question())
    before = weights(double)
    step(double, 1, question())
    assert double.version == 0 and apart(weights(double), before) == 0
    step(double, 2, question())
    assert double.version == 1 and apart(weights(double), weights(single)) < 1e-12


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_goes_on_from_a_state_as_if_nothing_had_happened(learner, question, optimizer, tmp_path):
    mine = learner(optimizer=optimizer, accumulate=2)
    for number in (1, 2, 3):  # the third waits for the fourth
        last = step(mine, number, question(seed=number))
    mine.forward(Request(4, 0, 2, 0), question(slice(0, 2)))
    mine.backward(Request(4, 0, 2, 1), UPSTREAM[:2], ALL[:2])  # a part, which waits for the other
    torch.save(mine.state(), tmp_path / "state")
    other = learner(optimizer=optimizer, accumulate=2)
    other.restore(torch.load(tmp_path / "state", weights_only=True))
    for one in (mine, other):
        np.testing.assert_array_equal(one.backward(Request(3, 0, 1, 1), UPSTREAM, ALL), last)
        one.forward(Request(4, 1, 2, 0), question(slice(2, 4)))
        one.backward(Request(4, 1, 2, 1), UPSTREAM[2:], ALL[2:])
        step(one, 5, question(seed=5)), step(one, 6, question(seed=6))
    assert apart(weights(mine), weights(other)) == 0 and mine.version == other.version == 3
    mine.restore(None)
    assert mine.version == 0 and apart(weights(mine), weights(learner())) == 0


def test_another_training_s_weights_and_optimizer_are_a_beginning_of_which_no_step_counts(learner, question):
    before, mine, unmoved = (learner(optimizer="adamw") for _ in range(3))
    step(before, 1, question())
    step(before, 2, question())
    mine.start_from(before.state())
    assert (mine.version, mine.step) == (0, 0) and apart(mine.first(), weights(before)) == 0
    assert apart(mine.first(), unmoved.first()) > 0.01
    for one in (before, mine):  # with the same moments both move alike
        step(one, 3, question())
    assert apart(weights(mine), weights(before)) == 0
    mine.restore(None)
    assert apart(weights(mine), mine.first()) == 0
    with pytest.raises(ValueError, match="checkpoint: is of another"):
        mine.start_from({**before.state(), "model": "another"})


def test_a_gradient_of_an_adapter_no_longer_known_is_of_the_newest_and_counted(learner, question, monkeypatch):
    monkeypatch.setattr("llm_offline.knowledge.learner.VERSIONS", 3)
    mine = learner(held_tokens=0)
    for number in (1, 2, 3):
        mine.replay(Request(number, 0, 1, number - 1), question(), UPSTREAM, ALL)
    assert mine.counts["replaced"] == 0
    mine.replay(Request(99, 0, 1, 0), question(), UPSTREAM, ALL)
    assert mine.counts["replaced"] == 1


def test_what_is_held_stays_bounded(learner, question, monkeypatch):
    monkeypatch.setattr("llm_offline.knowledge.learner.ANSWERS", 3)
    mine = learner(held_tokens=64)  # a batch is of 4 rows of at most 3 + 12 tokens
    for number in (1, 2):
        mine.forward(Request(number, 0, 1, 0), question())
    assert mine.backward(Request(1, 0, 1, 0), UPSTREAM, ALL) is None
    assert mine.backward(Request(2, 0, 1, 0), UPSTREAM, ALL) is not None
    for number in (3, 4, 5):
        step(mine, number, question())
    assert [step for step, *_ in mine.state()["answers"]] == [3, 4, 5]


def test_faults_are_told_and_change_nothing(learner, question, settings):
    mine = learner()
    before = weights(mine)
    mine.forward(Request(1, 0, 1, 0), question())
    faulty = np.where(np.arange(4) == 2, np.nan, 1.0)[:, None, None] * UPSTREAM
    for upstream, told in ((faulty, "must be finite, that of step 1 is not"), (UPSTREAM[:3], "must be of the know")):
        with pytest.raises(ValueError, match=told):
            mine.backward(Request(1, 0, 1, 0), upstream, ALL)
    with pytest.raises(ValueError, match="prompts: must be of shape"):
        asked = question()
        mine.forward(Request(1, 0, 1, 0), type(asked)(asked.prompts[:, :, :5], asked.mask, asked.history, 7))
    with pytest.raises(ValueError, match="another llm.rank, d or layers"):
        mine.restore(learner(rank=3).state())
    with pytest.raises(ValueError, match="checkpoint: is of other, this is tiny_llm"):
        mine.restore({**mine.state(), "model": "other"})
    with pytest.raises(ValueError, match="checkpoint: is of tiny_llm.*/titles, this is tiny_llm"):
        mine.restore(learner(text="titles").state())
    assert apart(weights(mine), before) == 0


def test_what_is_only_read_has_no_dropout_and_teaches_nothing(learner, question, reasoner):
    mine = learner()
    step(mine, 1, question())
    before, newest = mine.state(), weights(mine)
    found = mine.know(question(seed=None))
    (answer,) = reasoner(dropout=0.0).answer(question(), newest)
    np.testing.assert_allclose(found[answer.rows], answer.knowledge.detach().numpy(), rtol=0, atol=1e-12)
    assert np.abs(found - mine.forward(Request(2, 0, 1, 0), question())[0]).max() > 1e-6  # which drops some
    assert apart(weights(mine), newest) == 0 and mine.state()["applied"] == before["applied"]
    step(mine, 2, question())
    np.testing.assert_array_equal(mine.know(question(seed=None), newest), found)
    assert np.abs(mine.know(question(seed=None)) - found).max() > 1e-6
    with pytest.raises(ValueError, match="another llm.rank, d or layers"):
        mine.know(question(seed=None), learner(rank=3).state()["weights"])


def test_a_trainer_is_told_the_sizes_of_the_language_model(learner):
    told = learner().about()
    assert (told["width"], told["knowledge_width"]) == (12, 4) and told["scale"] == pytest.approx(0.3, rel=0.1)

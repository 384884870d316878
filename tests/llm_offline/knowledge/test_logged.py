import numpy as np
import pyarrow as pa
import pytest

from feature_store import failures, selected_prompts
from feature_store.errors import DataError
from llm_offline.knowledge import logged
from llm_offline.knowledge.reasoner import Question
from llm_offline.knowledge.request import Request
from llm_offline.knowledge.state import Checkpoints

TITLES = ["soap", "a comb", "shea butter", "", "pen"]
UPSTREAM = np.random.default_rng(2).normal(size=(6, 3, 4))
CODES = np.random.default_rng(3).normal(size=(5, 12)).astype(np.float32)
HISTORY = [[1, 2], [3, 2, 1], [5], [4, 5], [2], [1, 5]]
CHOSEN = [[0], [1, 4], [], [2], [3], [4, 0]]
FAILED = np.array([0, 1, 1, 0, 1, 1], bool)


@pytest.fixture
def config(settings):
    rates = {"learning_rate": 0.1, "decoupling_learning_rate": 0.1}
    return lambda **changes: settings(**{"optimizer": "sgd", **rates, "dropout": 0.3, **changes})


@pytest.fixture
def written(tmp_path):
    """Prompts of six users, and a log of two batches of three, of each of which two were failed."""
    rows = {"user_id": [f"u{n}" for n in range(6)], "split": ["train"] * 6, "label_time": list(range(6))}
    weights = [[1.0, 0.5][: len(chosen)] for chosen in CHOSEN]
    asked = pa.table({**rows, "history": HISTORY, "codes": CHOSEN, "weights": weights}, selected_prompts.SCHEMA)
    selected_prompts.write(tmp_path / "prompts", [asked], CODES, CODES[:1] + 1, 0, {"parts": 3})

    def write(adapter):
        def parts():
            for batch in (1, 2):
                here = np.flatnonzero(FAILED & (np.arange(6) // 3 == batch - 1))
                yield failures.table([f"u{n}" for n in here], here, batch, here, UPSTREAM[here])

        named = {name: adapter[name] for name in ("model_id", "adapter_version")}
        failures.write(tmp_path / "log", parts(), {"batches": 2, **named})
        return tmp_path / "log", tmp_path / "prompts"

    return write


def question(rows):
    prompts, mask = np.zeros((6, 3, 12), np.float32), np.zeros((6, 3), bool)
    prompts[:, 0], mask[:, 0] = CODES[0] + 1, True
    history = np.zeros((6, 3), np.int32)
    for row, (chosen, items) in enumerate(zip(CHOSEN, HISTORY, strict=True)):
        history[row, 3 - len(items) :] = items
        for place, code in enumerate(chosen, 1):
            prompts[row, place], mask[row, place] = CODES[code] * [1, 1, 0.5][place], True
    return Question(prompts[rows], mask[rows], history[rows], None)


def weights(folder, step):
    return Checkpoints(folder).weights(step)


def test_lora_learns_from_the_log_what_it_learns_over_the_link(config, written, tmp_path):
    """The link is given every row, those that were helped among them, and the mask."""
    settings = config(dropout=0.0)
    begun = logged.begin(TITLES, tmp_path / "llm", settings)
    log, prompts = written(begun)
    found = logged.update(TITLES, tmp_path / "llm", 0, log, prompts, settings)
    assert (found["step"], found["version"], found["updates"], found["rows"], found["users"]) == (2, 2, 2, 4, 4)
    assert found["adapter_version"] != begun["adapter_version"]
    over = logged.learner(TITLES, tmp_path, settings)
    for number, rows in ((1, slice(0, 3)), (2, slice(3, 6))):
        over.forward(Request(number, 0, 1, 0), question(rows))
        told = UPSTREAM[rows] * FAILED[rows, None, None]  # decoupling learns from all over the link
        over.backward(Request(number, 0, 1, number - 1), told, FAILED[rows])
    before, after = weights(tmp_path / "llm", 0), weights(tmp_path / "llm", 2)
    for name, value in over.state()["weights"].items():
        np.testing.assert_allclose(after[name], value, rtol=0, atol=1e-6, err_msg=name)
        assert (after[name] - before[name]).abs().max() > 1e-4, name


def test_knowledge_was_frozen_without_dropout_and_so_is_its_gradient(config, written, tmp_path):
    for name, dropout in (("with", 0.3), ("without", 0.0)):
        log, prompts = written(logged.begin(TITLES, tmp_path / name, config(dropout=dropout)))
        logged.update(TITLES, tmp_path / name, 0, log, prompts, config(dropout=dropout))
    for name, value in weights(tmp_path / "with", 2).items():
        np.testing.assert_array_equal(value, weights(tmp_path / "without", 2)[name])


def test_an_update_that_is_stopped_goes_on_to_the_same_adapter(config, written, tmp_path, monkeypatch):
    settings = config(checkpoint_updates=1, optimizer="adamw")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    log, prompts = written(logged.begin(TITLES, whole, settings))
    logged.begin(TITLES, broken, settings)
    expected = logged.update(TITLES, whole, 0, log, prompts, settings)

    def stops(*asked):
        yield next(batches(*asked))
        raise KeyboardInterrupt

    batches = failures.batches
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(failures, "batches", stops)
        logged.update(TITLES, broken, 0, log, prompts, settings)
    assert Checkpoints(broken).steps() == [0, 1]
    found = logged.update(TITLES, broken, 0, log, prompts, settings)
    again = logged.update(TITLES, broken, 0, log, prompts, settings)  # it is there
    for one in (found, again):
        assert all(one[name] == expected[name] for name in (*logged.DESCRIBED, "updates"))


def test_a_log_of_another_adapter_is_refused(config, written, tmp_path):
    begun = logged.begin(TITLES, tmp_path / "llm", config())
    log, prompts = written({**begun, "adapter_version": "7-other"})
    with pytest.raises(DataError, match="adapter_version.*must be that of the adapter"):
        logged.update(TITLES, tmp_path / "llm", 0, log, prompts, config())

import numpy as np
import pytest

from feature_store.chat_config import SimulateConfig
from feature_store.datasets.chatbot.signs import posterior, signs
from feature_store.datasets.chatbot.situations import Situations


def test_the_posterior_is_bayes_rule():
    prior = np.array([[0.5, 0.3, 0.2], [0.0, 0.5, 0.5]])
    evidence = np.log(np.array([[1.0, 2.0, 4.0], [9.0, 1.0, 3.0]]))
    assert np.allclose(posterior(prior, evidence), [[0.5 / 1.9, 0.6 / 1.9, 0.8 / 1.9], [0.0, 0.25, 0.75]])


def test_evidence_is_the_chance_of_what_was_drawn():
    """Of words about an intent: 0.8 of those who want it, and by popularity 0.2, against that 0.2 of the others."""
    situations = Situations()
    wanted = np.arange(len(situations.ids))
    config = SimulateConfig(told=0.999, seen_help=0.0, off_topic=0.2)
    found = signs(np.random.default_rng(1), situations, wanted, config)
    one = int(np.flatnonzero(found.typed >= 0)[0])
    about = found.typed[one]
    ratio = (0.8 + 0.2 * situations.popularity[about]) / (0.2 * situations.popularity[about])
    silent = SimulateConfig(told=0.0, seen_help=0.0, off_topic=0.2)
    without = signs(np.random.default_rng(1), situations, wanted, silent)
    gain = np.exp(found.evidence[one, about] - without.evidence[one, about])
    assert (without.pages == found.pages).all()
    assert gain == pytest.approx(ratio, rel=1e-3)


def test_pages_are_as_many_as_their_offsets_say_and_the_newest_last():
    situations = Situations()
    found = signs(np.random.default_rng(1), situations, np.zeros(50, int), SimulateConfig())
    assert found.offsets[-1] == len(found.pages) == len(found.minutes) == len(found.helps)
    for begin, end in zip(found.offsets[:-1], found.offsets[1:], strict=True):
        assert 1 <= end - begin <= 8
        assert (np.diff(found.minutes[begin:end]) <= 0).all()

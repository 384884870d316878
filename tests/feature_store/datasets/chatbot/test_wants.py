from types import SimpleNamespace

import numpy as np

from feature_store.chat_config import SimulateConfig
from feature_store.datasets.chatbot.situations import Situations
from feature_store.datasets.chatbot.wants import entry_days, membership


def test_the_chance_to_be_a_true_intent_adds_that_of_coming_along():
    follow = np.array([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    posterior, here = np.array([[0.6, 0.3, 0.1]]), np.ones((1, 3), bool)
    config = SimulateConfig(second=0.2)
    found = membership(SimpleNamespace(follow=follow), config, posterior, here)
    assert np.allclose(found, [[0.6 + 0.2 * 0.3, 0.3 + 0.2 * (0.3 + 0.1), 0.1 + 0.2 * 0.3]])
    here[0, 2] = False  # then all that comes along with the first is the second
    found = membership(SimpleNamespace(follow=follow), config, np.array([[0.6, 0.4, 0.0]]), here)
    assert np.allclose(found, [[0.6 + 0.2 * 0.4, 0.4 + 0.2 * 0.6, 0.0]])


def test_late_intents_come_in_the_last_three_weeks():
    days = entry_days(Situations(), SimulateConfig(late_share=0.1, weeks=5))
    late = days[np.isfinite(days)]
    assert len(late) == round(0.1 * len(days))
    assert late.min() >= 14 and late.max() < 32
    assert (entry_days(Situations(), SimulateConfig(late_share=0.1, seed=2)) != days).any()

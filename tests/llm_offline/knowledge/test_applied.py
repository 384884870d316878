from llm_offline.knowledge.applied import HORIZON, Applied


def test_a_request_is_new_once():
    applied = Applied()
    assert applied.add((5, 0)) and applied.add((5, 1)) and applied.add((3, 0))
    assert not applied.add((5, 0))


def test_of_steps_far_behind_the_newest_nothing_is_known():
    applied = Applied()
    applied.add((HORIZON + 7, 0))
    assert applied.late(7) and not applied.late(8)


def test_what_is_remembered_stays_bounded():
    applied = Applied()
    for step in range(1, 4 * HORIZON):
        applied.add((step, 0))
    assert len(applied.state()["keys"]) <= 3 * HORIZON
    assert not applied.add((4 * HORIZON - 1, 0)) and not applied.add((3 * HORIZON, 0))


def test_a_state_remembers_the_same():
    applied = Applied()
    applied.add((9000, 2))
    again = Applied.of_state(applied.state())
    assert not again.add((9000, 2)) and again.late(9000 - HORIZON) and again.add((9000, 1))

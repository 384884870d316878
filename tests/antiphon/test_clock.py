import pytest

from antiphon.clock import clock


@pytest.mark.parametrize("seconds, text", [(4.24, "4.2 s"), (75.4, "75 s"), (200, "3 min 20 s")])
def test_a_time_is_told_as_people_do(seconds, text):
    assert clock(seconds) == text

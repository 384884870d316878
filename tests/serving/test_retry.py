from __future__ import annotations

import grpc
import pytest

from serving.retry import Retry
from serving.status import StatusError

UNAVAILABLE = StatusError(grpc.StatusCode.UNAVAILABLE, "gone")


class Answers:
    """Raises one status after the other, then returns "done"; `left` holds what time each try was given."""

    def __init__(self, *errors: StatusError):
        self.errors = list(errors)
        self.left: list[float] = []

    def __call__(self, left: float) -> str:
        self.left.append(left)
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def failed(error: StatusError, attempts: int) -> Exception:
    return RuntimeError(f"{error.code.name} after {attempts}")


def test_asks_again_after_unavailable_and_gives_each_try_the_time_that_is_left() -> None:
    answers = Answers(UNAVAILABLE, UNAVAILABLE)
    assert Retry(2, first_wait=0.001).run(answers, 60, failed) == "done"
    assert len(answers.left) == 3
    assert 60 >= answers.left[0] > answers.left[1] > answers.left[2]


def test_asks_again_so_often_and_no_more() -> None:
    answers = Answers(*[UNAVAILABLE] * 9)
    with pytest.raises(RuntimeError, match="UNAVAILABLE after 3") as error:
        Retry(2, first_wait=0).run(answers, 60, failed)
    assert len(answers.left) == 3
    assert error.value.__cause__ is UNAVAILABLE


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.UNAVAILABLE])
def test_asks_again_after_nothing_else(code: grpc.StatusCode) -> None:
    answers = Answers(StatusError(code, ""))
    with pytest.raises(RuntimeError, match=f"{code.name} after 1"):
        Retry(9, first_wait=0).run(answers, 60, failed)


def test_does_not_wait_for_a_retry_that_could_not_begin_in_time() -> None:
    answers = Answers(UNAVAILABLE)
    with pytest.raises(RuntimeError, match="UNAVAILABLE after 1"):
        Retry(9, first_wait=1000, longest_wait=1000).run(answers, 60, failed)


def test_waits_double_up_to_the_longest_and_are_drawn_from_their_upper_half() -> None:
    drawn = [list(Retry(5, first_wait=0.1, longest_wait=0.5).waits()) for _ in range(200)]
    bounds = [(0.05, 0.1), (0.1, 0.2), (0.2, 0.4), (0.25, 0.5), (0.25, 0.5)]
    for waits, (least, most) in zip(zip(*drawn, strict=True), bounds, strict=True):
        assert all(least <= wait <= most for wait in waits)
        assert len(set(waits)) > 1


def test_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="retries must not be negative, got -1"):
        Retry(-1)
    with pytest.raises(ValueError, match=r"first_wait must lie in 0..longest_wait \(1\), got 2"):
        Retry(1, first_wait=2)

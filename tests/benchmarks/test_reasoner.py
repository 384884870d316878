import json

import numpy as np
import pytest

from benchmarks.reasoner import KINDS, main, nearness


def test_nearness_is_told_by_what_tells_sessions_apart():
    exact = np.array([[10.0, 1.0], [10.0, -1.0]])  # the first number is the same in all
    assert nearness(exact, exact) == {
        "error": 0, "shift": 0, "error_around_shift": 0, "centred_cosine": 1, "least_centred_cosine": 1, "cosine": 1,
        "cosine_of_others": 0.9802, "nearest": 1,
    }  # fmt: skip
    other = nearness(exact, exact[::-1])  # another session's, whose cosine is 0.98 all the same
    assert (other["error"], other["centred_cosine"], other["nearest"]) == (2, -1, 0)
    half = nearness(exact, np.array([[10.0, 0.5], [10.0, -0.5]]))
    assert (half["error"], half["shift"], half["centred_cosine"]) == (0.5, 0, 1)
    moved = nearness(exact, exact + [3.0, 0.0])
    assert (moved["error"], moved["shift"], moved["error_around_shift"], moved["centred_cosine"]) == (3, 3, 0, 1)


@pytest.mark.slow
def test_a_tiny_run_ends_with_its_figures_as_json(chat_llm, capfd):
    options = ["--model", str(chat_llm), "--clients", "2", "--seconds", "0.3", "--turns", "1", "--words", "4"]
    assert main([*options, "--threads", "1", "--rate", "20", "--deadline-ms", "9000"]) == 0
    figures = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert set(figures["speedup"]) == set(KINDS)
    assert all(figures[kind]["requests_per_second"] > 0 and figures[kind]["p99_ms"] > 0 for kind in KINDS)
    assert figures["int8"]["error"] < 0.5 and figures["int8"]["nearest"] > 0.9
    endpoint = figures["endpoint"]
    assert sum(endpoint["outcomes"].values()) == 6 and not [name for name in endpoint["outcomes"] if "status" in name]
    assert endpoint["without_reasoner"]["answered"] == 0 <= endpoint["with_reasoner"]["answered"] <= 1
    assert endpoint["p99_ratio"] > 0 and endpoint["with_reasoner"]["p99_ms"] >= endpoint["with_reasoner"]["p50_ms"]

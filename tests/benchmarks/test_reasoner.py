import json

import pytest

from benchmarks.reasoner import KINDS, main


@pytest.mark.slow
def test_a_tiny_run_ends_with_its_figures_as_json(chat_llm, capfd):
    options = ["--model", str(chat_llm), "--clients", "2", "--seconds", "0.3", "--turns", "1", "--words", "4"]
    assert main([*options, "--threads", "1", "--rate", "20", "--deadline-ms", "9000"]) == 0
    figures = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert set(figures["speedup"]) == set(KINDS)
    assert all(figures[kind]["requests_per_second"] > 0 and figures[kind]["p99_ms"] > 0 for kind in KINDS)
    assert 0.9 < figures["int8_cosine"] <= 1.00001
    endpoint = figures["endpoint"]
    assert sum(endpoint["outcomes"].values()) == 6 and not [name for name in endpoint["outcomes"] if "status" in name]
    assert endpoint["without_reasoner"]["answered"] == 0 <= endpoint["with_reasoner"]["answered"] <= 1
    assert endpoint["p99_ratio"] > 0 and endpoint["with_reasoner"]["p99_ms"] >= endpoint["with_reasoner"]["p50_ms"]

import json

import pytest

from benchmarks.reasoner import KINDS, main


@pytest.mark.slow
def test_a_tiny_run_ends_with_its_figures_as_json(chat_llm, capfd):
    options = ["--model", str(chat_llm), "--clients", "2", "--seconds", "0.3", "--turns", "1", "--words", "4"]
    assert main([*options, "--threads", "1"]) == 0
    figures = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert set(figures["speedup"]) == set(KINDS)
    assert all(figures[kind]["requests_per_second"] > 0 and figures[kind]["p99_ms"] > 0 for kind in KINDS)
    assert 0.9 < figures["int8_cosine"] <= 1.00001

import json

from benchmarks import link


def test_a_quick_run_prints_its_figures_as_json_on_the_last_line(capsys):
    assert link.main(["--quick"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["seconds_per_step"]["with_llm"] > 0 and figures["seconds_per_step"]["without_llm"] > 0
    assert figures["round_trips_per_second"] > 0
    assert figures["bytes_up_per_example"] == 4 * 4 * 384 + 4 + 2 * 8 + 4 * 4 * 64 + 1
    assert 0 <= figures["side_process_waits"] <= 1
    assert figures["machine"]["cores"] >= 1

import json

from benchmarks import link


def test_a_quick_run_prints_its_figures_as_json_on_the_last_line(capsys):
    assert link.main(["--quick"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    ways = {"tokens", "tokens_overlapped", "titles", "titles_overlapped"}
    assert set(figures["seconds_per_step"]) == {"without_llm", *ways}
    assert min(figures["seconds_per_step"].values()) > 0
    assert set(figures["side_process_waits"]) == set(figures["trainer_waits"]) == ways
    assert set(figures["hidden_of_the_shorter_side"]) == {"tokens", "titles"}
    assert figures["round_trips_per_second"] > 0
    assert figures["bytes_up_per_example"] == 4 * 4 * 384 + 4 + 2 * 8 + 4 * 4 * 64 + 1
    assert all(0 <= share <= 1 for share in figures["side_process_waits"].values())
    assert figures["machine"]["cores"] >= 1

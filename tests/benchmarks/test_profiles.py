import json

from benchmarks import profiles


def test_a_tiny_run_prints_its_figures_as_json_on_the_last_line(chat_llm, capsys):
    arguments = ["--users", "4", "--plain", "2", "--turns", "2", "--model", str(chat_llm), "--new-tokens", "6"]
    assert profiles.main([*arguments, "--dtype", "float32", "--batch-tokens", "8192"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["equal_answers"] == 1
    assert figures["new_tokens"]["ours"] >= figures["new_tokens"]["plain"] > 0
    assert figures["ratio"] > 0
    assert figures["well_formed_first"] == 0  # of random weights


def test_what_is_known_of_the_markets_users_is_worded():
    known = profiles.known_of_users(5, 1)
    assert len(known) == 5
    assert any("Recent searches:" in text for text in known)

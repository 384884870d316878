import json

import pytest

from benchmarks import asof


def test_a_tiny_run_prints_its_figures_as_json_on_the_last_line(capsys):
    arguments = ["--rows", "300", "--labels", "40", "--users", "7", "--rounds", "2", "--threads", "1"]
    assert asof.main(arguments) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["label_rows_out"] == figures["feast"]["label_rows_out"] == 40
    assert figures["ratio"] > 0
    assert figures["machine"]["cores"] >= 1


def test_a_lost_label_row_is_an_error(monkeypatch, tmp_path):
    options = asof.parse(["--rows", "20", "--labels", "5", "--users", "2", "--rounds", "1"])
    asof.write_data(tmp_path, options)
    monkeypatch.setattr(asof, "ours", lambda folder, threads: asof.bare(folder, threads).slice(1))
    with pytest.raises(RuntimeError, match="ours: 5 label rows in, 4 out"):
        asof.compare(tmp_path, options)

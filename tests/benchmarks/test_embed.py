import json

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.embed import main


def test_a_tiny_run_ends_with_its_figures_as_json(tmp_path, capsys):
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"title": ["Soap", None, "Shea & honey soap", "Comb"]}), path)
    assert main(["--data", str(path), "--limit", "3", "--rounds", "1"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures["texts"], figures["tokens"]) == (3, 3 + 2 + 6)
    assert set(figures["tokens_per_second"]) == {"sentence_transformers", "antiphon"}
    assert figures["machine"]["cores"] >= 1
    assert figures["largest_difference"] < 1e-5

"""The benchmark of ChoirRec at size, on a small market."""

import json

from benchmarks import conversion


def test_it_trains_on_a_cluster_and_asks_with_groups_looked_up(tmp_path, capsys):
    options = ["--users", "400", "--cluster", "ps=1,workers=1", "--candidates", "7", "--requests", "10"]
    assert conversion.main([*options, "--clients", "1", "2", "--folder", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["one_process"]["examples"] == found["cluster"]["examples"] > 0
    assert found["ratio"] > 0 and len(found["cluster"]["server_bytes"]) == 1
    assert set(found["serving"]) == {f"{kind}_{n}" for kind in ("online", "without_groups") for n in (1, 2)}
    for told in found["serving"].values():
        assert told["groups_read"] == 10 and 0 < told["p50_ms"] <= told["p99_ms"]

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import served_log


def test_measures_with_and_without_the_log_in_one_run(model: Path, capfd) -> None:
    assert served_log.main(["--model", str(model), "--requests", "4", "--clients", "2"]) == 0
    figures = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert figures["by_way_and_clients"].keys() == {"grpc_2", "rest_2"}
    for found in figures["by_way_and_clients"].values():
        assert all(0 < found[side]["p50_ms"] <= found[side]["p99_ms"] for side in ("without", "with"))
    assert "dropped" not in figures["rows"] and figures["bytes_a_row"] > 0

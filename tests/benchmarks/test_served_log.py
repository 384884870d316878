from __future__ import annotations

import json
from pathlib import Path

from benchmarks import served_log


def test_measures_with_and_without_the_log_in_one_run(model: Path, capfd) -> None:
    assert served_log.main(["--model", str(model), "--requests", "4", "--rounds", "1", "--clients", "1"]) == 0
    figures = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert figures["latency_by_way_and_clients"].keys() == {"grpc_1", "rest_1"}
    for sides in figures["latency_by_way_and_clients"].values():
        assert all(0 < side["p50_ms"] <= side["p99_ms"] for side in sides.values())
    assert "dropped" not in figures["rows"] and figures["bytes_a_row"] > 0

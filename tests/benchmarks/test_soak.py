from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import soak


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
def test_no_request_fails_while_versions_roll_one_is_broken_and_redis_restarts(model: Path, capfd) -> None:
    flags = ["--model", str(model), "--minutes", "0.1", "--every", "3", "--clients", "2", "--rate", "10"]
    assert soak.main(flags) == 0
    figures = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert figures["failed"] == 0 and figures["errors"] == {}
    assert figures["answered"] > 0
    assert set(figures["changes"]) == {"version", "broken", "redis"}
    assert 3 not in figures["versions"]  # the broken one
    assert 0 < figures["memory_mib"]["start"] <= figures["memory_mib"]["most"]

"""Models of labelled requests trained on a cluster of two parameter servers and a worker, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from trainer.requests.config import RequestTrainConfig

_SCRIPT = """
import json, sys
from pathlib import Path
from trainer.cluster import strategy
from trainer.cluster.launcher import ClusterSize, LocalCluster
from trainer.loop import Trainer
from trainer.requests.config import RequestTrainConfig
from trainer.requests.input import Requests
from trainer.requests.ranker import RequestRanker
from trainer.requests.task import RequestTask
from dataclasses import replace

data, out = Requests(Path(sys.argv[1])), Path(sys.argv[2])
with LocalCluster(ClusterSize(ps=2, workers=1), out / "logs") as servers:
    runtime = strategy.connect(servers.tf_config)
    for settings in sys.argv[3:]:
        config = RequestTrainConfig.from_json(json.loads(settings))
        for mode in ("on", "off"):
            one = replace(config, working_set=mode)
            task = RequestTask(runtime, data, RequestRanker(one, data, runtime.ps_devices), one)
            progress = Trainer(runtime, task, out / mode / one.model.kind, one).run()
            name = f"valid/{one.select}"
            print(json.dumps([entry[name] for entry in progress.history if name in entry]))
"""


def trained(repository: Path, requests: Path, out: Path, configs: Sequence[RequestTrainConfig]) -> list[list[float]]:
    """Trains each with and without a working set into ``out/<on|off>/<kind>``.

    Returns:
      What validation selects by, of each validation, of each training in that order.
    """
    command = [sys.executable, "-c", _SCRIPT, str(requests), str(out), *(json.dumps(asdict(one)) for one in configs)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=900, env={**os.environ, "PYTHONPATH": str(repository)}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]

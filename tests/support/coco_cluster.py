"""Training CoCo on a local cluster, in processes of their own."""

import json
import os
import subprocess
import sys
from dataclasses import asdict

SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
from trainer.chief import fitted
from trainer.cluster import strategy
from trainer.cluster.launcher import ClusterSize, LocalCluster
from trainer.config import TrainConfig
from trainer.input import Examples
from trainer.loop import Trainer
from trainer.next_item import NextItem
from trainer.recommender import Recommender
from trainer.stored import Stored

examples, out, settings = Examples(Path(sys.argv[1])), Path(sys.argv[2]), json.loads(sys.argv[3])
config = fitted(TrainConfig.from_json(settings), examples)
known = Stored(config.coco.source, examples).statistics if config.coco.stored else None
with LocalCluster(ClusterSize(ps=2, workers=int(sys.argv[4])), out / "logs") as servers:
    runtime = strategy.connect(servers.tf_config)
    for working_set in sys.argv[5].split(","):
        one = replace(config, working_set=working_set)
        size, devices = examples.vocabulary.size, runtime.ps_devices
        recommender = Recommender(one.model, size, None, devices, one.seed, coco=one.coco, statistics=known)
        task = NextItem(runtime, examples, recommender, one)
        progress = Trainer(runtime, task, out / working_set, one).run()
        losses, valid = ([entry[name] for entry in progress.history] for name in ("loss", "valid/ndcg@10"))
        print(json.dumps({"losses": losses, "valid": valid, "step": progress.step}))
"""


def train(repository, shop, out, config, workers, modes):
    """What it said of each of ``modes`` (of ``working_set``, with commas), whose folders are those within ``out``."""
    arguments = [str(shop / "examples"), str(out), json.dumps(asdict(config)), str(workers), modes]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True, text=True, timeout=3000, env={**os.environ, "PYTHONPATH": str(repository)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

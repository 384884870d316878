"""Trains on a cluster of two servers and two workers, watched and evaluated; prints what was seen as JSON.

Run as `python sight.py <examples> <folder> <port>`, because a process can join one cluster only.
"""

import dataclasses
import json
import sys
import urllib.request
from pathlib import Path

import numpy as np

from trainer import checkpoint, evaluate, optimizers, warm_start
from trainer.averaging import SLOT, WeightAverage
from trainer.cluster import roles, strategy
from trainer.cluster.ranking import ClusterRanking
from trainer.config import EvaluateConfig, ModelConfig, OptimizerConfig, TrainConfig
from trainer.input import Examples
from trainer.loop import Trainer
from trainer.monitor import Monitor
from trainer.next_item import NextItem
from trainer.ranking import LocalRanking
from trainer.recommender import Recommender

MODEL = ModelConfig(d=8, blocks=1, max_length=10, dropout=0.1, knowledge="item_text", knowledge_width=6)


def main(examples: Path, out: Path, port: int) -> dict:
    data, found = Examples(examples), {}
    known = np.random.default_rng(0).normal(size=(data.vocabulary.size, 6)).astype(np.float32)
    config = TrainConfig(
        batch=4, epochs=3, steps_per_schedule=2, average=0.5, model=MODEL, optimizer=OptimizerConfig("adagrad", 0.05)
    )
    with roles.runtime("ps=2,workers=2", out / "logs") as cluster, Monitor(port) as monitor:
        recommender = Recommender(MODEL, data.vocabulary.size, known, cluster.ps_devices, 1)
        with monitor.phase("read"):
            task = NextItem(cluster, data, recommender, config)
        progress = Trainer(cluster, task, out, config, monitor).run()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
            found["page"] = page.read().decode()
        found["history"] = progress.history
        found["examples"] = data.count("train")
        found["parameters"] = sum(v.shape.num_elements() for v in every_variable(recommender))
        for slot in ("", SLOT):
            rankings = [
                LocalRanking(data, recommender, slot, batch=5),
                ClusterRanking(cluster, data, recommender, slot, batch=5),
            ]
            for ranking in rankings:
                ranking.refresh()
            for split in ("valid", "test"):
                for name, ranking in zip(("here", "there"), rankings, strict=True):
                    found[f"{slot} {split} {name}"] = seen(ranking.rank(split))
        model = dataclasses.replace(MODEL, likeness=2.0)
        likened = Recommender(model, data.vocabulary.size, known, cluster.ps_devices, 1)
        for name, ranking in (
            ("here", LocalRanking(data, likened, batch=5)), ("there", ClusterRanking(cluster, data, likened, batch=5)),
        ):  # fmt: skip
            ranking.refresh()
            found |= {f"likeness {split} {name}": seen(ranking.rank(split)) for split in ("valid", "test")}
        (out / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
        (out / "history.json").write_text(json.dumps({"summary": {"best_checkpoint": progress.best_checkpoint}}))
        for name, runtime in (("here", strategy.InProcess()), ("there", cluster)):
            settings = EvaluateConfig(bootstrap=50)
            found[f"evaluate {name}"] = evaluate.run(examples, out, out / "evaluation" / name, settings, runtime)
        ids = data.vocabulary.ids
        warm_start.keep_names(out, [*ids[3:], "gone", *ids[:2]], None)
        found["warm here"], found["warm there"] = (
            started(out, data, known, config, devices) for devices in ((None,), cluster.ps_devices)
        )
        recommender.dense.load(recommender.dense.variables, np.full(recommender.dense.size, np.nan, np.float32))
        try:
            ClusterRanking(cluster, data, recommender).rank("valid")
        except ValueError as error:
            found["nan"] = str(error)
    return found


def started(folder, data, known, config, devices):
    """What the first checkpoint of a model that starts from the one in ``folder`` holds."""
    recommender = Recommender(MODEL, data.vocabulary.size, known, devices, 7)
    optimizer = optimizers.build(config.optimizer)
    recommender.add_slots(optimizer)
    average = WeightAverage(recommender.tables, recommender.dense, config.average)
    source = warm_start.Source.open(folder)
    told = warm_start.start(source, recommender, optimizer, data.vocabulary.ids, config, average)
    arrays = checkpoint.arrays(recommender.tables, recommender.dense)
    return told["items"], {array.name: np.concatenate(list(array.blocks)).tolist() for array in arrays}


def every_variable(recommender):
    for part in (*recommender.tables, recommender.dense):
        for group in (getattr(part, "shards", None) or part.variables, *part.slots.values()):
            yield from group


def seen(outcomes):
    return [column.tolist() for column in (outcomes.target, outcomes.above, outcomes.tied)] + [
        [user.decode() for user in outcomes.user]
    ]


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))

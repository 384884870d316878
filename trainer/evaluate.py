"""The evaluation stage: full ranking on the test split, intervals over users, paired comparison."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from feature_store.folders import describe, new_folder, read_manifest, write_manifest
from trainer import explain, metrics, saved, statistics
from trainer.cluster.ranking import ranking
from trainer.cluster.strategy import IN_PROCESS, Runtime
from trainer.config import EvaluateConfig, LinkConfig
from trainer.input import Examples, held_out
from trainer.llm_link import LlmLink
from trainer.popularity import ItemPopularity
from trainer.ranking import Outcomes, rank
from trainer.reader import Reader, StoredReader
from trainer.statistics import Comparison
from trainer.stored import Stored

EXPLANATIONS = "explanations.json"


def run(
    examples: Path,
    model: Path,
    out: Path,
    evaluate: EvaluateConfig,
    runtime: Runtime = IN_PROCESS,
    llm: LinkConfig | None = None,
    source: str = "",
) -> dict[str, Any]:
    """Evaluates the best checkpoint of ``model`` on valid and test into ``out`` (``evaluation/<variant>``).

    On a cluster (``trainer.cluster.roles.runtime``) the tables lie on its servers and its workers share the users.
    Writes ``metrics.json`` ({"valid": {"recall@5": {"mean", "low", "high"}, …}, "test": …}) and
    ``per_user.parquet`` (test: user, target, above, tied). Of a model with CoCo also what the same model gives without
    knowledge (``test_without_knowledge``), and ``explanations.json``: some users whose ranking knowledge changed.

    Args:
      llm: of a model with CoCo, where the side process with its adapters answers; None is where it was trained.
      source: the folder of the knowledge it was trained with, where that is stored; "" is where it was then.

    Returns:
      What ``metrics.json`` holds.
    """
    data = Examples(examples)
    restored = saved.load(model, data, runtime.ps_devices)
    reader = _reader(restored, data, llm, source)
    ranks = ranking(runtime, data, restored.recommender, batch=evaluate.batch, reader=reader)
    ranks.refresh()
    about = {"checkpoint": restored.checkpoint.name}
    if reader is None:
        return _write(data, ranks.rank, out, evaluate, about)
    alone = ranking(runtime, data, restored.recommender, batch=evaluate.batch)
    alone.refresh()
    without = alone.rank("test")

    def explained(known: Outcomes) -> list[dict[str, Any]]:
        rows, prompts = explain.chosen(without, known), restored.config["coco"]["prompts"]
        return explain.explain(data, restored.recommender, reader, rows, "test", prompts)

    about["test_without_knowledge"] = _summary(without, evaluate)
    return _write(data, ranks.rank, out, evaluate, about, explained)


def popularity(examples: Path, out: Path, evaluate: EvaluateConfig) -> dict[str, Any]:
    """Evaluates the ranking by popularity in the training split, the floor under every model."""
    data = Examples(examples)
    score = ItemPopularity.of_training(data)
    rows = functools.partial(held_out, data, length=data.manifest["history_length"], batch=evaluate.batch)
    return _write(data, lambda split: rank(rows(split), score), out, evaluate, {"checkpoint": "popularity"})


def compare(a: Path, b: Path, out: Path, evaluate: EvaluateConfig) -> dict[str, Any]:
    """Paired comparison of two evaluations over the same users: b − a, for every metric.

    Raises:
      ValueError: the two were not evaluated on the same users and targets.
    """
    sides = [outcomes(a)], [outcomes(b)]
    tests = {name: dataclasses.asdict(found) for name, found in compare_means(*sides, evaluate).items()}
    users = pq.read_metadata(a / "per_user.parquet").num_rows
    result = {"a": a.name, "b": b.name, "users": users, "b_minus_a": tests}
    scratch = out.with_suffix(".writing")
    scratch.write_text(json.dumps(result, indent=1))
    scratch.rename(out)
    return result


def compare_means(
    a: Sequence[Outcomes], b: Sequence[Outcomes], evaluate: EvaluateConfig
) -> dict[str, Comparison]:
    """As `compare`, of each user's mean over several evaluations on either side, such as those of several seeds.

    Raises:
      ValueError: they were not all evaluated on the same users and targets.
    """
    first, sides = a[0], []
    for side in (a, b):
        values = []
        for one in side:
            if not (np.array_equal(one.user, first.user) and np.array_equal(one.target, first.target)):
                raise ValueError("a comparison needs evaluations on the same users and targets")
            values.append(metrics.per_user(one.above, one.tied, evaluate.cutoffs))
        sides.append({name: np.mean([each[name] for each in values], axis=0) for name in values[0]})
    return statistics.paired(*sides, evaluate.bootstrap)


def _reader(
    restored: saved.Saved, data: Examples, llm: LinkConfig | None, source: str
) -> Reader | StoredReader | None:
    """Of what is stored, or what the language model knew when the checkpoint was made, for a model that uses it."""
    coco = restored.recommender.coco
    if coco is None:
        return None
    if coco.config.source:
        return StoredReader(Stored(source or coco.config.source, data))
    link = LlmLink(llm or LinkConfig(**restored.config["llm"]), coco.config.knowledge_width)
    return Reader(link, restored.step)


def _write(
    data: Examples,
    ranks: Callable[[str], Outcomes],
    out: Path,
    evaluate: EvaluateConfig,
    about: dict[str, Any],
    explained: Callable[[Outcomes], list[dict[str, Any]]] | None = None,
) -> dict[str, Any]:
    result: dict[str, Any] = {**about, "protocol": _protocol(data)}
    with new_folder(out) as folder:
        for split in ("valid", "test"):
            found = ranks(split)
            result[split] = _summary(found, evaluate)
        pq.write_table(found.table(), folder / "per_user.parquet")
        (folder / "metrics.json").write_text(json.dumps(result, indent=1))
        names = ["metrics.json", "per_user.parquet"]
        if explained is not None:
            names.append(EXPLANATIONS)
            (folder / EXPLANATIONS).write_text(json.dumps(explained(found), indent=1))
        write_manifest(folder, {"files": [describe(folder / name, folder) for name in names]})
    return result


def _summary(found: Outcomes, evaluate: EvaluateConfig) -> dict[str, Any]:
    """Every metric's mean with its interval, and the number of users."""
    values = metrics.per_user(found.above, found.tied, evaluate.cutoffs)
    intervals = statistics.intervals(values, evaluate.bootstrap)
    return {name: dataclasses.asdict(interval) for name, interval in intervals.items()} | {"users": len(found.user)}


def _protocol(data: Examples) -> str:
    split = data.manifest["split"].replace("_", " ")
    return f"{split}, full ranking over {len(data.vocabulary.ids):,} items, seen items excluded, expected-rank ties"


def outcomes(folder: Path) -> Outcomes:
    """What an evaluation in ``folder`` kept of the test split.

    Raises:
      DataError: it is not whole.
    """
    read_manifest(folder)
    table = pq.read_table(folder / "per_user.parquet")
    return Outcomes(*(table[name].to_numpy(zero_copy_only=False) for name in ("user", "target", "above", "tied")))

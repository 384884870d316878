"""The evaluator beside published figures: ranking by popularity on Amazon Beauty and Toys: `antiphon bench protocol`.

S3-Rec's published PopRec row counts popularity over whole sequences, the test item included; counted without the
validation and test items the same ranking scores less. Both are computed here by the evaluator that ranks every
model. It takes ties at their expectation; the known figures were made with ties in the order of the item ids, so
that order is shown too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _data, _machine

KNOWN = {
    "amazon_beauty": {"whole": (0.0152, 0.0068), "training": (0.0115, 0.0055)},
    "amazon_toys": {"whole": (0.0113, 0.0061), "training": (0.0090, 0.0049)},
}
"""HR@10 and NDCG@10 by data set and by what popularity is counted over."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="antiphon bench protocol", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=_data.folder(), help="(%(default)s)")
    options = parser.parse_args(argv)
    result: dict[str, Any] = {"machine": _machine.describe()}
    for name, known in KNOWN.items():
        with tempfile.TemporaryDirectory() as folder:
            found = popularity(options.data / name, Path(folder))
        result[name] = {
            variant: {**found[variant], "known": known[variant], "equal": known[variant] in found[variant].values()}
            for variant in known
        }
    print(json.dumps(result))
    return 0


def popularity(source: Path, scratch: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """HR@10 and NDCG@10 on test, to four digits, of both ways to count popularity and both ways to take ties."""
    import pyarrow.parquet as pq

    from beam_jobs import ingest, materialize
    from beam_jobs.options import BeamConfig
    from feature_store import examples
    from feature_store.config import DataConfig, ExampleConfig, FeatureConfig
    from trainer import metrics
    from trainer.input import Examples, held_out
    from trainer.popularity import ItemPopularity
    from trainer.ranking import rank

    tables, features, folder = (scratch / name for name in ("tables", "features", "examples"))
    ingest.run(DataConfig(reader="amazon", path=str(source)), tables, BeamConfig())
    materialize.run(tables, None, features, FeatureConfig(), BeamConfig())
    examples.write(tables, features, folder, ExampleConfig(), FeatureConfig())
    data = Examples(folder)
    index = {item: i + 1 for i, item in enumerate(data.vocabulary.ids)}
    bought = pq.read_table(tables / "events.parquet", columns=["item_id"])["item_id"].to_pylist()
    whole = np.bincount([index[item] for item in bought], minlength=data.vocabulary.size)
    counts = {"whole": whole, "training": ItemPopularity.of_training(data).counts}
    numbers = np.array([0, *map(int, data.vocabulary.ids)])
    found = {}
    for variant, count in counts.items():
        place = np.empty(len(count))
        place[np.lexsort((numbers, -count))] = np.arange(len(count))
        scorers = {"ours": ItemPopularity(count), "ours_ties_by_id": ItemPopularity(-place)}
        found[variant] = {}
        for name, scorer in scorers.items():
            places = rank(held_out(data, "test", 1, 1024), scorer)
            values = metrics.per_user(places.above, places.tied, (10,))
            hits, gain = (round(float(values[metric].mean()), 4) for metric in ("recall@10", "ndcg@10"))
            found[variant][name] = (hits, gain)
    return found

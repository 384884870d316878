"""A folder of user knowledge whose vectors a test chooses, as `antiphon knowledge` would leave it."""

import pyarrow as pa

from feature_store import user_knowledge
from feature_store.examples import read_manifest, read_rows
from feature_store.splits import SPLITS


def write(folder, examples, tell, parts=2, lost=(), **described):
    """``tell(row, part)`` gives a vector, or None, for an example's user_id, label_time, history, target and split.

    Args:
        lost: (user, split) of examples that have no rows. described: what the manifest is to say in place of the truth.
    """
    rows = []
    for split in SPLITS:
        for row in read_rows(examples, split, ["user_id", "label_time", "history", "target"]).to_pylist():
            told = {**row, "split": split}
            rows += [{**told, "part": part, "vector": tell(told, part)} for part in range(parts)]
    rows = [row for row in rows if (row["user_id"], row["split"]) not in lost]
    rows.sort(key=lambda row: (row["user_id"], row["split"]))
    width = next(len(row["vector"]) for row in rows if row["vector"] is not None)
    kinds = {"label_time": pa.int64(), "part": pa.int64(), "vector": pa.list_(pa.float32())}
    schema = pa.schema([(n, kinds.get(n, pa.string())) for n in (*user_knowledge.KEYS, "vector")])
    made = {"model_id": "llm@1", "adapter_version": "base", "parts": parts, "width": width}
    told = {**made, "events": read_manifest(examples)["events"], **described}
    user_knowledge.write(folder, [pa.Table.from_pylist(rows, schema)], told)
    return folder

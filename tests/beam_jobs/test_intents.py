import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import intents as job
from beam_jobs.options import BeamConfig
from feature_store import folders, intents
from llm_offline.config import EmbedConfig
from llm_offline.embedder import Embedder

CONFIG = EmbedConfig(layers=1)


def base(folder, *titles):
    rows = [{"intent_id": title.lower(), "title": title, "description": "", "examples": ["Why"], "category": ""}
            for title in titles]  # fmt: skip
    intents.write(folder, pa.Table.from_pylist(rows, intents.SCHEMA), [], 0.0, {})
    return folder


def test_every_intent_has_the_vector_of_its_text_and_none_is_computed_twice(tmp_path):
    out = tmp_path / "intent_text"
    assert job.run(base(tmp_path / "one", "Pay", "Track"), out, CONFIG, BeamConfig())["computed"] == 2
    summary = job.run(base(tmp_path / "two", "Pay", "Return"), out, CONFIG, BeamConfig())
    assert (summary["intents"], summary["computed"], summary["reused"]) == (2, 1, 1)
    manifest = folders.read_manifest_of(job.KIND, out, "texts of intents")
    rows = pa.concat_tables([pq.read_table(out / part["file"]) for part in manifest["files"]])
    assert rows["intent_id"].to_pylist() == ["pay", "return"]
    expected = Embedder(CONFIG).encode(["Pay. Why.", "Return. Why."])
    np.testing.assert_allclose(np.stack(rows["vector"].to_pylist()), expected, atol=1e-5)

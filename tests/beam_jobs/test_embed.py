import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs import text_embedding
from beam_jobs.embed import run
from beam_jobs.options import BeamConfig
from feature_store import folders
from feature_store.errors import DataError
from llm_offline.config import EmbedConfig
from llm_offline.embedder import Embedder

CONFIG = EmbedConfig(layers=1)


def vectors(out):
    """{item id: vector} and the other columns, of a knowledge folder that is whole."""
    manifest = folders.read_manifest(out)
    table = pa.concat_tables([pq.read_table(out / part["file"]) for part in manifest["files"]])
    assert table.num_rows == manifest["rows"]
    return dict(zip(table["item_id"].to_pylist(), table["vector"].to_pylist(), strict=True)), table


def test_every_item_with_text_has_its_vector(make_tables, tmp_path):
    out = tmp_path / "knowledge" / "item_text"
    summary = run(make_tables(), out, CONFIG, BeamConfig())
    found, table = vectors(out)
    assert list(found) == ["i1", "i2", "i4", "i5"]  # i3 has neither title nor category
    texts = ["Shea & honey soap. Bath, Soap", "Hair"]
    expected = Embedder(CONFIG).encode(texts)
    np.testing.assert_allclose([found["i1"], found["i2"]], expected, atol=1e-5)
    assert found["i1"] == found["i4"]
    assert table.schema.field("vector").type == pa.list_(pa.float32())
    assert table.schema.names == ["item_id", "content_hash", "model_id", "adapter_version", "vector"]
    assert set(table["adapter_version"].to_pylist()) == {"base"}
    assert json.loads(json.dumps(summary)) == summary
    assert summary.pop("seconds") > 0
    assert summary == {
        "items": 5,
        "without_text": 1,
        "computed": 3,
        "reused": 0,
        "width": 384,
        "model_id": table["model_id"][0].as_py(),
    }
    assert [path.name for path in out.parent.iterdir()] == ["item_text"]


def test_nothing_is_computed_twice(make_tables, tmp_path, monkeypatch):
    out = tmp_path / "item_text"
    run(make_tables(), out, CONFIG, BeamConfig())
    before, _ = vectors(out)
    changed = [("i1", "Shea soap", []), ("i6", "", ["Hair"]), ("i5", "Comb", [])]
    summary = run(make_tables(changed, "changed"), out, CONFIG, BeamConfig())
    assert (summary["computed"], summary["reused"]) == (2, 1)
    after, _ = vectors(out)
    assert list(after) == ["i1", "i5", "i6"]  # what is no item any more is gone
    assert after["i6"] == before["i2"]  # the text "Hair"

    monkeypatch.setattr(text_embedding, "Embedder", None)  # the model is not even loaded
    summary = run(tmp_path / "changed", out, CONFIG, BeamConfig())
    assert (summary["computed"], summary["reused"]) == (0, 3)


def test_another_models_vectors_are_not_mixed_in(make_tables, tmp_path):
    out, tables = tmp_path / "item_text", make_tables()
    run(tables, out, CONFIG, BeamConfig())
    summary = run(tables, out, replace(CONFIG, pooling="last"), BeamConfig())
    assert (summary["computed"], summary["reused"]) == (3, 0)
    _, table = vectors(out)
    assert set(table["model_id"].to_pylist()) == {summary["model_id"]}


def test_a_run_that_was_stopped_goes_on_where_it_was(make_tables, tmp_path, monkeypatch):
    out, tables = tmp_path / "item_text", make_tables()
    encode = Embedder.encode

    def stop_at_the_long_text(self, texts):
        if any("brush" in text for text in texts):
            raise KeyboardInterrupt("stopped")
        return encode(self, texts)

    with monkeypatch.context() as patch, pytest.raises(BaseException, match="stopped"):
        patch.setattr(Embedder, "encode", stop_at_the_long_text)
        run(tables, out, CONFIG, BeamConfig())
    assert not out.exists()
    summary = run(tables, out, CONFIG, BeamConfig())
    assert summary["computed"] < 3
    assert summary["computed"] + summary["reused"] == 3
    assert list(vectors(out)[0]) == ["i1", "i2", "i4", "i5"]


def test_the_same_items_give_the_same_bytes(make_tables, tmp_path):
    tables = make_tables()
    for name in ("a", "b"):
        run(tables, tmp_path / name, CONFIG, BeamConfig())
    one, two = ((tmp_path / name / "00000.parquet").read_bytes() for name in ("a", "b"))
    assert one == two


def test_errors_come_before_any_work(make_tables, tmp_path):
    tables, out = make_tables(), tmp_path / "item_text"
    with pytest.raises(ValueError, match=r"template: each field .* received 'brand'"):
        run(tables, out, EmbedConfig(template="{brand}"), BeamConfig())
    with pytest.raises(ValueError, match="embed.layers must be at most 6"):
        run(tables, out, EmbedConfig(layers=9), BeamConfig())
    with pytest.raises(DataError, match="was not written to the end"):
        run(tmp_path, out, CONFIG, BeamConfig())
    assert not out.exists()


def test_items_without_any_text_are_an_error(make_tables, tmp_path):
    with pytest.raises(DataError, match="no item has text"):
        run(make_tables([("i1", "", [])]), tmp_path / "item_text", CONFIG, BeamConfig())
    assert not (tmp_path / "item_text").exists()

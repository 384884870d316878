import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from feature_store import failures
from feature_store.examples import read_rows
from feature_store.selected_prompts import SelectedPrompts, rows_of
from trainer import prompting
from trainer.chief import build
from trainer.config import CocoConfig, ModelConfig, TrainConfig
from trainer.input import Examples
from trainer.models.coco import Knowledge

COCO = CocoConfig(
    enabled=True, refresh=True, codes=8, selected=3, threshold=0.1, gate="scaled", width=12, knowledge_width=4,
    scale=0.3,
)  # fmt: skip
TRAIN = TrainConfig(batch=16, model=ModelConfig(d=8, blocks=1, max_length=6), coco=COCO)


@pytest.fixture(scope="module")
def first(shop, tmp_path_factory):
    out = tmp_path_factory.mktemp("prompts") / "0"
    return prompting.run(shop / "examples", None, None, out, TRAIN, 0), out


def rows(folder):
    return pa.concat_tables(pq.read_table(file) for file in rows_of(folder)).combine_chunks()


def test_every_example_has_the_prompts_that_the_language_model_would_be_asked_with(first, shop):
    summary, out = first
    examples = shop / "examples"
    asked, table = SelectedPrompts(out), rows(out)
    wanted = [
        (row["user_id"], split, row["label_time"], row["history"][-6:])
        for split in ("train", "valid", "test")
        for row in read_rows(examples, split, ["user_id", "label_time", "history"]).to_pylist()
    ]
    assert summary["rows"] == summary["fresh_rows"] == len(wanted)
    ids = ["", *Examples(examples).vocabulary.ids]
    found = [(*key, [ids[item] for item in row["history"]]) for row in table.to_pylist()
             for key in [(row["user_id"], row["split"], row["label_time"])]]  # fmt: skip
    assert sorted(found) == sorted(wanted)  # in training too the history ends before the last target
    prompts, mask, history = asked.vectors(table)
    assert mask.shape[1] == 5 and 0 < mask[:, 2:].mean() < 1
    assert summary["selected"] == pytest.approx(mask[:, 2:].sum(axis=1).mean())
    recommender, told = build(TRAIN, Examples(examples), None), {}

    def know(selection, _):
        told["selection"] = selection
        return Knowledge(tf.zeros((len(history), 5, 4)), selection.mask)

    wide = np.pad(history, ((0, 0), (6 - history.shape[1], 0)))
    recommender.embed(tf.constant(wide), recommender.pull(), know)
    np.testing.assert_array_equal(mask, told["selection"].mask)
    np.testing.assert_allclose(prompts, told["selection"].prompts, rtol=0, atol=1e-6)


def test_in_a_later_round_the_users_that_were_failed_are_selected_for_anew(first, shop, tmp_path):
    _, out = first
    chosen = sorted(set(rows(out)["user_id"].to_pylist()))[:2]
    log = failures.table(chosen, [1, 1], 1, np.arange(2), np.zeros((2, 5, 4), np.float32))
    failures.write(tmp_path / "log", [log], {})
    summary = prompting.run(shop / "examples", None, None, tmp_path / "1", TRAIN, 1, out, tmp_path / "log")
    assert summary["fresh_users"] == 2 and summary["rows"] == len(rows(out))
    for row in rows(tmp_path / "1").to_pylist():
        assert row["round"] == (row["user_id"] in chosen)

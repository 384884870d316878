import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from coco_chain import COCO, HISTORY, TARGETS, Chain, Reads, adapter

from beam_jobs import refresh
from beam_jobs.options import BeamConfig
from feature_store import failures, folders, selected_prompts
from llm_offline.config import LlmConfig
from llm_offline.knowledge import logged
from llm_offline.knowledge.state import Checkpoints
from llm_offline.knowledge.titles import read_titles
from trainer import collaboration
from trainer.collaboration import Collaboration, StoredSource
from trainer.judging import Watched
from trainer.models.coco import Knowledge

USERS, HELPED = [f"u{n}" for n in range(4)], np.array([True, False, True, False])

pytestmark = pytest.mark.usefixtures("doubles")


def write_prompts(out, chain):
    """The prompts that a chain's users are given."""
    told = {}

    class Listening(StoredSource):
        def knowledge(self, step, selection, history, stored, asked=None):
            told["selection"] = selection
            h = tf.zeros((*selection.mask.shape, 4), tf.float64)
            return Knowledge(h, selection.mask), None

    chain.loss(1, source=Listening())
    found, shared = told["selection"], COCO.shared
    rows = [
        {
            "user_id": user, "split": "train", "label_time": 1,
            "history": [item for item in HISTORY[n].numpy().tolist() if item],
            "codes": found.index[n][found.mask[n, shared:]].numpy(),
            "weights": found.weights[n][found.mask[n, shared:]].numpy(),
        }
        for n, user in enumerate(USERS)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, selected_prompts.SCHEMA)
    described = {"parts": shared + COCO.selected, "events": ""}
    selected_prompts.write(out, [table], *chain.coco.codebook.book(), 0, described)


def read_knowledge(out):
    """(4, m, d) and (4, m) of a folder that the job left."""
    files = [out / part["file"] for part in folders.read_manifest(out)["files"]]
    rows = pa.concat_tables(pq.read_table(file) for file in files)  # sorted by user and part
    vectors = np.array([vector or [0.0] * 4 for vector in rows["vector"].to_pylist()])
    there = np.array([vector is not None for vector in rows["vector"].to_pylist()])
    return Knowledge(tf.constant(vectors.reshape(4, -1, 4)), tf.constant(there.reshape(4, -1)))


@pytest.mark.parametrize("elimination", ["adapter", "aligned"])
def test_a_round_of_one_batch_teaches_what_a_step_over_the_link_does(
    side, shop, tiny_llm, tmp_path, monkeypatch, elimination
):
    """From the same recommender and adapter, in float64 but for what lies in files."""
    monkeypatch.setattr(collaboration, "helped", lambda *_: tf.constant(HELPED))
    chain = Chain(side, replace(COCO, elimination=elimination))
    chain.step(1)  # LoRA's B is no longer 0
    before = adapter(side, chain, 1)
    adapters = tmp_path / "llm"
    shutil.copytree(side.folder / "llm" / "ckpt-1", adapters / "ckpt-1")
    chain.step(2)
    over_the_link = adapter(side, chain, 2)

    llm = LlmConfig(str(tiny_llm), dtype="float64", max_tokens=24, d=4, rank=2, dropout=0.0, optimizer="sgd",
                    learning_rate=0.1, decoupling_learning_rate=0.1)  # fmt: skip
    tables, vocabulary = shop / "tables", shop / "examples" / "vocabulary" / "item.txt"
    write_prompts(tmp_path / "prompts", chain)
    told = refresh.run(
        tables, vocabulary, tmp_path / "prompts", adapters, 1, tmp_path / "users", llm, BeamConfig()
    )
    with tf.GradientTape() as tape:
        source = Watched(tape)
        objective = Collaboration(chain.recommender, chain.prediction, source)
        batch = objective.batch(HISTORY, TARGETS, tf.stack([0, 2]), read_knowledge(tmp_path / "users"))
        loss = objective.loss(Reads(2, None), batch)[0]
    gradients, helped = tape.gradient(loss, [source.h, source.gate])
    np.testing.assert_array_equal(helped, HELPED)
    lost = np.flatnonzero(~HELPED)
    log = [failures.table([USERS[n] for n in lost], [1] * 2, 1, lost, gradients.numpy()[lost])]
    named = {name: told[name] for name in ("model_id", "adapter_version")}
    failures.write(tmp_path / "log", log, {"batches": 1, **named})
    found = logged.update(read_titles(tables, vocabulary), adapters, 1, tmp_path / "log", tmp_path / "prompts", llm)

    assert (found["step"], found["version"], found["users"]) == (2, 2, 2)
    after = Checkpoints(adapters).weights(2)
    assert json.loads((side.folder / "llm" / "ckpt-2" / "MANIFEST.json").read_text())["version"] == 2
    for name, value in over_the_link.items():
        if "lora" in name or elimination == "aligned":  # else decoupling learns from every user over the link
            np.testing.assert_allclose(after[name], value, rtol=0, atol=1e-6, err_msg=name)
            assert np.abs(value - before[name]).max() > 1e-5, name

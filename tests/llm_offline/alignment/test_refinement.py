"""From folders to adapters, over the tiny chatbot."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from feature_store import alignment_tables, folders
from feature_store.errors import DataError
from feature_store.session_requests import place_of
from llm_offline import adapter
from llm_offline.alignment import refinement
from llm_offline.alignment.losses import cosines, info_nce
from llm_offline.alignment.objectives import Targets
from llm_offline.alignment.reasoner import Reasoner
from llm_offline.alignment_config import TuneConfig

QUERIES = {"late": "where is it", "refund": "my money", "return": "send it back", "pay": "card declined"}
TUNE = TuneConfig(epochs=8, batch=10, learning_rate=1e-2, neftune=0.5, rank=4, dropout=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, chat_sessions):
    """Candidates, and what Best-of-N made of them: each session's own query is better than the next intent's."""
    out, intents = tmp_path_factory.mktemp("align"), list(QUERIES)
    told = alignment_tables.read(chat_sessions, "session_texts", "sessions").to_pylist()[:10]
    written, samples, pairs = [], [], []
    for row in told:
        [intent] = row["intents"]
        wrong = intents[(intents.index(intent) + 1) % 4]
        for teacher, query in (("a", QUERIES[intent]), ("b", QUERIES[wrong])):
            written.append({"session_id": row["session_id"], "candidate": f"{teacher}/0", "teacher": teacher,
                            "own": False, "query": query, "words": 3, "outcome": "short", "answer": query,
                            "source": teacher, "asked": row["session_id"] + teacher})  # fmt: skip
        samples.append({"session_id": row["session_id"], "candidate": "a/0", "query": QUERIES[intent],
                        "intents": [intent]})  # fmt: skip
        pairs.append({"session_id": row["session_id"], "chosen": "a/0", "rejected": "b/0", "by": "ndcg"})
    alignment_tables.write(out / "candidates", "candidates", {"candidates": pa.Table.from_pylist(written)}, {})
    tables = {"samples": pa.Table.from_pylist(samples), "pairs": pa.Table.from_pylist(pairs)}
    alignment_tables.write(out / "best", "best_of_n", tables, {})
    return out


@pytest.fixture
def tuned(folder, chat_sessions, settings):
    def run(objective, start=None, **changes):
        reasoner = settings(**changes)
        vectors = folder / "vectors"
        if objective == "cl" and not vectors.exists():
            _write_vectors(folder, reasoner)
        out = folder / objective
        parts = (chat_sessions, folder / "candidates", folder / "best", vectors if objective == "cl" else None)
        return refinement.run(objective, *parts, out, reasoner, TUNE, start), out

    return run


def _write_vectors(folder, reasoner):
    rows = alignment_tables.read(folder / "candidates", "candidates", "candidates").to_pylist()
    vectors = Reasoner(reasoner).of_queries([row["query"] for row in rows])
    keys = {key: [row[key] for row in rows] for key in ("session_id", "candidate")}
    _save(folder / "vectors", "candidate_vectors", keys | {"vector": list(vectors)})


def _save(out, kind, columns):
    columns["vector"] = pa.array(columns["vector"], pa.list_(pa.float32()))
    with folders.new_folder(out) as new:
        pq.write_table(pa.table(columns), new / "0.parquet")
        folders.write_manifest(new, {"kind": kind, "files": [folders.describe(new / "0.parquet", new)]})
    return out


def test_sft_then_contrast(tuned, folder, chat_sessions, settings):
    first, sft = tuned("sft")
    assert first["items"] == 10 and first["last"]["loss"] < first["first"]["loss"]
    second, out = tuned("cl", sft)
    assert second["parent"] == first["adapter_version"] == adapter.version_of(sft)
    assert second["last"]["contrastive"] < second["first"]["contrastive"]
    manifest = adapter.read(out)
    made_of = {"sessions": chat_sessions, "candidates": folder / "candidates", "best_of_n": folder / "best",
               "vectors": folder / "vectors"}  # fmt: skip
    assert manifest["made_of"] == {name: folders.version(path) for name, path in made_of.items()}
    # Merged into the model, it does what it was tuned to do: the states are nearer to the chosen queries' vectors.
    told = alignment_tables.read(chat_sessions, "session_texts", "sessions").to_pylist()[:10]
    wanted = torch.from_numpy(Reasoner(settings()).of_queries([QUERIES[row["intents"][0]] for row in told]))
    own, hidden = torch.arange(10), torch.from_numpy(np.equal.outer(np.arange(10) % 4, np.arange(10) % 4))
    losses = []
    for which in (sft, out):
        states = torch.from_numpy(Reasoner(settings(), which).of_sessions([row["text"] for row in told])[0])
        losses.append(info_nce(cosines(states, wanted, own, hidden), own, 0.05).mean().item())
    assert losses[1] < losses[0]


def test_standardised_targets_and_their_states_are_in_deviations_from_their_own_means(chat_sessions, tmp_path):
    told = alignment_tables.read(chat_sessions, "session_texts", "sessions").to_pylist()
    names = [row["session_id"] for row in sorted(told, key=lambda row: row["split"] == "test")]  # ten to train on first
    vectors = [[1.0, 7.0]] * 5 + [[3.0, 7.0]] * 5 + [[1000.0, 9.0]] * 2  # mean 2 and deviation 1; none of the second
    asked = _save(tmp_path / "asked", "query_vectors", {"session_id": names, "vector": vectors})
    raw = Targets(torch.tensor([[0.0, 5.0], [4.0, 5.0]]), [frozenset("a"), frozenset("b")])
    every = [[0.0, 5.0], [4.0, 5.0], [1.0, 5.0], [7.0, 5.0]]  # also those that were not chosen: mean 3, deviation √7.5
    keys = {"session_id": ["a", "b", "a", "b"], "candidate": ["x/0", "x/0", "y/0", "y/0"]}
    written = _save(tmp_path / "written", "candidate_vectors", keys | {"vector": every})
    found = refinement.standardised(raw, chat_sessions, asked, written)
    torch.testing.assert_close(found.vectors, torch.tensor([[-3 / 7.5**0.5, 0.0], [1 / 7.5**0.5, 0.0]]))
    assert found.intents == raw.intents
    assert found.place(torch.tensor([[2.5, 8.0]])).tolist() == [[0.5, 1.0]]
    # A state at its target is where the ranker saw the candidate with `align.place`.
    (theirs, wide), (ours, width) = place_of(np.array(every)), place_of(np.array(vectors[:10]))
    placed = torch.from_numpy((np.array(every[:2]) - theirs) / wide * width + ours)
    torch.testing.assert_close(found.place(placed).float(), found.vectors)
    of_test = _save(tmp_path / "test", "query_vectors", {"session_id": names[10:], "vector": vectors[10:]})
    with pytest.raises(DataError, match="has no vector of a session to train on"):
        refinement.standardised(raw, chat_sessions, of_test, written)


def test_dpo_raises_the_chosen_over_the_rejected(tuned, folder):
    _, sft = tuned("sft")
    summary, _ = tuned("dpo", sft)
    assert summary["first"]["loss"] == pytest.approx(np.log(2), abs=0.2)
    assert summary["last"]["loss"] < summary["first"]["loss"]
    assert summary["last"]["preferred"] > summary["first"]["preferred"]


def test_what_cannot_be_tuned_is_refused(tuned, folder, tmp_path, chat_sessions, settings):
    with pytest.raises(ValueError, match="objective must be one of"):
        tuned("rl")
    with pytest.raises(ValueError, match="reasoner.vector must be 'states' with refine: cl, received 'query'"):
        tuned("cl", vector="query")
    with pytest.raises(ValueError, match="reasoner.pooling must be 'last' or 'mean' to be tuned, received 'eos'"):
        tuned("sft", pooling="eos")
    schemas = alignment_tables.TABLES["best_of_n"]
    none = {name: pa.Table.from_pylist([], schema) for name, schema in schemas.items()}
    alignment_tables.write(tmp_path / "none", "best_of_n", none, {})
    with pytest.raises(DataError, match="there is nothing for sft to learn from"):
        refinement.run("sft", chat_sessions, folder / "candidates", tmp_path / "none", None, tmp_path / "a", settings(),
                       TUNE, None)  # fmt: skip

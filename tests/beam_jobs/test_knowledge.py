import json
from dataclasses import replace

import numpy as np
import pytest
import small_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written import rows_of

from beam_jobs import text_embedding, written_knowledge
from beam_jobs.knowledge import run, user_rows
from beam_jobs.options import BeamConfig
from feature_store import examples, folders, user_knowledge
from feature_store.errors import DataError
from llm_offline.config import AnswerEncoderConfig, GenerateConfig, ReaderConfig, SourceConfig
from llm_offline.embedder import Embedder
from llm_offline.generator import Generator
from llm_offline.knowledge.sources import Writer

LOG = {"ann": ["1", "2", "3", "4"], "bob": ["1", "2", "4", "3"], "cy": ["5", "5", "1"]}
READER = ReaderConfig(model="minilm", layers=1, pooling="mean")
TEMPLATES = SourceConfig(templates=("general", "age"), reader=READER)


def title(item):
    return "" if item == "5" else f"title-{item}-end"


@pytest.fixture
def make_run(tmp_path):
    """Writes the tables and the examples of a log: the items of each user in the order of time."""

    def make(log=LOG, name="run", length=3, **config):
        return small_run.write(tmp_path / name, log, title, length, {"ann": 30}, **config)

    return make


def test_every_example_has_a_vector_for_each_template(make_run, tmp_path):
    tables, made = make_run()
    out = tmp_path / "knowledge"
    summary = run(tables, made, out, TEMPLATES, BeamConfig())
    rows = rows_of(out / "users")
    keys = [(row["user_id"], row["split"], row["part"]) for row in rows]
    assert keys == [(user, split, part) for user in LOG for split in ("test", "train", "valid") for part in (0, 1)
                    if (user, split) != ("cy", "train")]  # fmt: skip
    told = {(row["user_id"], row["split"]): row["text"] for row in rows if row["part"] == 1}
    assert "first: title-1-end; title-2-end; title-3-end. Keep" in told["ann", "test"]
    assert "Age in years: 30." in told["ann", "test"]
    assert "first: title-1-end; title-2-end; title-4-end. In short" in told["bob", "test"]
    assert told["cy", "test"] == told["cy", "valid"] == ""
    texts = {row["text"] for row in rows} - {""}
    assert json.loads(json.dumps(summary)) == summary
    assert {name: summary["users"][name] for name in ("rows", "computed", "reused", "width")} == {
        "rows": 16, "computed": len(texts), "reused": 0, "width": 384,
    }  # fmt: skip
    assert len(texts) == 10  # ann and bob choose alike up to their validation targets; their ages differ
    found = user_knowledge.of_split(out / "users", made, "valid", summary["users"]["model_id"], ["base"])
    order = examples.read_rows(made, "valid", ["user_id"])["user_id"].to_pylist()
    assert found.mask.tolist() == [[user != "cy"] * 2 for user in order]
    expected = Embedder(READER).encode([told["ann", "valid"]])[0]
    np.testing.assert_allclose(found.vectors[order.index("ann"), 1], expected, atol=1e-5)
    assert (found.vectors[order.index("cy")] == 0).all()


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=st.lists(st.integers(1, 7), min_size=1, max_size=4).filter(lambda counts: max(counts) > 1),
    windows=st.sampled_from(["last", "all"]),
    split=st.sampled_from(["leave_one_out", "global_time"]),
    kind=st.sampled_from(["template", "kar"]),
    once=st.booleans(),
)
def test_no_text_holds_a_title_of_the_target_or_of_what_came_later(make_run, counts, windows, split, kind, once):
    # Every event has an item of its own, whose title marks it.
    log = {f"u{user}": [f"{user}.{event}" for event in range(count)] for user, count in enumerate(counts)}
    try:
        tables, made = make_run(log, windows=windows, split=split)
    except DataError as error:
        assert "no training row" in str(error)
        return
    source = SourceConfig(kind=kind, templates=("general", "category"), once=once)
    seen, splits = 0, examples.read_manifest(made)["splits"]
    events = [target.split(".") for name in splits for target in examples.read_rows(made, name, ["target"])["target"]
              .to_pylist()]  # fmt: skip
    earliest = {user: min(int(event) for other, event in events if other == user) for user, _ in events}
    for name, shards in splits.items():
        for shard in range(len(shards["shards"])):
            targets = examples.read_rows(made, name, ["user_id", "target", "label_time"], shard).to_pylist()
            first = {(row["user_id"], row["label_time"]): row["target"] for row in targets}
            for row in user_rows((name, shard), tables, made, source).to_pylist():
                user, event = first[row["user_id"], row["label_time"]].split(".")
                told = [item for item in log[f"u{user}"] if title(item) in row["text"]]
                end = earliest[user] if once else int(event)
                assert end <= int(event) and told == log[f"u{user}"][max(0, end - 3) : end]
                others = [item for items in log.values() for item in items if item not in log[f"u{user}"]]
                assert not any(title(item) in row["text"] for item in others)
                seen += 1
    assert seen


def test_nothing_is_computed_twice_and_nothing_stale_is_mixed_in(make_run, tmp_path, monkeypatch):
    tables, made = make_run()
    out = tmp_path / "knowledge"
    first = run(tables, made, out, TEMPLATES, BeamConfig())["users"]
    longer = make_run({**LOG, "ann": [*LOG["ann"], "6"]}, "longer")
    second = run(*longer, out, TEMPLATES, BeamConfig())["users"]
    assert (second["computed"], second["reused"]) == (2, 9)  # ann's newest history, in two templates
    with pytest.raises(DataError, match="made from other events"):
        user_knowledge.of_split(out / "users", made, "test")
    with pytest.raises(DataError, match="made from other tables"):
        run(tables, longer[1], out, TEMPLATES, BeamConfig())
    with monkeypatch.context() as patch:
        patch.setattr(text_embedding, "Embedder", None)  # the model is not even loaded
        assert run(*longer, out, TEMPLATES, BeamConfig())["users"]["computed"] == 0
    other = replace(TEMPLATES, reader=replace(READER, pooling="last"))
    third = run(*longer, out, other, BeamConfig())["users"]
    assert (third["computed"], third["reused"]) == (11, 0)
    with pytest.raises(DataError, match="is stale: it must be of"):
        user_knowledge.of_split(out / "users", longer[1], "test", first["model_id"])


@pytest.fixture
def written(tiny_llm):
    """A random language model: what it writes makes no sense, and is replaced or not as it falls."""
    generate = GenerateConfig(str(tiny_llm), max_new_tokens=6)
    return SourceConfig(kind="r4ec", noun="films", generate=generate, encoder=AnswerEncoderConfig(layers=1))


def test_a_model_that_writes_tells_of_users_and_items_and_goes_on_after_a_stop(
    make_run, tmp_path, monkeypatch, written
):
    tables, made = make_run()
    out = tmp_path / "knowledge"
    write, batches = Writer.write, []

    def stop_at_the_second_batch(self, facts):
        if batches:
            raise KeyboardInterrupt("stopped")
        batches.append(list(facts))
        return write(self, facts)

    monkeypatch.setattr("beam_jobs.knowledge._WRITTEN_TEXTS", 2)
    with monkeypatch.context() as patch, pytest.raises(BaseException, match="stopped"):
        patch.setattr(Writer, "write", stop_at_the_second_batch)
        run(tables, made, out, written, BeamConfig())
    assert not out.joinpath("users").exists()
    summary = run(tables, made, out, written, BeamConfig())
    users, items = rows_of(out / "users"), rows_of(out / "items")
    texts = {row["text"] for row in users} - {""}
    assert len(batches[0]) == 2
    assert (summary["users"]["computed"], summary["users"]["reused"]) == (len(texts) - 2, 2)
    assert sum(summary["users"]["outcome"].values()) == len(texts) == 4
    assert sum(summary["items"]["rounds"].values()) == 5
    assert {row["item_id"]: row["text"] for row in items} == {
        "1": "title-1-end. Kind", "2": "title-2-end. Kind", "3": "title-3-end. Kind", "4": "title-4-end. Kind",
        "5": "Kind",
    }  # fmt: skip
    for row in users:
        assert (row["vector"] is None) == (row["answer"] is None) == (row["text"] == "")
        assert row["outcome"] in (None, "first", "retried", "fallback")
    assert folders.read_manifest(out / "items")["kind"] == "item_text"
    assert user_knowledge.of_split(out / "users", made, "test").vectors.shape == (3, 1, 384)
    monkeypatch.setattr(written_knowledge, "Writer", None)
    again = run(tables, made, out, written, BeamConfig())
    assert (again["users"]["computed"], again["items"]["computed"]) == (0, 0)


def test_r4ec_takes_the_first_answers_from_kar_of_the_same_model_and_wording(make_run, tmp_path, monkeypatch, written):
    tables, made = make_run()
    for name, noun in (("kar", "films"), ("books", "books")):
        run(tables, made, tmp_path / name, replace(written, kind="kar", noun=noun), BeamConfig())
    asked, answer = [], Generator.answer

    def spied(self, prompts):
        asked.extend(prompt.text for prompt in prompts)
        return answer(self, prompts)

    monkeypatch.setattr(Generator, "answer", spied)
    run(tables, made, tmp_path / "r4ec", written, BeamConfig())
    assert not [text for text in asked if "Chosen films" in text or "what is known about it" in text]
    for folder in ("users", "items"):
        begun = {row["text"]: row["answer"] for row in rows_of(tmp_path / "kar" / folder)}
        kept = [row for row in rows_of(tmp_path / "r4ec" / folder) if row["rounds"] == 0]
        assert kept and all(row["answer"] == begun[row["text"]] for row in kept)


def test_errors_come_before_any_work(make_run, tmp_path):
    tables, made = make_run()
    for changes, told in (
        ({"templates": ("{titles} {gender}",)}, "received 'gender'"),
        ({"kind": "kar", "item_text": "{brand}"}, "received 'brand'"),
    ):
        with pytest.raises(ValueError, match=told):
            run(tables, made, tmp_path / "knowledge", SourceConfig(**changes), BeamConfig())
    assert not (tmp_path / "knowledge").exists()

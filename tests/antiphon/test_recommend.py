import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import told_users

from antiphon import recommend, work
from antiphon.config import dump, load
from antiphon.recommend import show
from feature_store import knowledge_shards, knowledge_view, user_knowledge
from feature_store.examples import read_rows
from llm_offline.config import SourceConfig
from trainer import saved
from trainer.config import CocoConfig, ModelConfig, OptimizerConfig, TrainConfig
from trainer.input import Examples
from trainer.models.coco import Knowledge


def item(title: str) -> dict:
    return {"item_id": title.lower(), "title": title, "score": 1.0}


def test_what_was_seen_stands_newest_first_beside_what_is_recommended(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    answer = {"user_id": "7", "events": 30, "history": [item("Old"), item("New")], "items": [item("Next")]}
    assert show(answer).splitlines() == [
        "User 7 (30 events)",
        f"    {'last seen':<24}  recommended",
        f"    {'New':<24}   1. Next",
        "    Old",
    ]


def test_a_title_too_long_or_with_newlines_is_one_short_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    answer = {"user_id": "", "events": 1, "history": [item("A very\nlong title of an item")], "items": []}
    assert show(answer).splitlines()[2] == "    A very long title of an…"


@pytest.fixture(scope="module")
def run(repository, tmp_path_factory):
    """An exported model that was trained with stored knowledge, which every second user has none of."""
    runs = tmp_path_factory.mktemp("runs")
    settings = [f"runs={runs}", f"data.path={repository / 'configs' / 'example_tables'}"]
    shop = load(repository / "configs" / "tiny.yaml", settings)
    coco = CocoConfig(enabled=True, source="told", fusion="mlp")
    model, optimizer = ModelConfig(d=8, blocks=1, max_length=10, dropout=0.1), OptimizerConfig(learning_rate=0.01)
    train = TrainConfig(batch=32, epochs=2, steps_per_schedule=1, model=model, optimizer=optimizer, coco=coco)
    config = replace(shop, variants={"known": train}, sources={"told": SourceConfig()})
    for stage in (work.ingest, work.features, work.examples):
        stage(config)
    source, examples = work.source_folder(config, "told"), config.folder / "examples"
    told_users.write(source / "users", examples, tell)
    knowledge_shards.write(source / "users", examples, source / knowledge_shards.FOLDER)
    knowledge_view.write(source / "users", source / knowledge_view.FOLDER, config.features.online, "told")
    work.train("known")(config)
    work.export(config)
    return config


def tell(row, part):
    number = sum(map(ord, row["user_id"]))
    return [row["label_time"] % 9, number, part + 1] if number % 2 else None


def test_the_server_is_told_what_the_feature_store_knows_of_a_user(run):
    """Of a user without any, the answer is that of the behaviour alone."""
    recommend.sample(run)
    answers = json.loads((run.folder / "recommendations.json").read_text())["users"]
    data = Examples(run.folder / "examples")
    recommender = saved.load(run.folder / "models" / "known", data).recommender
    place = {item: index for index, item in enumerate(data.vocabulary.ids, 1)}
    users = read_rows(data.folder, "test", ["user_id"])["user_id"].to_pylist()
    told = user_knowledge.of_split(work.source_folder(run, "told") / "users", data.folder, "test")
    vectors, seen = recommender.pull(), set()
    for answer in answers:
        ids = [place[item["item_id"]] for item in answer["history"]][-10:]
        history, row = np.array([[0] * (10 - len(ids)) + ids], np.int32), users.index(answer["user_id"])
        known = Knowledge(*(tf.constant(part[row : row + 1]) for part in (told.vectors, told.mask)))
        alone = recommender.scores(history, vectors).numpy()[0]
        expected = recommender.scores(history, vectors, lambda *_, known=known: known).numpy()[0]
        items = [place[item["item_id"]] for item in answer["items"]]
        np.testing.assert_allclose([i["score"] for i in answer["items"]], expected[items], rtol=1e-3, atol=1e-4)
        there = bool(told.mask[row].any())
        assert (np.abs(expected - alone).max() > 1e-3) == there
        seen.add(there)
    assert seen == {True, False}


def test_knowledge_of_another_adapter_is_not_sent(run):
    chosen, source = work.chosen(run), work.source_folder(run, "told")
    users = read_rows(run.folder / "examples", "test", ["user_id"])["user_id"].to_pylist()
    vectors, mask = recommend._known(run, chosen, users)
    assert mask.any() and vectors.shape == (len(users), 2, 3)
    again = told_users.write(source / "refreshed", run.folder / "examples", tell, adapter_version="7")
    knowledge_view.write(again, source / knowledge_view.FOLDER, run.features.online, "told")
    assert not recommend._known(run, chosen, users)[1].any()


def test_a_language_model_that_was_trained_along_tells_of_users_once_for_serving_to_look_up(
    repository, tiny_llm, tmp_path
):
    small = [f"variants.live.coco.{name}={value}" for name, value in
             {"enabled": "true", "codes": 8, "selected": 2, "threshold": 0.2}.items()]  # fmt: skip
    small += [f"llm.{field}" for field in (f"model={tiny_llm}", "d=4", "rank=2", "max_tokens=24")]
    small += [f"runs={tmp_path}", f"data.path={repository / 'configs' / 'example_tables'}", "train.epochs=1"]
    config = load(repository / "configs" / "tiny.yaml", small)
    config = replace(config, variants={"live": replace(config.variants["live"], cluster="")})
    config.folder.mkdir()
    (config.folder / "config.yaml").write_text(dump(config))
    for stage in (work.ingest, work.features, work.examples, work.train("live"), work.export):
        stage(config)
    chosen, users = work.chosen(config), read_rows(config.folder / "examples", "test", ["user_id"])["user_id"]
    vectors, mask = recommend._known(config, chosen, users.to_pylist())
    told = user_knowledge.of_split(config.folder / "models" / "live" / "knowledge", config.folder / "examples", "test")
    assert mask[:, :2].all()  # the shared prompts
    np.testing.assert_array_equal(mask, told.mask)
    np.testing.assert_array_equal(vectors, told.vectors)
    assert not recommend._known(config, chosen, ["nobody"])[1].any()

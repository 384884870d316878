"""Training CoCo over a real side process: every backbone, kills, clusters, evaluation and export."""

import json
import signal
from dataclasses import replace

import coco_cluster
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import small_run
import tensorflow as tf
from trained import parameters

from antiphon import llm
from antiphon.config import dump, load
from feature_store import user_knowledge
from feature_store.errors import DataError
from trainer import evaluate, explain, export, knowing, saved, spaces, train
from trainer.config import (
    CocoConfig,
    EvaluateConfig,
    ExportConfig,
    LinkConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)  # fmt: skip
from trainer.input import Examples, held_out
from trainer.llm_link import NEWEST, LlmLink
from trainer.ranking import Outcomes
from trainer.reader import Reader

COCO = CocoConfig(enabled=True, codes=8, selected=2, threshold=0.2)
BACKBONES = {
    "sasrec": {}, "bert4rec": {"norm": "post"}, "pinnerformer": {"temperature": 0.2},
    "fdsa": {"attributes": ("categories",)}, "s3rec": {"attributes": ("categories",)},
}  # fmt: skip


@pytest.fixture(scope="module")
def side(side_process):
    return side_process(dtype="float32", dropout=0.1, checkpoint_updates=10**6, optimizer="adamw", learning_rate=0.01)


def config(side, kind="sasrec", **changes):
    model = ModelConfig(kind, d=8, blocks=1, max_length=10, dropout=0.1, **BACKBONES[kind])
    settings = {"batch": 16, "epochs": 3, "steps_per_schedule": 1, "optimizer": OptimizerConfig(learning_rate=0.01)}
    return TrainConfig(**{**settings, "model": model, "llm": LinkConfig(side.address), "coco": COCO, **changes})


@pytest.fixture(scope="module")
def whole(side, shop, tmp_path_factory):
    """A SASRec that was trained without a break, and what the side process said then."""
    folder = tmp_path_factory.mktemp("coco") / "models" / "coco"
    train.run(shop / "examples", None, folder, config(side))
    return folder, parameters(folder), json.loads(LlmLink(LinkConfig(side.address), 4).status())


def test_training_lowers_the_loss_and_tells_of_its_parts(whole, shop):
    folder, _, told = whole
    history = json.loads((folder / "history.json").read_text())["epochs"]
    for name in ("loss", "loss/recommendation", "loss/auxiliary"):
        assert history[-1][name] < history[0][name]
    assert all(0 <= entry["helped"] <= 1 and 0 <= entry["prompts_selected"] <= 2 for entry in history)
    steps = json.loads((folder / "history.json").read_text())["summary"]["steps"]
    assert told["version"] == told["step"] == steps and told["known"] > 0
    found = json.loads((folder / "config.json").read_text())["coco"]
    assert (found["width"], found["knowledge_width"]) == (12, 4) and found["scale"] == pytest.approx(0.3, rel=0.1)


def test_evaluation_reads_what_was_known_when_the_best_checkpoint_was_made(whole, side, shop, tmp_path):
    folder, _, told = whole
    result = evaluate.run(shop / "examples", folder, tmp_path / "evaluation", EvaluateConfig(bootstrap=50))
    best = json.loads((folder / "history.json").read_text())
    assert result["valid"]["ndcg@10"]["mean"] == pytest.approx(best["summary"]["valid_ndcg@10"], rel=1e-5)
    after = json.loads(LlmLink(LinkConfig(side.address), 4).status())
    assert after["version"] == told["version"] and after["known"] > told["known"]
    assert result["test_without_knowledge"] != result["test"]


def test_the_examples_of_what_changed_are_of_the_rankings_that_were_evaluated(whole, side, shop, tmp_path):
    folder, _, _ = whole
    evaluate.run(shop / "examples", folder, tmp_path / "evaluation", EvaluateConfig(bootstrap=50))
    found = json.loads((tmp_path / "evaluation" / "explanations.json").read_text())
    assert [example["why"] for example in found] == ["rose most", "median", "fell most"]
    ranks = pq.read_table(tmp_path / "evaluation" / "per_user.parquet").to_pylist()
    ranks = {row["user"].decode(): 1 + row["above"] + row["tied"] / 2 for row in ranks}
    rose = [example["alone"]["rank"] - example["known"]["rank"] for example in found]
    assert rose[0] > 0 and rose == sorted(rose, reverse=True)
    for example in found:
        assert example["known"]["rank"] == ranks[example["user_id"]]
        assert 0 < len(example["history"]) <= 10 and len(example["prompts"]) <= 2
        for ranking in (example["alone"], example["known"]):
            assert len(set(ranking["items"])) == 10
            place = ranking["items"].index(example["target"]) + 1 if example["target"] in ranking["items"] else 11
            assert min(ranking["rank"], 11) == place


def test_the_examples_are_whose_target_rose_most_the_median_and_whose_fell_most():
    counts = {"user": np.arange(5), "target": np.ones(5, int), "tied": np.array([0, 0, 4, 0, 0])}
    alone = Outcomes(above=np.array([9, 5, 5, 5, 5]), **counts)
    known = Outcomes(above=np.array([1, 4, 5, 7, 30]), **counts)
    assert explain.changes(alone, known).tolist() == [8, 1, 0, -2, -25]
    assert explain.chosen(alone, known) == {"rose most": 0, "median": 2, "fell most": 4}


def test_what_serving_looks_up_is_what_evaluation_is_told(whole, side, shop, tmp_path, monkeypatch):
    folder, _, _ = whole
    asked = (shop / "examples", folder, tmp_path / "known", LinkConfig(side.address))
    made_by = knowing.run(*asked)["made_by"]
    data = Examples(shop / "examples")
    restored, told = saved.load(folder, data), user_knowledge.of_split(tmp_path / "known", data.folder, "test")
    assert made_by["adapter_version"].startswith(f"{restored.step}-")
    rows, reader = next(held_out(data, "test", 10, 1000)), Reader(LlmLink(asked[-1], 4), restored.step)
    selection = restored.recommender.selection(rows.history, restored.recommender.pull())
    answer = reader.through(reader.client())(selection, rows.history)
    np.testing.assert_array_equal(told.mask, answer.mask)
    np.testing.assert_allclose(told.vectors[told.mask], answer.h.numpy()[told.mask], rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(LlmLink, "status", lambda link: '{"adapters": {"1": {}}}')
    with pytest.raises(DataError, match=f"one of those that the side process at .* has: 1 .got {restored.step}"):
        knowing.run(*asked)


def test_the_export_takes_knowledge_and_without_it_answers_by_behaviour_alone(whole, side, shop, tmp_path):
    folder, _, _ = whole
    export.run(shop / "examples", folder, tmp_path / "export", ExportConfig(top_k=5, warmup_requests=1))
    signatures = tf.saved_model.load(str(tmp_path / "export" / "1")).signatures
    data = Examples(shop / "examples")
    restored = saved.load(folder, data)
    rows, vectors = next(held_out(data, "test", 10, 4)), restored.recommender.pull()
    reader = Reader(LlmLink(LinkConfig(side.address), 4), restored.step)
    given = []

    def know(selection, history):
        given.append(reader.through(reader.client())(selection, history))
        return given[0]

    expected = restored.recommender.scores(rows.history, vectors, know)
    alone = restored.recommender.scores(rows.history, vectors)
    assert np.abs(expected - alone).max() > 1e-4
    ids = ["", *data.vocabulary.ids]
    asked = {
        "history": tf.constant([[ids[i] for i in row] for row in rows.history]),
        "candidates": tf.constant([ids[1:]] * 4),
    }
    mask = given[0].mask & (np.arange(4) != 1)[:, None]  # nothing is known of the second user
    found = signatures["score_known"](**asked, knowledge=given[0].h, knowledge_mask=mask)["scores"]
    mixed = np.where((np.arange(4) == 1)[:, None], alone, expected)
    np.testing.assert_allclose(found, mixed[:, 1:], rtol=1e-4, atol=1e-5)
    plain = signatures["score"](**asked)["scores"]
    np.testing.assert_allclose(plain, alone[:, 1:], rtol=1e-4, atol=1e-5)
    top = signatures["recommend_known"](history=asked["history"], knowledge=given[0].h, knowledge_mask=mask)
    assert top["items"].shape == (4, 5)


def test_spaces_hold_what_the_model_and_the_language_model_make_of_users_now_and_at_the_beginning(
    whole, side, shop, tmp_path
):
    folder, _, _ = whole
    link, examples = LinkConfig(side.address), shop / "examples"
    found = spaces.trained(examples, folder, link, users=7, batch=4)
    model = saved.load(folder, Examples(examples)).recommender
    rows = next(held_out(Examples(examples), "test", 10, 7))
    np.testing.assert_allclose(found.behaviour, model.embed(rows.history, model.pull()), rtol=1e-5, atol=1e-6)
    assert found.semantic.shape == (7, 8) and found.codes.shape == (7, 2)
    assert ((found.codes >= -1) & (found.codes < 8)).all()

    train.run(examples, None, tmp_path, config(side, epochs=1, coco=CocoConfig(), llm=LinkConfig()))
    before = [spaces.untrained(examples, folder, tmp_path, "", link, users=7)]
    asked = LlmLink(link, 4)
    prompts = np.random.default_rng(0).normal(size=(7, 3, 12)).astype(np.float32)
    known = [asked.know(asked.client(), prompts, np.ones((7, 3), bool), rows.history, 0)]
    asked.begin(0)
    before.append(spaces.untrained(examples, folder, tmp_path, "", link, users=7))
    known.append(asked.know(asked.client(), prompts, np.ones((7, 3), bool), rows.history, NEWEST))
    np.testing.assert_allclose(before[0].behaviour, before[1].behaviour)
    np.testing.assert_allclose(known[0], known[1], rtol=1e-5, atol=1e-6)
    assert np.abs(before[0].behaviour - found.behaviour).max() > 1e-3


def test_after_a_kill_of_the_side_process_both_go_on_from_the_same_step_to_the_same_numbers(
    whole, side, shop, tmp_path
):
    _, expected, told = whole
    train.run(shop / "examples", None, tmp_path, config(side, epochs=2))
    side.end(signal.SIGKILL)
    side.start()
    train.run(shop / "examples", None, tmp_path, config(side))
    found = parameters(tmp_path)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
    again = json.loads(LlmLink(LinkConfig(side.address), 4).status())
    assert (again["version"], again["step"]) == (told["version"], told["step"])


def test_asking_ahead_learns_and_goes_on_from_a_kill_to_the_same_numbers(side, shop, tmp_path):
    ahead = {"coco": replace(COCO, overlap=True), "steps_per_schedule": 3}
    train.run(shop / "examples", None, tmp_path / "whole", config(side, **ahead))
    history = json.loads((tmp_path / "whole" / "history.json").read_text())["epochs"]
    assert history[-1]["loss"] < history[0]["loss"]
    told = json.loads(LlmLink(LinkConfig(side.address), 4).status())
    train.run(shop / "examples", None, tmp_path / "parts", config(side, epochs=1, **ahead))
    side.end(signal.SIGKILL)
    side.start()
    train.run(shop / "examples", None, tmp_path / "parts", config(side, **ahead))
    again = json.loads(LlmLink(LinkConfig(side.address), 4).status())
    assert (again["version"], again["step"]) == (told["version"], told["step"])
    expected, found = parameters(tmp_path / "whole"), parameters(tmp_path / "parts")
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", [kind for kind in BACKBONES if kind != "sasrec"])
def test_every_backbone_learns_with_it(side, shop, tmp_path, kind):
    summary = train.run(shop / "examples", None, tmp_path, config(side, kind, validate_every=3))
    history = json.loads((tmp_path / "history.json").read_text())["epochs"]
    assert history[-1]["loss"] < history[0]["loss"]
    assert json.loads(LlmLink(LinkConfig(side.address), 4).status())["step"] == summary["steps"]


def test_without_a_side_process_named_it_is_refused(side, shop, tmp_path):
    with pytest.raises(ValueError, match='llm.address must be the "host:port" of a side process'):
        train.run(shop / "examples", None, tmp_path, replace(config(side), llm=LinkConfig()))


def test_a_cluster_with_one_worker_takes_the_same_path(whole, side, shop, repository, tmp_path):
    _, expected, told = whole
    coco_cluster.train(repository, shop, tmp_path, config(side), 1, "off,on")
    for mode in ("off", "on"):
        found = parameters(tmp_path / mode)
        assert found.keys() == expected.keys()
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-5, err_msg=f"{mode} {name}")
    again = json.loads(LlmLink(LinkConfig(side.address), 4).status())
    assert (again["version"], again["step"]) == (told["version"], told["step"])


def test_several_workers_teach_each_step_once(side, shop, repository, tmp_path):
    (found,) = coco_cluster.train(repository, shop, tmp_path, config(side, batch=4), 2, "off")
    assert found["losses"][-1] < found["losses"][0]
    told = json.loads(LlmLink(LinkConfig(side.address), 4).status())
    assert (told["version"], told["step"]) == (found["step"], found["step"])


def test_no_title_of_a_target_or_of_what_came_later_is_told_to_the_language_model(side_process, repository, tmp_path):
    """Every event has an item of its own, whose title marks it. A row tells the 4 events before its last target: in
    training the second, sixth and tenth event, in validation and test the last two."""
    log = {user: [f"{user}{event}" for event in "mnopqrstuvwx"] for user in "abcdef"}
    run, heard = tmp_path / "runs" / "tiny", tmp_path / "heard.jsonl"
    small_run.write(run, log, lambda item: item, length=4, windows="all")
    program = (str(repository / "tests" / "support" / "listening_llm.py"), str(heard))
    settings = config(side_process(run=run, program=program, dtype="float32"), epochs=1)
    settings = replace(settings, model=replace(settings.model, max_length=4))

    def told():
        """The texts of each method, since the last call."""
        lines = [json.loads(line) for line in heard.read_text().splitlines()]
        heard.write_text("")
        return {of: {tuple(text) for method, texts in lines if method == of for text in texts} for of, _ in lines}

    def before(*targets):
        return {tuple(items[max(0, target - 4) : target]) for items in log.values() for target in targets}

    train.run(run / "examples", None, tmp_path / "model", settings)
    assert told() == {"forward": before(1, 5, 9), "know": before(10)}
    evaluate.run(run / "examples", tmp_path / "model", tmp_path / "evaluation", EvaluateConfig(bootstrap=10))
    assert told() == {"know": before(10, 11)}


def test_a_stage_runs_a_side_process_of_its_own_and_starts_it_again_when_it_dies(
    shop, tiny_llm, repository, capsys
):
    changes = [f"runs={shop.parent}", f"llm.model={tiny_llm}", "llm.d=4", "llm.max_tokens=24"]
    changes += ["variants.coco.coco.enabled=true", "variants.far.coco.enabled=true", "variants.far.llm.address=there:1"]
    found = load(repository / "configs" / "tiny.yaml", changes)
    (found.folder / "config.yaml").write_text(dump(found))
    for variant in ("ids", "far"):  # without CoCo, or with a side process that its config names
        with llm.beside(found, variant) as settings:
            assert settings is found.variants[variant]
    with llm.beside(found, "coco") as settings:
        link = LlmLink(replace(settings.llm, wait_seconds=600.0), 4)
        assert json.loads(link.status())["width"] == 12
        link.begin(0)
        (child,) = (p for p in psutil.Process().children() if "models/coco/llm" in " ".join(p.cmdline()))
        child.kill()
        assert json.loads(link.status())["version"] == 0
        assert (shop / "models" / "coco" / "llm" / "ckpt-0" / "MANIFEST.json").exists()
    assert "the language model's side process ended with code -9: starting it again" in capsys.readouterr().out
    with pytest.raises(tf.errors.InvalidArgumentError, match="could not be reached"):
        LlmLink(replace(settings.llm, wait_seconds=1.0), 4).status()

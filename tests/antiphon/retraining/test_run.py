import dataclasses
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import served

from antiphon import records
from antiphon.processes import Busy, lock
from antiphon.retraining import run
from antiphon.retraining.round import Round
from antiphon.retraining.state import Places, State
from antiphon.retraining.steps import AFTER_TRAINING, new_events
from benchmarks import _retrain_shop, retrain_crashes
from feature_store.tfrecord import write_records
from serving import rollout


def labels(config):
    places = Places.of(config)
    return rollout.labels(places.models_config, "ids")


def test_the_steps_of_a_round_in_their_order(measured):
    _, config = measured()
    assert run.step_names(config) == [
        "ingest", "features", "examples", "train", "grow", "skew", "measure", "gate", "publish", "canary", "compare",
        "promote", "record", "prune", "watermark",
    ]  # fmt: skip


def test_killed_after_each_step_behind_training_it_ends_as_if_it_had_not_been(measured):
    unbroken, config = measured("unbroken")
    _retrain_shop.retrain(unbroken)
    assert labels(config) == {"stable": 2}
    expected = _retrain_shop.snapshot(unbroken.parent)
    assert expected["state"]["watermark"] == 9 and expected["state"]["before"] == [1]
    chain, _ = measured("chain")
    for step in [name for name in AFTER_TRAINING if name not in ("grow", "measure")]:
        _retrain_shop.retrain(chain, step)
    _retrain_shop.retrain(chain)
    assert _retrain_shop.snapshot(chain.parent) == expected


@pytest.mark.slow
def test_the_whole_crash_matrix(tmp_path):
    found = retrain_crashes.run(tmp_path)
    assert found["differing"] == {} and found["states_equal"] == 15


def test_a_candidate_that_fails_the_gate_is_never_published_and_the_watermark_moves(measured, capsys):
    poor = dict.fromkeys(("ndcg@5", "ndcg@10", "recall@5", "recall@10"), 0.1)
    _, config = measured(candidate=poor)
    config = dataclasses.replace(config, retrain=dataclasses.replace(config.retrain, max_loss=0.1))
    assert run.run(config) == 0
    places = Places.of(config)
    assert (places.read_state().stable, places.read_state().watermark) == (1, 9)
    assert labels(config) == {"stable": 1}
    assert [path.name for path in places.served.iterdir()] == ["1"]
    assert places.decision(2)["outcome"] == "refused: quality"
    assert "FAIL quality: ndcg@10 0.1000 against 0.2500 of 100 users" in capsys.readouterr().out
    assert run.run(config) == 0  # and again: nothing is new
    assert "nothing to do" in capsys.readouterr().out


def test_a_canary_that_answers_otherwise_is_rolled_back(measured):
    _, config = measured()
    places = Places.of(config)
    for step, result in (
        ("gate", {"passed": True, "findings": []}),
        ("publish", {"published": True}),
        ("canary", {"loaded": True, "why": ""}),
        ("compare", {"passed": False, "why": "3 of 9 requests answered as in the gate"}),
    ):
        records.write_text(places.round(2) / "steps" / f"{step}.json", json.dumps(result))
    assert run.run(config) == 0
    assert labels(config) == {"stable": 1} and places.read_state().stable == 1
    assert places.decision(2)["outcome"] == "rolled back: 3 of 9 requests answered as in the gate"


def test_a_server_that_does_not_load_the_version_keeps_the_stable_one(measured):
    _, config = measured()
    settings = dataclasses.replace(config.retrain, server="127.0.0.1:9", server_seconds=0.1)
    config = dataclasses.replace(config, retrain=settings)
    assert run.run(config) == 0
    assert labels(config) == {"stable": 1}
    assert "version 2 was not loaded by 127.0.0.1:9" in Places.of(config).decision(2)["outcome"]


def test_one_retraining_at_a_time(measured):
    _, config = measured()
    with lock(Places.of(config).folder), pytest.raises(Busy):
        run.run(config)


def test_a_round_starts_warm_from_the_stable_version_and_splits_what_is_new(measured):
    _, config = measured()
    places = Places.of(config)
    own = Round(config, places, places.read_state(), -1).own
    train = own.variants["ids"]
    assert (train.start_from, train.epochs) == (str(places.model(1)), 1)
    assert (own.examples.split, own.examples.after) == ("global_time", 5)
    assert (own.examples.valid_quantile, own.examples.test_quantile) == (0.5, 0.75)
    first = Round(config, places, State(), -1).own
    assert (first.variants["ids"].start_from, first.variants["ids"].epochs) == ("", 2)
    assert first.examples.after == 0 and first.examples.test_quantile == 0.9
    scratch = dataclasses.replace(config, retrain=dataclasses.replace(config.retrain, start="scratch"))
    assert Round(scratch, places, places.read_state(), -1).own.variants["ids"].start_from == ""


def test_examples_are_made_of_the_server_s_log_once_there_is_one(measured, tmp_path):
    _, config = measured()
    places = Places.of(config)

    def log(**changes):
        changed = dataclasses.replace(config, **changes)
        return Round(changed, places, places.read_state(), -1).own.examples.served_log

    serve = dataclasses.replace(config.serve, served_log=str(tmp_path / "log"))
    assert log() == "" and log(serve=serve) == ""
    (tmp_path / "log").mkdir()
    assert log(serve=serve) == str(tmp_path / "log")
    told = dataclasses.replace(config.examples, served_log="elsewhere")  # must be there: `examples` says so
    assert log(serve=serve, examples=told) == "elsewhere"


@pytest.mark.parametrize("wrong", [False, True])
def test_what_was_served_since_the_last_round_is_checked_and_can_fail_the_gate(measured, tmp_path, wrong):
    _, config = measured()
    places, log = Places.of(config), tmp_path / "log"
    rows = pq.read_table(places.round(2) / "features" / "user_history.parquet").to_pylist()[:40]
    times = [int(row["event_time"].timestamp() * 1e6) + 1 for row in rows]
    ingested = json.loads((places.round(2) / "steps" / "ingest.json").read_text())
    records.write_text(places.round(2) / "steps" / "ingest.json", json.dumps({**ingested, "newest": max(times)}))
    old = served.request(99, rows[0]["user_id"], 4, ["before the last round"])
    histories = [["of nobody"] if wrong else row["history"] for row in rows]
    asked = zip(rows, times, histories, strict=True)
    new = [served.request(number, row["user_id"], *rest) for number, (row, *rest) in enumerate(asked)]
    log.mkdir()
    write_records(log / "s-000000000000.tfrecord", [row.to_record() for row in (old, *new)])
    config = dataclasses.replace(
        config,
        examples=dataclasses.replace(config.examples, served_log=str(log)),
        skew=dataclasses.replace(config.skew, min_rows=40, ignore=("history",)),
    )
    assert run.run(config, here=True) == 0
    decision = places.decision(2)
    assert decision["skew"]["rows"] == 40 and decision["skew"]["judged"]
    assert decision["skew"]["mismatched"]["history"] == (40 if wrong else 0)
    assert decision["outcome"] == ("refused: skew" if wrong else "promoted")


def test_the_record_says_how_many_rows_had_their_features_as_served(measured, capsys):
    _, config = measured()
    told = {"rows": 40, "served": 12, "empty": 1, "not past": 2}
    records.write_text(Places.of(config).round(2) / "steps" / "examples.json", json.dumps(told))
    assert run.run(config) == 0
    assert "examples: 12 of 40 with features as served, 3 refused\n" in capsys.readouterr().out


def test_new_events_are_those_after_the_watermark(tmp_path):
    times = pa.array([3, 9, 5], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"event_time": times}), tmp_path / "events.parquet")
    assert new_events(tmp_path / "events.parquet", 3) == {"new": 2, "newest": 9}
    assert new_events(tmp_path / "events.parquet", 9) == {"new": 0, "newest": 9}

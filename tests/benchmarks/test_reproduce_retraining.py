"""Retraining's periods, its page of results made by hand, and the whole of it on a slice."""

import json
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from antiphon.cli import main
from benchmarks.reproduce import _retraining_page, _retraining_rounds, retraining
from benchmarks.reproduce._retraining_periods import Periods
from feature_store.config import DataConfig

INTERVAL = {"mean": 0.1, "low": 0.09, "high": 0.11}
TEST = {"difference": -0.001, "low": -0.004, "high": 0.002, "p_value": 0.4}
COMPARED = {
    "quality": {way: dict.fromkeys(("recall@10", "ndcg@10"), INTERVAL) for way in _retraining_rounds.WAYS},
    "paired": {f"{b} - {a}": dict.fromkeys(("recall@10", "ndcg@10"), TEST) for a, b in _retraining_rounds.PAIRS},
}


def told(number: int, warm: float, items: int) -> dict:
    times = {"scratch": 100.0, "warm": warm}
    return {
        "round": number, "events": {"new": 9, "from": 1, "to": 10**15 * number}, "targets": 1000, "users": 40,
        **COMPARED,
        "training": {
            way: {"seconds": took, "processor_seconds": took / 2, "epochs": 5, "best_epoch": 3}
            for way, took in times.items()
        },
        "vocabulary": {"items": items, "admitted": 3, "evicted": number, "left_out": {"rare": 5, "unseen": 6}},
        "gate": ["size"] if number == 3 else [],
    }  # fmt: skip


@pytest.fixture
def page(tmp_path):
    """Makes the page of some rounds; gives its text and its folder."""

    def make(*rounds, paired=TEST):
        overall = {"users": 70, "rows": 80, **COMPARED}
        overall["paired"] = {pair: dict.fromkeys(("recall@10", "ndcg@10"), paired) for pair in COMPARED["paired"]}
        settings = {"data": "movielens_1m", "first": 0.4, "periods": 6, "examples": {"min_count": 5, "evict_days": 60}}
        machine = {"processor": "AMD EPYC", "cores": 2, "date": "2026-11-29"}
        found = {"settings": settings, "machine": machine, "rounds": list(rounds), "overall": overall}
        (tmp_path / "retraining.json").write_text(json.dumps(found))
        return _retraining_page.write("retraining", tmp_path).read_text(), tmp_path

    return make


def test_the_page_says_whether_warm_is_fast_enough_at_no_significant_loss(page):
    text, folder = page(told(2, 20.0, 50), told(3, 30.0, 60))
    assert "took 0.25 of the processor time of training from scratch, wanted at most 0.3: reached; by the wall" in text
    assert "wall clock 0.25: reached. Its NDCG@10 differs by −0.0010 (−0.0040 to +0.0020), p 0.4: no sign" in text
    assert "2 of 6 rounds are done" in text and "70 users, 80 questions" in text
    assert "| 3 | 2065-01-24 | 40 |" in text and "| size |" in text
    assert "| 3 | 60 | 3 | 3 | 5 | 6 |" in text
    for name in ("retraining", "retraining_vocabulary"):
        ElementTree.fromstring((folder / f"{name}.svg").read_text())
    text, _ = page(told(2, 40.0, 50), paired={**TEST, "p_value": 0.01})
    assert "not reached" in text and "a significant loss" in text


def test_periods_are_cut_by_time_and_arrive_one_after_another(repository, tmp_path):
    shop = repository / "configs" / "example_tables"
    columns = {"user_id": "customer", "item_id": "sku", "event_time": "at"}
    data = DataConfig(reader="tables", path=str(shop), events="orders.csv", columns={"events": columns})
    periods = Periods.cut(data, tmp_path / "periods", 0.5, 2)
    parts = [pq.read_table(tmp_path / "periods" / f"events_{number:02d}.parquet") for number in range(3)]
    times = [part["event_time"].cast(pa.int64()).to_numpy() for part in parts]
    assert times[0].max() < times[1].min() and times[1].max() < times[2].min()
    count = sum(map(len, parts))
    assert [len(part) for part in parts] == pytest.approx([count / 2, count / 4, count / 4], abs=1)
    periods.arrive(tmp_path / "raw", 0)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == [
        "events_00.parquet", "items.parquet", "users.parquet",
    ]  # fmt: skip
    before = (tmp_path / "raw" / "events_00.parquet").stat().st_mtime_ns
    periods.arrive(tmp_path / "raw", 1)
    assert (tmp_path / "raw" / "events_01.parquet").is_file()
    assert (tmp_path / "raw" / "events_00.parquet").stat().st_mtime_ns == before


def test_rounds_of_other_settings_are_not_gone_on_with(tmp_path):
    (tmp_path / "retraining_quick").mkdir()
    (tmp_path / "retraining_quick" / "settings.json").write_text("{}")
    with pytest.raises(ValueError, match="holds rounds of other settings"):
        retraining.run(retraining.quick(), tmp_path, tmp_path)


@pytest.mark.slow
def test_the_whole_of_it_on_a_slice_goes_on_where_it_stopped(tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    command = ["reproduce", "retraining", "--quick", "--runs", str(runs)]
    done, told_of = [], _retraining_rounds._told

    def stop(config, folder, number):
        done.append(number)
        if len(done) == 1:
            raise KeyboardInterrupt
        return told_of(config, folder, number)

    monkeypatch.setattr(_retraining_rounds, "_told", stop)
    with pytest.raises(KeyboardInterrupt):
        retraining.main(command[2:])
    trained = (runs / "retraining_quick/warm/runs/shop/retrain/rounds/0002/models/ids/history.json").stat().st_mtime_ns
    assert main(command) == 0
    again = runs / "retraining_quick/warm/runs/shop/retrain/rounds/0002/models/ids/history.json"
    assert again.stat().st_mtime_ns == trained and done == [2, 2, 3]
    found = json.loads((runs / "retraining_quick.json").read_text())
    assert [one["round"] for one in found["rounds"]] == [2, 3]
    for one in found["rounds"]:
        assert one["training"]["warm"]["epochs"] == 1 and one["training"]["scratch"]["epochs"] == 4
        assert set(one["quality"]) == {"never", "scratch", "warm"}
        assert one["users"] > 20 and one["vocabulary"]["items"] > 500
    assert found["overall"]["rows"] == sum(one["users"] for one in found["rounds"])
    assert "retraining_quick_vocabulary.svg" in (runs / "retraining_quick.md").read_text()

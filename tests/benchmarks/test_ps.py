import json
from dataclasses import asdict

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import ps
from benchmarks._ps_model import parse
from benchmarks._ps_parts import parts
from benchmarks._ps_race import write_examples
from benchmarks._ps_settings import Settings
from trainer.layers.spread import Spread, shuffled


def test_a_quick_run_prints_its_figures_as_json_on_the_last_line(capsys):
    assert ps.main(["--quick"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    for case in ("batch_512", "batch_64"):
        for kind in ("ours", "stock"):
            assert figures[case][kind]["ratio"] > 0
            assert figures[case][kind]["single_examples_per_second"] > 0
    assert figures["machine"]["cores"] >= 1


def settings_of(folder, rows, features, examples):
    return Settings({}, str(folder / "examples"), examples, features, rows, 4, str(folder))


def test_ids_of_a_feature_stay_within_its_table(tmp_path):
    settings = settings_of(tmp_path, rows=50, features=3, examples=4000)
    write_examples(settings, seed=1)
    records = next(iter(tf.data.TFRecordDataset(settings.file).batch(settings.examples)))
    ids, labels = parse(records, settings)
    assert ids.shape == (4000, 3) and labels.shape == (4000,)
    for feature in range(3):
        assert set(ids[:, feature].numpy()) == set(range(50))


def test_popular_ids_can_all_be_of_one_server_and_a_spread_shares_them(tmp_path):
    settings = settings_of(tmp_path, rows=1000, features=1, examples=4000)
    write_examples(settings, seed=1, every=2)
    records = next(iter(tf.data.TFRecordDataset(settings.file).batch(settings.examples)))
    ids = parse(records, settings)[0][:, 0]
    assert np.mean(ids % 2 == 0) > 0.85
    assert 0.35 < np.mean(shuffled(ids, *Spread.of(1000)) % 2) < 0.65


def test_each_part_is_set_against_the_same_without_it():
    for part, pair in parts(ps.parse(["--workers", "2"])).items():
        differ = {name for name in asdict(pair[0]) if asdict(pair[0])[name] != asdict(pair[1])[name]}
        assert len(differ) == 1, part
        assert [setup.workers for setup in pair] == [2, 2]


def test_only_parts_that_there_are_can_be_asked_for(capsys):
    with pytest.raises(SystemExit):
        ps.parse(["--parts", "--only", "unrolled"])
    assert "which has working_set, unrolled_steps" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ps.parse(["--only", "optimizers"])


@pytest.mark.slow
def test_a_quick_run_of_the_parts_gives_a_ratio_for_each(capsys):
    assert ps.main(["--parts", "--quick"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["parts"].keys() == parts(ps.parse([])).keys()
    found = [*figures["parts"].values(), *figures["optimizers"].values()]
    assert len(found) == len(figures["parts"]) + 2
    for part in found:
        assert all(part[case]["ratio"] > 0 for case in ("batch_512", "batch_64"))

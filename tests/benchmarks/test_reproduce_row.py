"""What of a row of a reproduction is gone on with, and what it has cost."""

from dataclasses import replace

import pytest

from antiphon import records
from antiphon.records import Record
from benchmarks.reproduce import _row
from benchmarks.reproduce._rows import Row
from benchmarks.reproduce.backbones import REPRODUCTION
from trainer.config import TrainConfig

BEST = Row("beauty", "leave_one_out", "sasrec", "best")


def test_what_training_took_counts_attempts_that_failed(tmp_path):
    config = replace(REPRODUCTION.config(BEST), runs=str(tmp_path))
    _row.Work({}, "a").write(config, BEST)
    with pytest.raises(RuntimeError), _row.measured(BEST, config):
        raise RuntimeError("stopped")
    first = _row.Work.read(config, BEST)
    with _row.measured(BEST, config):
        sum(range(100_000))
    second = _row.Work.read(config, BEST)
    assert 0 < first.wall_seconds < second.wall_seconds
    assert 0 < first.processor_seconds < second.processor_seconds


def test_a_model_is_gone_on_with_only_if_settings_and_examples_are_the_same(tmp_path):
    config = replace(REPRODUCTION.config(BEST), runs=str(tmp_path))
    other = replace(config, variants={BEST.name: TrainConfig(epochs=9)})
    model = config.folder / "models" / BEST.name
    file = model / "ckpt"

    def stays(config, examples, again=False):
        model.mkdir(parents=True, exist_ok=True)
        file.write_text("weights")
        records.write(config.folder, Record("examples", "", output=examples))
        _row.make_room(BEST, config, again)
        return file.exists()

    assert [stays(config, "a"), stays(config, "a")] == [False, True]
    assert [stays(config, "b"), stays(config, "b")] == [False, True]
    assert [stays(other, "b"), stays(other, "b"), stays(other, "b", again=True)] == [False, True, False]


def test_a_model_is_gone_on_with_for_more_epochs_and_its_cost_adds_up(tmp_path):
    def config(**settings):
        return replace(REPRODUCTION.config(BEST), runs=str(tmp_path), variants={BEST.name: TrainConfig(**settings)})

    folder = config().folder
    files = [folder / part / BEST.name / "file" for part in ("models", "evaluation")]
    records.write(folder, Record("examples", "", output="a"))

    def stay(settings):
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("made")
        _row.make_room(BEST, settings, again=False)
        return [file.exists() for file in files]

    stay(config(epochs=9))
    with _row.measured(BEST, config()):
        sum(range(1000))
    cost = _row.Work.read(config(), BEST).wall_seconds
    assert stay(config(epochs=12)) == [True, False]
    assert _row.Work.read(config(), BEST).wall_seconds == cost > 0
    assert stay(config(epochs=12)) == [True, True]
    assert stay(config(epochs=11)) == [False, False]  # what comes after it may have been chosen
    assert stay(config(epochs=14, batch=7)) == [False, False]
    assert _row.Work.read(config(), BEST).wall_seconds == 0

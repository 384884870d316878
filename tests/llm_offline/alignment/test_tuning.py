import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import tune_run

from llm_offline import adapter
from llm_offline.alignment.tuning import factor
from llm_offline.alignment_config import TuneConfig


def weights(out):
    return adapter.weights_of(out)


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_learning_rate_rises_then_falls_to_zero():
    found = [factor(update, 10, 0.3) for update in range(10)]
    assert found == pytest.approx([1 / 3, 2 / 3, 1, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7])
    assert [factor(update, 4, 0.0) for update in range(4)] == [1.0, 0.75, 0.5, 0.25]
    assert factor(0, 100, 0.03) == pytest.approx(1 / 3)


def test_tuning_learns_and_says_what_it_was_made_of(chat_llm, tmp_path):
    summary = tune_run.run(chat_llm, tmp_path / "a")
    assert (summary["items"], summary["updates"], summary["resumed_at"]) == (10, 24, 0)
    assert summary["last"]["loss"] < 0.7 * summary["first"]["loss"]
    manifest = adapter.read(tmp_path / "a")
    assert manifest["adapter_version"] == summary["adapter_version"] == adapter.version_of(tmp_path / "a")
    assert (manifest["parent"], manifest["made_of"], manifest["settings"]["batch"]) == ("base", {"texts": "1"}, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_same_settings_give_the_same_adapter(chat_llm, tmp_path):
    seeds = {"a": 1, "b": 1, "c": 2}
    versions = [tune_run.run(chat_llm, tmp_path / n, epochs=1, seed=s)["adapter_version"] for n, s in seeds.items()]
    assert versions[0] == versions[1] != versions[2]


def test_a_process_that_is_killed_goes_on_to_the_same_adapter(chat_llm, tmp_path):
    unbroken = tune_run.run(chat_llm, tmp_path / "unbroken")
    out, environment = tmp_path / "killed", {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, tune_run.__file__, str(chat_llm), str(out), "0.2"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while not list((tmp_path / ".killed.unfinished").glob("ckpt-*/MANIFEST.json")):
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert not out.exists()
    resumed = tune_run.run(chat_llm, out)
    assert resumed["resumed_at"] >= 5
    assert same(weights(out), weights(tmp_path / "unbroken"))
    assert {k: resumed[k] for k in ("adapter_version", "first", "last")} == {
        k: unbroken[k] for k in ("adapter_version", "first", "last")
    }


def test_other_settings_start_afresh(chat_llm, tmp_path, monkeypatch):
    def stop(self, policy, items, seed):
        if seed % 1_000_003 == 7:  # after the first checkpoint
            raise KeyboardInterrupt
        return tune_run.Sft.backward(self, policy, items, seed)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tune_run.Slow, "backward", stop)
        tune_run.run(chat_llm, tmp_path / "a")
    assert tune_run.run(chat_llm, tmp_path / "a", seed=3)["resumed_at"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 0}, "batch must be at least 1"),
        ({"warmup": 1.0}, "warmup must be"),
        ({"beta": 0.0}, "beta must be above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TuneConfig(**settings)

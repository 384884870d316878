import json
import subprocess
import sys

import pytest

from benchmarks import train


def test_quick_is_small_and_every_cap_can_be_set():
    quick = train.parse(["--quick"])
    assert (quick.users, quick.rounds) == (2000, 2)
    assert train.parse(["--minutes", "3", "--batch", "128"]).minutes == 3


def test_where_the_mark_is_not_reached_it_tells_how_far_it_came():
    epochs = [{"train_seconds": 60.0, "ndcg@10": 0.01}, {"train_seconds": 120.0, "ndcg@10": 0.04}]
    told = train.time_to(epochs, train.parse(["--ndcg", "0.055"]))
    assert told == {"reached": False, "training_minutes": 2.0, "epochs": 2, "ndcg@10": 0.04}


@pytest.mark.slow
def test_a_quick_comparison_ends_in_one_json_line_with_both_speeds_and_the_machine(
    repository, shared_data, tmp_path
):
    found = subprocess.run(
        [sys.executable, "-m", "antiphon.cli", "bench", "train", "--quick", "--out", tmp_path / "out",
         "--data", shared_data / "amazon_beauty"],
        cwd=repository, stdout=subprocess.PIPE, text=True, timeout=1800,
    )  # fmt: skip
    assert found.returncode == 0
    figures = json.loads(found.stdout.splitlines()[-1])
    assert figures["machine"]["cores"] >= 1
    assert figures["ours"]["targets_per_second"] > 0 and figures["recbole"]["targets_per_second"] > 0
    assert figures["ratio"] == pytest.approx(
        figures["ours"]["targets_per_second"] / figures["recbole"]["targets_per_second"], rel=0.01
    )

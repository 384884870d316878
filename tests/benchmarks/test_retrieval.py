import json

import numpy as np
import pytest

from benchmarks import _item_vectors, retrieval


def test_a_small_run_prints_its_figures_as_json_on_the_last_line(capsys):
    arguments = ["--items", "3000", "--width", "16", "--users", "100", "--queries", "20", "--recall", "0.9"]
    assert retrieval.main(arguments) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures["kind"], figures["items"], figures["d"], figures["recall_users"]) == ("ivf", 3000, 16, 50)
    assert figures["recall@50"] > 0.8
    assert figures["file_bytes"] > 3000 * 16 * 4
    for way in ("index", "brute_force"):
        row = figures["one_thread"][way]
        assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert figures["speed_over_brute_force"] > 0
    assert figures["machine"]["cores"] >= 1


def test_made_vectors_are_like_those_of_a_trained_model():
    items = _item_vectors.items(20_000, 64)
    users = _item_vectors.users(items, 100)
    assert (items.dtype, items.shape, users.dtype, users.shape) == (np.float32, (20_000, 64), np.float32, (100, 64))
    np.testing.assert_array_equal(items, _item_vectors.items(20_000, 64))
    lengths = np.linalg.norm(items, axis=1)
    low, middle, high = np.percentile(lengths, [1, 50, 99])
    assert (low / middle, high / middle) == pytest.approx((0.71, 1.42), abs=0.05)
    assert np.linalg.norm(items.mean(axis=0)) == pytest.approx(0.3, abs=0.1)
    scores = users @ items.T
    assert ((scores.max(axis=1) - scores.mean(axis=1)) / scores.std(axis=1)).mean() == pytest.approx(4.5, abs=1)


def test_a_model_needs_its_examples(capsys, tmp_path):
    with pytest.raises(SystemExit):
        retrieval.main(["--model", str(tmp_path)])
    assert "--model and --examples must be given together" in capsys.readouterr().err

import json

import numpy as np
import pytest

from benchmarks import _groups_part, groups
from llm_offline.profile_config import GroupConfig


def test_a_tiny_run_prints_its_figures_as_json_on_the_last_line(capsys):
    arguments = ["--vectors", "600", "--width", "8", "--levels", "2", "--k", "4", "--sample", "300"]
    arguments += ["--min-members", "20", "--job-vectors", "300", "--threads", "1"]
    assert groups.main(arguments) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["flat"]["cells"] == figures["ours"]["groups_used"] <= 21
    errors = figures["ours"]["error_per_level"]
    assert errors[0] == pytest.approx(1, abs=1e-4) and errors[0] > errors[1] > errors[2] == figures["ours"]["error"]
    assert figures["ours"]["error"] <= figures["ours"]["error_of_groups"] <= errors[0]
    assert 0 < figures["residual_quantizer"]["error"] < 1
    assert all(figures[name]["memory_gib"] > 0 for name in ("ours", "residual_quantizer", "flat"))
    assert figures["job"]["vectors"] == 300
    rate = figures["job"]["vectors_per_second"] / figures["machine"]["cores"]
    assert figures["extrapolation"]["core_hours"] == pytest.approx(3e8 / rate / 3600, rel=0.01)


def test_groups_are_counted_as_the_longest_prefixes_with_enough_members():
    codes = np.array([[0, 0]] * 3 + [[0, 1]] * 1 + [[1, 0]] * 2, np.int32)
    depth, used = _groups_part._depths(codes, 3)
    assert depth.tolist() == [2, 2, 2, 1, 0, 0]
    assert used == 3  # "0-0", "0" and everybody
    assert _groups_part._depths(codes, 2)[0].tolist() == [2, 2, 2, 1, 2, 2]


def test_flat_k_means_of_two_points_has_no_error():
    vectors = np.array([[1, 0], [0, 1]] * 10, np.float32)
    figures = _groups_part.flat(vectors, GroupConfig(k=2, sample=20, iterations=3), {"cells": 2})
    assert (figures["cells"], figures["error"]) == (2, 0)

"""What rows came to for each user is kept beside the results, and rows are compared by that alone."""

from dataclasses import asdict, fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.reproduce import _compare, _rgalign_steps
from benchmarks.reproduce._places import Places
from benchmarks.reproduce._rgalign_rows import BASELINE, METRICS, QE
from benchmarks.reproduce._rgalign_rows import Row as Told
from benchmarks.reproduce._rows import ALL, CUTOFFS, Row
from benchmarks.reproduce._users import Kept
from feature_store import folders
from trainer import evaluate, metrics
from trainer.calibration import Calibration
from trainer.config import EvaluateConfig
from trainer.ranking import Outcomes
from trainer.requests import evaluate as request_evaluate
from trainer.requests.config import RequestEvaluateConfig
from trainer.requests.scores import Scored
from trainer.requests.statistics import mean_of, measures, paired

ROW = Row("beauty", "leave_one_out", "sasrec", "new")
FEW = EvaluateConfig(bootstrap=20)


def evaluation(folder, above, tied=None, users=(b"u1", b"u2", b"u3", b"u4")):
    folder.mkdir(parents=True)
    table = pa.table({"user": users, "target": users, "above": above, "tied": tied or [0] * len(users)})
    pq.write_table(table, folder / "per_user.parquet")
    folders.write_manifest(folder, {"files": []})
    return folder


def places(tmp_path, **above):
    """Of rows by recipe and seed, as `old_1`."""
    found = Places("some", tmp_path)
    for name, ranks in above.items():
        recipe, _, seed = name.partition("_")
        row = replace(ROW, recipe=recipe, seed=int(seed or 1))
        found.put(row, evaluation(tmp_path / "evaluation" / row.name, ranks))
    return found


def test_rows_stay_through_others_and_a_row_is_put_in_its_own_place(tmp_path):
    kept, users = Kept(tmp_path / "deep" / "kept.npz"), {"user": np.array([b"a", b"b"])}
    assert kept.rows() == frozenset()
    kept.put("one", np.array([1, 2]), users)
    kept.put("two", np.array([3, 4]), users)
    first = kept.digest("one")
    assert first != kept.digest("two") and kept.rows() == {"one", "two"}
    kept.put("one", np.array([5, 6]), users)
    values, shared = Kept(kept.path).of("one")
    assert values.tolist() == [5, 6] and shared["user"].tolist() == [b"a", b"b"]
    assert kept.digest("one") != first and kept.of("two")[0].tolist() == [3, 4]
    assert [path.name for path in kept.path.parent.iterdir()] == ["kept.npz"]
    with pytest.raises(KeyError):
        kept.of("three")


def test_rows_of_other_users_are_dropped(tmp_path):
    kept = Kept(tmp_path / "kept.npz")
    kept.put("one", np.array([1, 2]), {"user": np.array([b"a", b"b"])})
    kept.put("two", np.array([1, 2]), {"user": np.array([b"a", b"c"])})
    assert kept.rows() == {"two"}


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), min_size=1, max_size=20), st.randoms())
def test_what_is_kept_of_a_place_gives_every_metric_of_the_page(tmp_path_factory, ranks, random):
    folder = tmp_path_factory.mktemp("places")
    users = [f"u{n}".encode() for n in range(len(ranks))]
    random.shuffle(users)
    above, tied = map(list, zip(*ranks, strict=True))
    whole = evaluate.outcomes(evaluation(folder / "e", above, tied, users))
    found = Places("some", folder)
    found.put(ROW, folder / "e")
    kept = found.of(ROW)
    assert found.holds(ROW) and not found.holds(replace(ROW, seed=2))
    assert kept.user.tolist() == kept.target.tolist() == sorted(users) and kept.above.max() <= max(CUTOFFS)
    order = np.argsort(users)
    expected = metrics.per_user(whole.above[order], whole.tied[order], CUTOFFS)
    for name, values in metrics.per_user(kept.above, kept.tied, CUTOFFS).items():
        np.testing.assert_array_equal(values, expected[name])


def test_seeds_are_compared_by_each_users_mean(tmp_path):
    found = places(tmp_path, old_1=[9, 9, 0, 0], old_2=[9, 9, 9, 0], new_1=[0, 9, 0, 0], new_2=[0, 0, 0, 0])
    pairs = [(replace(ROW, seed=seed), replace(ROW, recipe="old", seed=seed)) for seed in (1, 2)]
    together = _compare.seeds(pairs, found, FEW)
    assert (together.row, together.baseline) == tuple(replace(one, seed=ALL) for one in pairs[0])
    assert together.differences["recall@5"].difference == (1 + 0.5 + 0.5 + 0) / 4
    assert together.differences["recall@10"].difference == 0  # a rank of 10 is among them
    alone = _compare.seeds(pairs[:1], found, FEW, {"first": {"u1"}})
    assert (alone.row, alone.baseline) == pairs[0] and alone.differences["recall@5"].difference == 1 / 4
    assert {name: one.difference for name, one in alone.groups.items()} == {"first": 1.0}


def test_rows_of_other_users_are_not_compared():
    one, two = (Outcomes(np.array([user]), np.array([user]), np.array([0]), np.array([0])) for user in (b"a", b"b"))
    with pytest.raises(ValueError, match="needs evaluations on the same users and targets"):
        evaluate.compare_means([one], [one, two], FEW)


def test_groups_are_compared_on_their_own_users(tmp_path):
    found = places(tmp_path, a=[9, 9, 9, 0], b=[0, 9, 0, 9])
    groups = {"first": {"u1", "u2"}, "last": {"u4"}, "nobody": {"u9"}}
    sides = (found.of(replace(ROW, recipe=recipe)) for recipe in "ab")
    compared = _compare.of_groups(*sides, groups, 20)
    assert {name: one.difference for name, one in compared.items()} == {"first": 0.5, "last": -1.0}


def test_steps_are_tested_by_what_is_kept_as_by_the_evaluations_themselves(tmp_path):
    draw, calibration = np.random.default_rng(0), Calibration(1.0, 0.0)
    labels = np.eye(7)[draw.integers(7, size=40)]
    users = np.array([f"u{n % 25:02d}" for n in range(40)])
    names = [field.name for field in fields(Scored) if field.name != "told"]
    kept, scored = Kept(tmp_path / "kept.npz"), {}
    for row, skill in ((Told(BASELINE), 0.5), (Told(QE), 1.5)):
        logits = skill * labels + draw.normal(size=labels.shape)
        scored[row] = Scored(users, users, np.arange(40), np.ones(labels.shape, bool), labels, logits, {})
        folder = tmp_path / row.name
        with folders.new_folder(folder) as scratch:
            parts = {name: getattr(scored[row], name) for name in names}
            np.savez_compressed(scratch / request_evaluate.SCORES, **parts, scale=1.0, shift=0.0)
            folders.write_manifest(scratch, {"files": []})
        _rgalign_steps.keep(row, folder, kept)
    found = _rgalign_steps.compare(list(scored), kept, RequestEvaluateConfig(bootstrap=30), {})
    below, above = (mean_of([measures(one, calibration)]) for one in scored.values())
    expected = paired(below, above, 30)
    assert set(found) == {"baseline < QE-Rec"}
    step = found["baseline < QE-Rec"]
    for metric in METRICS:
        assert step["metrics"][metric] == pytest.approx(asdict(expected[metric]), abs=1e-6)
        assert step["each"][metric] == pytest.approx([above.values()[metric] - below.values()[metric]], abs=1e-6)
    assert step["metrics"]["gauc"]["difference"] > 0
    again = _rgalign_steps.compare(list(scored), kept, RequestEvaluateConfig(bootstrap=30), found)
    assert again["baseline < QE-Rec"] is step

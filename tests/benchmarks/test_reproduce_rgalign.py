"""RGAlign-Rec's rows, their settings, its page of results made by hand, and the whole of it on few sessions."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from antiphon.cli import main
from benchmarks.reproduce import _rgalign_cost, _rgalign_page, _rgalign_steps, _rgalign_work, rgalign
from benchmarks.reproduce._once import made_with, once
from benchmarks.reproduce._rgalign_contrast import measured as contrast
from benchmarks.reproduce._rgalign_rewards import measured
from benchmarks.reproduce._rgalign_rows import (
    ALIGNED,
    BARE,
    BASELINE,
    FULL,
    METRICS,
    ORACLE,
    PLACED,
    PROBE,
    QE,
    STEPS,
    SWITCHES,
    WHOLE,
    WRITTEN,
    Row,
    config,
    further,
    ranker,
    reasoner,
    rows,
)  # fmt: skip
from llm_offline.alignment.objectives import Targets

CLAIMED = [step for step in STEPS if step.primary]


def result(row: Row, value: float) -> dict:
    return {"row": vars(row), "test": {metric: {"mean": value, "low": value, "high": value} for metric in METRICS}}


def step(difference: float, p: float, each: Sequence[float] = (1.0, 1.1)) -> dict:
    """``each``: of the seeds, in differences."""
    test = {"difference": difference, "low": difference - 0.01, "high": difference + 0.01, "p_value": p}
    return {"metrics": dict.fromkeys(METRICS, test), "each": dict.fromkeys(METRICS, [difference * x for x in each])}


def test_every_row_is_once_there_and_all_that_is_published_and_compared_is_among_them():
    found = [*rows(), *further()]
    assert len(set(found)) == len(found) == len({row.name for row in found})
    kinds = {row.kind for row in rows()}
    assert _rgalign_page.PUBLISHED.keys() <= kinds
    assert {side for step in STEPS for side in (step.below, step.above)} <= kinds
    shown = [getattr(_rgalign_page, name) for name in ("TABLE_2", "TABLE_3", "TABLE_4", "PROBES", "OTHERS")]
    assert {kind for table in shown for kind in table.values()} == {row.kind for row in found}
    full = [row for row in rows() if row.kind == Row(QE, FULL, True, 1)]
    assert [(row.tuning, row.seed) for row in full] == [(t, s) for t in (1, 2) for s in range(1, 6)]
    assert len([row for row in rows(2, 1) if row.model == QE and not row.tuning]) == 8
    assert [each.about for each in CLAIMED] == [
        "baseline < QE-Rec", "QE-Rec < aligned (SFT & CL)", "aligned < aligned and calibrated",
    ]  # fmt: skip


def test_rows_have_the_settings_that_their_names_say(tmp_path):
    whole = config(tmp_path)
    for row in (*rows(), *further()):
        assert ranker(whole, row).seed == row.seed
        asked = reasoner(whole, row)
        assert (asked.vector == "query") == (row.reasoner.endswith("query"))
        assert asked.pooling == (row.reasoner if row.reasoner in ("mean", "eos") else "last")
        assert row.trained_on == ("last" if not row.calibrated or row.reasoner == "last" else row.asked)
    assert ranker(whole, Row(BASELINE)).model.kind == "two_towers"
    assert [ranker(whole, Row(name)).towers.omega for name in SWITCHES] == [0.3, 0.5, 0.9, 0.7, 0.7, 0.7]
    bare = ranker(whole, Row(BARE))
    assert (bare.model.kind, bare.towers.confidence) == ("two_towers", False)
    assert ranker(whole, Row(BASELINE)).towers.confidence
    assert ranker(whole, Row("softmax_target")).towers.target == "softmax"
    assert whole.align.place and whole.align.standardise and not whole.rankers[QE].patience
    assert whole.align.strategy == "v2" and whole.align.reasoner.model == "smollm2"
    assert _rgalign_cost.hours(rows()) > _rgalign_cost.hours(rows(1, 1)) > _rgalign_cost.hours([Row(QE)]) > 0


def test_a_step_is_of_the_seeds_that_both_sides_have():
    done = [Row(QE, seed=1), Row(QE, seed=2), Row(QE, FULL, True, 1, 2), Row(QE, FULL, True, 2, 2),
            replace(ALIGNED, seed=2), Row(QE, FULL, True, 1, 3)]  # fmt: skip
    by = {step.about: step for step in STEPS}
    below, above = _rgalign_steps.sides(by["QE-Rec < aligned and calibrated"], done)
    assert below == [Row(QE, seed=2)] and above == [Row(QE, FULL, True, t, 2) for t in (1, 2)]
    below, above = _rgalign_steps.sides(by["aligned < aligned and calibrated"], done)
    assert below == [replace(ALIGNED, seed=2)] and above == [Row(QE, FULL, True, 1, 2)]
    assert _rgalign_steps.sides(by["baseline < QE-Rec"], done) == ([], [])


def test_rewards_agree_with_the_truth_as_far_as_they_order_what_differs():
    first = np.array([[1.0, 0.2, 1.0], [1.0, 0.1, 0.5], [0.5, 0.3, 0.5]])  # reward, margin, truth
    second = np.array([[0.2, 0.0, 1.0], [0.4, 0.0, 0.0]])
    alike = np.array([[0.3, 0.0, 1.0], [0.9, 0.0, 1.0]])
    found = measured([first, second, alike])
    # Pairs that differ: 1 over 2 (tied, then by margin), 1 over 3; and in the second session the other way round.
    assert found == {"sessions": 3, "differ": pytest.approx(2 / 3, abs=1e-4), "best": 0.5,
                     "chance": pytest.approx((1 / 3 + 1 / 2) / 2, abs=1e-4),
                     "pairs": 0.5, "pairs_by_margin": pytest.approx(2 / 3, abs=1e-4)}  # fmt: skip
    assert measured([alike]) == {"sessions": 1, "differ": 0.0}


def test_the_contrast_is_between_a_states_own_target_and_those_of_other_intents():
    states = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    intents = [frozenset(each) for each in ("ab", "b", "c")]
    targets = Targets(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), intents)
    half = 0.5**0.5  # cosines by rows: 1 1 0, 0 0 1, half half half; the first two share an intent
    others = [0.0, 1.0, half, half]
    assert contrast(states, targets) == {
        "own": pytest.approx((1 + 0 + half) / 3, abs=1e-4), "others": pytest.approx(np.mean(others), abs=1e-4),
        "deviation": pytest.approx(np.std(others), abs=1e-4),
    }  # fmt: skip
    placed = replace(targets, origin=torch.tensor([1.0, 0.0]), scale=torch.tensor([1.0, 3.0]))
    assert contrast(states, placed)["own"] == pytest.approx((1 - half + 1) / 3, abs=1e-4)  # (1, 0), (-1, 1), (0, 1/3)


def test_what_was_made_is_made_once_and_its_cost_is_kept_through_a_stop(tmp_path):
    out, done = tmp_path / "out", []

    def work():
        out.mkdir(exist_ok=True)
        done.append(len(list(out.iterdir())))
        (out / f"part{len(done)}").touch()
        if len(done) == 1:
            raise KeyboardInterrupt
        return {"n": len(done)}

    with pytest.raises(KeyboardInterrupt):
        once(out, "a", work, resumes=True)
    assert not made_with(out)["done"]
    assert once(out, "a", work, resumes=True) == {"n": 2} == once(out, "a", work, resumes=True)
    assert done == [0, 1] and made_with(out)["done"] and len(made_with(out)["seconds"]) == 2
    assert once(out, "b", work, resumes=True) == {"n": 3} and done == [0, 1, 0]


def test_the_page_says_which_steps_hold_with_the_published_figures_beside_ours():
    found = [Row(ORACLE), *(Row(BASELINE, seed=seed) for seed in (1, 2)), Row(QE), ALIGNED, WHOLE,
             Row(QE, FULL + WRITTEN, True, 1), Row(PLACED, "v1-cl", False, 1), Row(PROBE, "mean")]  # fmt: skip
    results = {row: result(row, 0.7 + 0.01 * place) for place, row in enumerate(found)}
    steps = {each.about: step(*how) for each, how in
             zip(CLAIMED, ((0.02, 0.001), (0.01, 0.4), (-0.02, 0.01)), strict=True)}  # fmt: skip
    best = {"sessions": 9, "samples": 7, "by_teacher": {"ranker": 7}, "tie_rate": 0.5, "tie_rate_after_margin": 0.25,
            "pairs": 6, "pairs_by_ndcg": 4}  # fmt: skip
    tuned = {"items": 7, "updates": 2, "first": {"loss": 3.0, "nearest": 0.1}, "last": {"loss": 2.0, "nearest": 0.5}}
    split = {"train": 1200, "valid": 30, "test": 40}
    stages = {"requests/last": {"seconds": [1.0, 1.0], "summary": split},
              "best/v2": {"seconds": [60.0, 90.0], "summary": best},
              "tuned/v2-1/cl": {"seconds": [120.0, 30.0], "summary": tuned}}  # fmt: skip
    agreed = {"sessions": 9, "differ": 0.5, "best": 0.75, "chance": 0.25, "pairs": 0.8, "pairs_by_margin": 0.85}
    agreed |= {"placed": True, "other": {**agreed, "best": 0.7}}
    chosen = {"samples": 7, "known": 0.8, "right": 0.45, "chance": 0.2}
    meant = {"sessions": 9, "there": 0.6, "differ": 0.5, "best": 0.69, "chance": 0.38, "v2": chosen}
    told_apart = {"raw": {"own": 0.9, "others": 0.875, "deviation": 0.01},
                "standardised": {"own": 0.25, "others": 0.0, "deviation": 0.1}}  # fmt: skip
    seen = {"agreement": agreed, "meaning": meant, "contrast": told_apart}
    page = "\n".join(_rgalign_page.body("rgalign", results, steps, stages, seen))
    assert "does not hold as a whole. baseline < QE-Rec: by GAUC holds, by N@3 holds; QE-Rec < aligned" in page
    assert "by GAUC is not significant" in page and "by GAUC is the other way round" in page
    assert "| Baseline | 2 | 71.50 ± 0.71 |" in page and "96.31 / 67.73 / 76.81 / 70.84 / 74.96 / 58.52" in page
    assert "+0.0200 (+0.0100 to +0.0300), p 0.001; 2 of 2 seeds up, p 0.03; holds" in page
    assert "+0.0011, +0.0026, +0.0020, +0.0027" in page  # theirs, baseline < QE-Rec
    assert "| V2 | 9 | 7 | ranker 7 | 50.0% | 25.0% | 6 (4) |" in page
    assert "truly best in 75.0% (a candidate at random in 25.0%)" in page
    assert "vectors are placed among the sessions' (`align.place`); as they are, they differ in 50.0%" in page
    assert "the best is truly best in 70.0% (at random 25.0%)" in page
    assert "the best of them by reward does in 69.0%, one at random in 38.0%" in page
    assert "| V2 | 7 | 80.0% | 45.0% | 20.0% |" in page
    assert "| as published, mean | 1 | 78.00 |" in page
    assert "| 1 | **baseline < QE-Rec** |" in page and "bold, decided on before" in page
    assert "| v2-1/cl | 7 | 2 | 3.0000 → 2.0000 | 0.1000 → 0.5000 |  |" in page
    assert "| tuning | 1 | 2.0 | 0.5 |" in page
    assert "Rankers learn from 1,200 sessions, are chosen by 30 and tested on 40." in page
    assert "0.875 with a deviation of 0.010, that with its own 0.900" in page
    assert "the loss has 0.20 to tell them apart by" in page
    assert "0.000 with a deviation of 0.100, and 0.250: 2.0." in page
    all_hold = {each.about: step(0.02, 0.001) for each in CLAIMED}
    assert "each step at p < 0.05: holds." in "\n".join(_rgalign_page.body("rgalign", results, all_hold, {}, {}))
    by_chance = all_hold | {CLAIMED[1].about: step(0.02, 0.001, (1.0, 2.0, 0.0, -0.5))}
    page = "\n".join(_rgalign_page.body("rgalign", results, by_chance, {}, {}))
    assert "QE-Rec < aligned (SFT & CL): by GAUC is not significant" in page
    (picture,) = _rgalign_page.pictures("rgalign", steps).values()
    assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_of_the_query_s_term_the_part_that_is_the_same_in_all_sessions_is_told():
    """Terms of two sessions: less their own means ±2, ±0 and ±1, ±1; the mean over sessions is ±1.5 and ±0.5."""
    terms = np.array([[5.0, 1.0, 3.0, 3.0], [2.0, 0.0, 2.0, 0.0]])
    share = (2 * 1.5**2 + 2 * 0.5**2) / ((2 * 4 + 4 * 1) / 2)
    assert _rgalign_work._same(terms) == pytest.approx(share)
    assert _rgalign_work._same(terms[[0, 0]]) == 1
    row = {**result(ALIGNED, 0.3), "query": {"same": 0.335}}
    page = "\n".join(_rgalign_page.body("rgalign", {ALIGNED: row}, {}, {}, {}))
    assert "| SFT & CL, standardised by its own | 33.5% |" in page
    assert "| RGAlign-Rec (SFT & CL), not calibrated | 1 | 30.00 |" in page


def test_options_choose_rows_and_what_cannot_be_is_told(capsys):
    chosen = rgalign.select(rgalign.parse(["--model", QE, "--reasoner", "v2-cl", "--calibrated", "no", "--seeds", "2"]))
    assert chosen == [Row(QE, FULL, False, tuning, seed) for tuning in (1, 2) for seed in (1, 2)]
    assert len(rgalign.select(rgalign.parse(["--reasoner", "v2-sft", "--tunings", "1"]))) == 10
    assert rgalign.select(rgalign.parse(["--model", PROBE, "--reasoner", "mean"])) == [Row(PROBE, "mean")]
    with pytest.raises(ValueError, match="must leave at least one"):
        rgalign.select(rgalign.parse(["--model", "two_towers", "--calibrated", "yes"]))
    with pytest.raises(SystemExit):
        rgalign.parse(["--tunings", "0"])
    assert "--tunings must be at least 1, received 0" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        rgalign.parse(["--quick", "--model", "qe_rec"])
    assert "--quick has its own rows" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        rgalign.parse(["--help"])
    assert f"It costs {len(rows())} rows" in capsys.readouterr().out


def test_the_slice_does_every_kind_of_row_and_shares_what_they_need(tmp_path, capfd):
    command = ["reproduce", "--debug", "rgalign", "--quick", "--runs", str(tmp_path)]
    assert main(command) == 0
    found = json.loads((tmp_path / "rgalign_quick.json").read_text())
    assert {Row(**one["row"]) for one in found["rows"]} == set(rgalign.quick_rows())
    page = (tmp_path / "rgalign_quick.md").read_text()
    for part in ("## Table 2", "## Table 3", "## Table 4", "| oracle |", "## Step by step", "## What it cost"):
        assert part in page
    made = {path: path.stat().st_mtime_ns for path in Path(tmp_path).rglob(".*.made_with.json")}
    names = {path.name for path in made}
    assert {".candidates.made_with.json", ".rewards.made_with.json", ".judges.made_with.json"} <= names
    capfd.readouterr()
    assert main(command) == 0
    assert f"0 of {len(found['rows'])} rows to do" in capfd.readouterr().out
    assert all(path.stat().st_mtime_ns == time for path, time in made.items())
    assert main([*command, "--row", json.dumps(vars(Row(QE, FULL, True, 1)))]) == 0  # as the child of a full run
    assert all(path.stat().st_mtime_ns == time for path, time in made.items())

"""ChoirRec's page of results made by hand, its rows' settings, and the whole of it on small markets."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from antiphon.cli import main
from benchmarks.reproduce import _choir_page, choirrec
from benchmarks.reproduce._choir_rows import (
    ABLATIONS,
    BASELINES,
    FULL,
    IDS,
    ORACLE,
    OWN,
    RATED,
    RATES,
    SEEDS,
    SEGMENTS,
    SETTINGS,
    SWITCHES,
    WHOLE,
    Row,
    chosen,
    config,
    rows,
)

LEVELS = ("overall", "low", *(f"level_{level}" for level in range(1, 6)))


def result(row: Row, gauc: float, fusion: float | None = None) -> dict:
    told = {metric: {"mean": gauc, "low": gauc - 0.01, "high": gauc + 0.01} for metric in ("auc", "gauc")}
    test = {segment: {**told, "dropped": 0.25} for segment in LEVELS}
    if fusion is not None:
        for level in range(1, 6):
            test[f"level_{level}"]["fusion"] = fusion / level
    return {"row": vars(row), "test": test, "valid": {"gauc": gauc}}


def against(difference: float, p: float = 0.001) -> dict:
    one = {"difference": difference, "low": difference - 0.001, "high": difference + 0.001, "p_value": p}
    return {segment: {"auc": one, "gauc": one} for segment in LEVELS}


def test_every_row_is_once_there_and_has_settings_that_hold(tmp_path):
    found = rows()
    assert len(set(found)) == len(found)
    market = [row for row in found if row.data == "market"]
    assert sum(row.model == FULL and row.groups == OWN and not row.setting for row in market) == SEEDS["market"] == 5
    swept = {f"lambda_{w:g}" for w in (0.001, 0.0025, 0.005, 0.01, 0.05)}
    assert {row.model for row in market} == {*BASELINES, FULL, ORACLE, *ABLATIONS, *SWITCHES, *swept}
    assert {row.groups for row in market} == {OWN, IDS, SEGMENTS, WHOLE, "k32", "k64", "k128", "k256", "k512"}
    assert {row.model for row in found if row.data in ("null", "tmall")} == {*BASELINES, FULL, ORACLE}
    for row in found:
        whole = config(row, tmp_path)
        assert whole.ranker.seed == row.seed and whole.market.null_world == (row.data == "null")
        assert row.model == ORACLE or whole.ranker.model.kind == (row.model if row.model in BASELINES else FULL)
        beside = row.model not in (*ABLATIONS, *SWITCHES) and row.groups not in (IDS, WHOLE)
        assert row.base == row if row.setting else (row.base.model == "base") == beside
    assert config(Row("market", FULL, "k512"), tmp_path).groups.k == 512
    assert not config(Row("market", "without_dual"), tmp_path).ranker.choir.dual


@pytest.mark.parametrize("data", ["ml1m", "tmall", "market"])
def test_what_is_compared_has_the_same_widths_epochs_and_optimizer_but_for_its_own_settings(data, tmp_path):
    plain = [config(Row(data, model, setting="plain"), tmp_path).ranker for model in (*BASELINES, FULL)]
    told = {(r.epochs, r.batch, r.optimizer, r.select, r.model.d, r.model.hidden, r.model.dropout) for r in plain}
    assert len(told) == 1
    for model, one in zip((*BASELINES, FULL), plain, strict=True):
        tried = {setting: config(Row(data, model, setting=setting), tmp_path).ranker for setting in SETTINGS}
        assert tried["dropout"] == replace(one, model=replace(one.model, dropout=0.2))
        assert tried["wide"] == replace(one, model=replace(one.model, d=32))
        assert config(Row(data, model), tmp_path).ranker == tried[chosen(data, model)]


def test_each_setting_but_the_configs_is_a_row_of_the_first_seed():
    found = [row for row in rows() if row.setting in SETTINGS]
    tried = {(row.data, row.model, row.setting) for row in found}
    mine = {(data, model, chosen(data, model)) for data in ("ml1m", "tmall", "market") for model in (*BASELINES, FULL)}
    assert not tried & mine and len(tried | mine) == 3 * 6 * len(SETTINGS)
    assert {row.seed for row in found} == {1}


def test_the_base_is_also_trained_at_a_third_and_thrice_the_config_s_rate(tmp_path):
    found = [row for row in rows() if row.setting in RATES]
    counts = {(data, setting): min(RATED, SEEDS[data]) for data in ("ml1m", "tmall", "market") for setting in RATES}
    assert Counter((row.data, row.setting) for row in found) == counts
    for row in found:
        assert row.model == "base" and row.base == row
        mine, plain = (config(one, tmp_path).ranker.optimizer for one in (row, replace(row, setting="")))
        for name in ("learning_rate", "final_rate"):
            assert getattr(mine, name) == pytest.approx(RATES[row.setting] * getattr(plain, name), rel=1e-3)


def test_a_setting_that_the_config_has_got_since_is_no_row_any_more(tmp_path):
    stale, base = Row("market", FULL, setting=chosen("market", FULL)), Row("market", "base")
    machine = {"processor": "P", "cores": 1, "date": "2026-01-01"}
    told = [result(row, 0.6) | {"machine": machine} for row in (stale, base)]
    (tmp_path / "choirrec.json").write_text(json.dumps({"rows": told}))
    assert choirrec.run([], tmp_path, tmp_path, config, "choirrec") == 0
    assert f"1 of {len(rows())} rows" in (tmp_path / "choirrec.md").read_text()


def test_trainings_on_real_data_share_their_world_and_markets_do_not():
    again = [row for row in rows() if row.seed > 1]
    assert {row.data for row in again} == {"ml1m", "market", "null"}
    for row in again:
        assert row.world.seed == (1 if row.data == "ml1m" else row.seed)


def test_the_page_tells_every_setting_by_validation_and_the_configs_in_bold():
    config_has = chosen("market", FULL)
    row = {setting: Row("market", FULL, setting="" if setting == config_has else setting) for setting in SETTINGS}
    results = {row[setting]: {"row": vars(row[setting]), "valid": {"gauc": value}}
               for setting, value in (("plain", 0.61), ("dropout", 0.62), ("wide", 0.63))}  # fmt: skip
    results[row[config_has]] |= result(row[config_has], results[row[config_has]]["valid"]["gauc"], 0.5)
    page = "\n".join(_choir_page.body(results, {}))
    cells = [f"**0.6{n}00**" if setting == config_has else f"0.6{n}00" for n, setting in enumerate(SETTINGS, 1)]
    assert "### Settings, GAUC on validation" in page and f"| ChoirRec | {' | '.join(cells)} |" in page


def test_the_page_has_gains_over_the_base_with_the_published_ones_beside_them():
    results, compared = {}, {}
    for seed in (1, 2):
        base, full = Row("market", "base", seed=seed), Row("market", FULL, seed=seed)
        dual = Row("market", "without_dual", seed=seed)
        results |= {base: result(base, 0.60), full: result(full, 0.60 + 0.01 * seed, 0.8), dual: result(dual, 0.59)}
        compared |= {full: against(0.01 * seed), dual: against(-0.02 * seed, 0.3)}
        results[full]["groups"] = {"attribute_consistency": 0.7, "category_consistency": None, "information": 1.5,
                                   "attributes": 1.9, "profiles": 2.2}
        results[full]["channels"] = {segment: {"own": 0.65, "group": 0.64, "best": 0.3} for segment in LEVELS}
    k = Row("market", FULL, "k32"), Row("market", FULL, "k64")
    results |= {row: result(row, 0.6 + 0.01 * n) for n, row in enumerate(k)}
    other = Row("market", "fused_loss")
    results[other], compared[other] = result(other, 0.61, 0.5), against(0.0)
    page = "\n".join(_choir_page.body(results, compared))
    assert "| ChoirRec | 0.6150 ± 0.0071 |" in page and "0.9225 / 0.9116 / 0.7179 / 0.7768" in page
    assert "+0.0150 ± 0.0071, p 0.2; 2 of 2 seeds p < 0.05" in page
    assert "Users without a GAUC, all of whose labels are one: 25.0%" in page
    assert "| w/o dual channel | −4.06 ± 1.10 % (theirs −0.67 %) | −0.0300 ± 0.0141, p 0.2; 0 of 2 seeds" in page
    assert "α_fusion of level 1 over that of level 5: 5.00 (theirs 2.1)" in page
    assert "| 0.6500 ± 0.0000 | 0.6400 ± 0.0000 | 0.4000 ± 0.0000 | 0.30 ± 0.00 |" in page
    assert "| Eq. 12 alone, no loss of each channel |" in page and "| 5.00 |" in page
    assert "### Figure 6: k" in page and "| 64 | 0.6100 | 0.6100 |" in page
    assert "attribute consistency (theirs 0.83)" in page and "| profiles | 0.70 ± 0.00 |  | 1.50 ± 0.00 |" in page
    assert "alone, which the base reads too, tell 1.90 ± 0.00, all facts of the profiles" in page
    assert "that groups are made of 2.20 ± 0.00." in page
    ((name, picture),) = _choir_page.pictures(results, compared).items()
    assert f"]({name}.svg)" in page
    assert ElementTree.fromstring(picture).tag.endswith("svg") and "GAUC by k, first seed" in picture


def test_options_that_cannot_be_are_told_and_the_cost_is(capsys):
    with pytest.raises(SystemExit):
        choirrec.parse(["--seeds", "0"])
    assert "must be at least 1, received 0" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        choirrec.parse(["--help"])
    assert f"It costs {len(rows())} rows" in capsys.readouterr().out


def test_the_slice_does_every_kind_of_row_and_is_not_done_twice(tmp_path, capfd):
    command = ["reproduce", "--debug", "choirrec", "--quick", "--runs", str(tmp_path)]
    assert main(command) == 0
    found = json.loads((tmp_path / "choirrec_quick.json").read_text())
    assert [Row(**one["row"]) for one in found["rows"]] == choirrec.quick_rows()
    page = (tmp_path / "choirrec_quick.md").read_text()
    assert "## simulated market" in page and "## null world" in page and "| oracle |" in page
    assert "### Table 2" in page and "w/o LLM emb." in page and "### Figure 5" in page
    made = {path: path.stat().st_mtime_ns for path in Path(tmp_path).rglob("metrics.json")}
    assert len(made) == len(found["rows"])
    capfd.readouterr()
    assert main([*command, "--model", "base"]) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in made.items())

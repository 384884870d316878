"""CoCo's page of results made by hand, its rows' settings, its pictures, and the whole of it on a slice."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from antiphon.cli import main
from antiphon.config import Config, load
from benchmarks.reproduce import _coco_pictures, _coco_rows, _command, _page, _plane, _plots, backbones, coco
from benchmarks.reproduce._coco_quick import quick
from benchmarks.reproduce._results import Paired, Result, Results
from benchmarks.reproduce._rows import METRICS, Row
from trainer.statistics import Comparison, Interval

COCO = Row("beauty", "leave_one_out", "pinnerformer", "coco")
BASE = replace(COCO, recipe="base")
SVG = "{http://www.w3.org/2000/svg}"


def result(row: Row, recall: float, told: dict | None = None, **settings) -> Result:
    return Result(
        row=row, settings={"reader": "amazon", "train": {"coco": settings}}, loss="full softmax", users=22363,
        protocol="leave one out", test={name: Interval(recall, recall - 0.004, recall + 0.004) for name in METRICS},
        valid=0.07, epochs=6, best_epoch=4, pretrain_epochs=0, wall_seconds=1620.0, processor_seconds=3000.0,
        machine={"processor": "AMD EPYC", "cores": 2}, date="2026-11-20", told=told or {},
    )  # fmt: skip


def paired(row: Row, baseline: Row, **groups: Comparison) -> Paired:
    return Paired(row, baseline, {metric: Comparison(0.002, 0.001, 0.003, 0.012) for metric in METRICS}, groups)


def known(tmp_path, *results: Result) -> Results:
    found = Results.read(tmp_path / "coco.json")
    for one in results:
        found.put(one)
    return found


@pytest.mark.parametrize("row", [row for row in _coco_rows.ROWS if row.data == "ml100k" or row.backbone == "sasrec"])
def test_every_row_s_settings_hold_and_it_takes_at_most_some_seventy_minutes(row):
    config = _coco_rows.config(row)
    train = config.variants[row.name]
    assert list(config.variants)[-1] == row.name and train.seed == 1 and train.model.kind == row.backbone
    held = row.recipe in (*_coco_rows.HELD_BASE, *_coco_rows.HELD)
    assert train.coco.enabled == (row.recipe not in (*_coco_rows.BASE, *_coco_rows.HELD_BASE, "like_base"))
    assert train.held_back == (row.recipe == "held_best")
    assert 0 < coco.REPRODUCTION.minutes(row) < 75
    first = coco.REPRODUCTION.start(row)
    assert train.start_from == (first.name if first else "")
    if first:  # the same backbone, trained on for as long as the base
        base = _coco_rows.config(replace(row, recipe="base")).variants[replace(row, recipe="base").name]
        start = config.variants[first.name]
        best = replace(first, recipe="best")
        recipe = backbones.config(best).variants[best.name]
        if held:  # with items' titles, and without the last targets, which are new to what follows
            assert start.model == replace(recipe.model, knowledge="item_text", knowledge_start=0.5)
            assert start == replace(recipe, model=start.model, held_back=1)
        else:
            assert start == recipe
        told = {name: getattr(start.model, name) for name in ("knowledge", "knowledge_width", "likeness")}
        assert (replace(train.model, **told), train.loss, train.batch) == (start.model, start.loss, start.batch)
        knows = held or row.recipe in ("kar", "r4ec", *_coco_rows.LIKE)
        assert train.average == start.average and bool(train.model.knowledge) == knows
        assert (train.epochs, train.patience) == (base.epochs, base.patience)


@pytest.mark.parametrize("recipe", _coco_rows.LIKE)
def test_a_row_with_likeness_is_the_row_without_but_for_its_answers(recipe):
    row = replace(COCO, recipe=recipe)
    plain = replace(row, recipe=_coco_rows.LIKE[recipe])
    found, other = (_coco_rows.config(one).variants[one.name] for one in (row, plain))
    assert found == replace(other, model=replace(other.model, **_coco_rows.LIKENESS)) != other


def test_a_change_of_coco_changes_one_setting():
    whole = _coco_rows.config(COCO)
    for recipe, method in _coco_rows.METHODS.items():
        if not method.source and not method.llm:
            train = _coco_rows.config(replace(COCO, recipe=recipe)).variants[replace(COCO, recipe=recipe).name]
            plain = vars(whole.variants[COCO.name].coco)
            other = {name: value for name, value in vars(train.coco).items() if value != plain[name]}
            assert other.keys() - {"selected"} == method.coco.keys()


@pytest.mark.parametrize("data", ["beauty", "toys"])
def test_the_config_s_base_is_the_backbones_best_recipe(data):
    ours = load(backbones.CONFIGS / f"{data}_coco.yaml").variants["best"]
    assert ours == backbones.config(Row(data, "leave_one_out", "sasrec", "best")).variants["sasrec-best-1"]


def test_a_row_has_a_comparison_with_each_of_its_baselines_and_what_else_is_known_of_it(tmp_path):
    told, other = {"epochs": [{"epoch": 1, "helped": 0.5}]}, replace(COCO, recipe="kar")
    results = known(tmp_path, result(BASE, 0.06), result(other, 0.061), result(COCO, 0.064, told))
    results.compare(paired(COCO, other))
    results.compare(paired(COCO, BASE, women=Comparison(0.01, 0.0, 0.02, 0.04)))
    again = Results.read(results.path)
    assert [one.baseline for one in again.compared(COCO)] == [BASE, other]
    assert again.paired == results.paired and again.rows[COCO].told == told
    assert ["told" in one for one in json.loads(results.path.read_text())["rows"]] == [False, True, False]
    again.put(result(other, 0.062))
    assert [one.baseline for one in again.compared(COCO)] == [BASE]


def chosen(*arguments):
    return _command.select(coco.REPRODUCTION, _command.parse(coco.REPRODUCTION, arguments))


def test_options_choose_rows_and_other_backbones_only_by_name():
    assert {row.backbone for row in chosen()} == {"sasrec", "pinnerformer"}
    assert [row.seed for row in chosen("--data", "toys", "--backbone", "fdsa", "--row", "coco")] == [1, 2, 3]
    assert {row.recipe for row in chosen("--row", "kar", "codes_4")} == {"kar", "codes_4"}


def test_a_row_comes_after_the_one_it_starts_from_which_is_trained_if_it_does_not_lie_in_the_runs(tmp_path, capsys):
    """The data are not there, so all that is told is what would be done."""
    rows = [replace(BASE, backbone="sasrec")]
    missing = replace(coco.REPRODUCTION, config=lambda row: _elsewhere(_coco_rows.config(row), tmp_path))
    assert _command.run(missing, rows, tmp_path / "runs", tmp_path) == 1
    told = capsys.readouterr().out
    assert "coco: 2 of 2 rows to do" in told
    assert told.index("[row 1/2] beauty · leave one out · sasrec · best") < told.index("[row 2/2]")


def _elsewhere(config: Config, folder) -> Config:
    return replace(config, data=replace(config.data, reader="tables", path=str(folder), events="none.csv"))


def test_the_page_has_gains_over_the_base_with_the_published_ones_beside_them(tmp_path):
    results = known(tmp_path, result(BASE, 0.06), result(COCO, 0.0642), result(replace(COCO, recipe="coco_con"), 0.063))
    results.compare(paired(COCO, BASE))
    text = _page.write(coco.REPRODUCTION, results, tmp_path).read_text()
    first = text.partition("## Table 1")[2].partition("## Table 2")[0]
    assert (
        "| PinnerFormer | CoCo | 0.0642 (0.0602 to 0.0682) | 0.0642 (0.0602 to 0.0682) | +7.0%, p 0.012 "
        "| +7.0%, p 0.012 | 0.0549 / 0.0405 | +6.4% / +8.6% | 4 of 6 | 27.0 (50.0) |"
    ) in first
    assert "| PinnerFormer | base | 0.0600 (0.0560 to 0.0640) | 0.0600 (0.0560 to 0.0640) |  |  | 0.0516 /" in first
    second = text.partition("## Table 2")[2].partition("## ")[0]
    assert "| Amazon Beauty | COBRA | published | 0.0537 | 0.0395 |" in second
    third = text.partition("## Table 3")[2].partition("## ")[0]
    assert "| PinnerFormer | CoCo_Con | 0.0630 (0.0590 to 0.0670) |" in third
    assert "| −1.9% | −1.9% | 0.0543 / 0.0400 | −1.1% / −1.2% |" in third
    assert "Figure 8" not in text and "Table 7" not in text


def test_pictures_are_of_what_the_results_hold(tmp_path):
    planes = {when: {"behaviour": "0,0 9,5", "semantic": "3,3 1,2", "mixed": 0.25} for when in ("before", "after")}
    told = {
        "epochs": [{"epoch": 1, "helped": 0.25}, {"epoch": 2, "helped": 0.5}], "selected": {"0": 3, "2": 5}, "sets": 4,
        "spaces": planes,
    }  # fmt: skip
    base, whole, few = (replace(COCO, backbone="sasrec", recipe=recipe) for recipe in ("base", "coco", "codes_4"))
    results = known(tmp_path, result(base, 0.06), result(whole, 0.064, told), result(few, 0.063, codes=4, selected=4))
    results.compare(paired(whole, base, women=Comparison(0.01, -0.01, 0.03, 0.4)))
    page = _page.write(coco.REPRODUCTION, results, tmp_path).read_text()
    names = ("headline", "gains", "sensitivity", "groups", "helped", "spaces", "selected")
    drawn = {name: ElementTree.parse(tmp_path / f"coco_{name}.svg").getroot() for name in names}
    for name in names:
        assert f"(coco_{name}.svg)" in page
    told = {name: [title.text for title in root.iter(f"{SVG}title")] for name, root in drawn.items()}
    assert told["sensitivity"] == ["SASRec, CoCo, K 4: 0.0630", "SASRec, CoCo, K 64: 0.0640"]
    name = "Amazon Beauty, SASRec"
    assert told["helped"] == [f"{name}, epoch 1: 0.7500", f"{name}, epoch 2: 0.5000"]
    assert told["gains"] == ["CoCo, SASRec: +0.0020 (+0.0010 to +0.0030)"]
    assert told["selected"] == ["m 0: 3", "m 2: 5"]
    assert told["groups"] == ["women, CoCo: +0.0100 (-0.0100 to +0.0300)"]
    points = [circle for group in drawn["spaces"].iter(f"{SVG}g") if group.get("fill") for circle in group]
    assert len(points) == 8
    assert "| Amazon Beauty | SASRec, CoCo | 0.250 | 0.250 |" in page


def test_a_line_s_points_stand_on_its_scale():
    panel = _plots.lines("a", "x", {"one": [(0, Interval(0.0, 0.0, 0.0)), (2, Interval(4.0, 4.0, 4.0))]})
    circles = [part for part in ElementTree.fromstring(f"<g>{''.join(panel.parts)}</g>").iter("circle")]
    low, high = (_plots.HEIGHT - _plots.BOTTOM, _plots.TOP)
    assert [(float(c.get("cx")), float(c.get("cy"))) for c in circles] == [
        (_plots.LEFT, low), (_plots.WIDTH - _plots.RIGHT, high)
    ]  # fmt: skip


def test_spaces_are_mixed_as_far_as_nearest_vectors_are_of_the_other():
    here, there = np.array([[1.0, 0.0], [1.0, 0.1]]), np.array([[0.0, 1.0], [0.1, 1.0]])
    assert _plane.mixed({"a": here, "b": there}, nearest=1) == 0.0
    assert _plane.mixed({"a": here[:1], "b": 5 * here[1:]}, nearest=1) == 1.0
    assert _plane.mixed({"a": here, "b": there}, nearest=3) == pytest.approx(2 / 3)  # all others


def test_a_plane_has_a_point_for_each_vector_within_its_bounds():
    draw = np.random.default_rng(0)
    laid = _plane.lay({"behaviour": draw.normal(size=(6, 4)), "semantic": draw.normal(size=(5, 4))})
    points = {name: _plane.points(laid[name]) for name in ("behaviour", "semantic")}
    assert {name: len(found) for name, found in points.items()} == {"behaviour": 6, "semantic": 5}
    flat = [value for found in points.values() for point in found for value in point]
    assert (min(flat), max(flat)) == (0, 1000)


def test_the_slice_does_every_kind_of_row_and_draws_every_picture_from_the_results_alone(tmp_path, capfd):
    command = ["reproduce", "--debug", "coco", "--quick", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]
    assert main(command) == 0
    small = quick(coco.REPRODUCTION)
    results = Results.read(tmp_path / "coco_quick.json")
    assert set(results.rows) == set(small.all_rows())
    wanted = {(row, baseline) for row in results.rows for baseline in small.baselines(row) if baseline in results.rows}
    assert set(results.paired) == wanted
    coco_row = next(row for row in results.rows if row.recipe == "coco")
    told = results.rows[coco_row].told
    assert sum(told["selected"].values()) == results.rows[coco_row].users == 60 >= told["sets"]
    assert set(told["spaces"]) == {"before", "after"} and all("helped" in one for one in told["epochs"])
    titles = results.rows[next(row for row in results.rows if row.recipe == "base")].told["titles"]
    assert set(titles["surprise"]) == {"training", "valid", "test"} and "less" not in titles["test"]["the backbone"]
    names = ("headline", "gains", "sensitivity", "groups", "helped", "spaces", "selected")
    assert {path.name for path in tmp_path.glob("*.svg")} == {f"coco_quick_{name}.svg" for name in names}

    page = (tmp_path / "coco_quick.md").read_text()
    assert "## What titles could tell" in page and f"titles, w = {titles['weight']:g} |" in page
    for row in results.rows.values():
        figures = " | ".join(
            f"{one.mean:.4f} ({one.low:.4f} to {one.high:.4f})" for one in (row.test["recall@5"], row.test["ndcg@5"])
        )
        assert f"| {small.titles[row.row.recipe]} | {figures} |" in page
    alone = tmp_path / "alone"
    content = json.loads((tmp_path / "coco_quick.json").read_text())
    next(one for one in content["rows"] if one["recipe"] == "coco")["test"]["recall@5"]["mean"] = 0.1234
    alone.mkdir()
    (alone / "coco_quick.json").write_text(json.dumps(content))
    again = _page.write(small, Results.read(alone / "coco_quick.json"), alone).read_text()
    assert "| CoCo | 0.1234 (" in again and "0.1234" not in page
    assert _coco_pictures.pictures(small, results).keys() == {f"coco_quick_{name}" for name in names}

    capfd.readouterr()
    assert main(command) == 0
    assert capfd.readouterr().out.count(": there, skipped") == len(results.rows)

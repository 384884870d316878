"""What a reproduction says of results made by hand, and the whole of one on a slice."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from antiphon.cli import main
from antiphon.config import Config
from benchmarks.reproduce import _by_data, _command, _page, _settings, _tables, _verdict, backbones
from benchmarks.reproduce._quick import quick
from benchmarks.reproduce._results import Paired, Result, Results
from benchmarks.reproduce._rows import ALL, METRICS, Reference, Reproduction, Row
from feature_store.config import DataConfig
from trainer.config import ModelConfig, TrainConfig
from trainer.statistics import Comparison, Interval

BEST = Row("beauty", "leave_one_out", "sasrec", "best")
PAPER = replace(BEST, recipe="paper")
OTHER = replace(BEST, backbone="fdsa")
LATER = replace(BEST, split="global_time")
PUBLISHED = Reference("published", {"recall@5": 0.04, "ndcg@5": 0.03}, "a paper")
KNOWN = Reference("best known", {"recall@5": 0.07}, "SASRec, full softmax")


def outside(row: Row, reference: Reference) -> Reference | None:
    return reference if row.split == "leave_one_out" else None


REPRODUCTION = Reproduction(
    name="backbones", command="antiphon reproduce backbones", title="Backbones", about="About them.",
    choices=backbones.REPRODUCTION.choices, body=_by_data.body, pictures=_by_data.pictures, slice=quick, cost="",
    rows=(PAPER, BEST, OTHER, LATER),
    config=lambda row: Config(row.folder, variants={row.name: TrainConfig(seed=row.seed)}),
    published=lambda row: outside(row, PUBLISHED),
    best_known=lambda row: outside(row, KNOWN),
    aim=lambda row: outside(row, {"paper": PUBLISHED, "best": KNOWN}[row.recipe]),
    baselines=lambda row: [replace(row, backbone="sasrec")] if row.backbone == "fdsa" else [],
    seeds=lambda row: 2 if row == BEST else 1,
    titles={"beauty": "Amazon Beauty", "sasrec": "SASRec", "fdsa": "FDSA"},
)  # fmt: skip


def result(row: Row, recall: float = 0.05, **changes) -> Result:
    """Intervals reach 0.004 to each side; the four means are recall, half of it, twice, and itself."""
    means = dict(zip(METRICS, (recall, recall / 2, 2 * recall, recall), strict=True))
    values = {
        "row": row, "settings": {"reader": "amazon"}, "loss": "full softmax", "users": 22363, "valid": 0.07,
        "protocol": "leave one out, full ranking over 12,101 items, seen items excluded, expected-rank ties",
        "test": {name: Interval(mean, mean - 0.004, mean + 0.004) for name, mean in means.items()},
        "epochs": 48, "best_epoch": 40, "pretrain_epochs": 0, "wall_seconds": 720.0, "processor_seconds": 1200.0,
        "machine": {"processor": "AMD EPYC", "cores": 2}, "date": "2026-11-20",
    }  # fmt: skip
    return Result(**{**values, **changes})


def paired(row: Row, baseline: Row) -> Paired:
    return Paired(row, baseline, {metric: Comparison(-0.002, -0.003, -0.001, 0.002) for metric in METRICS})


@pytest.mark.parametrize(
    "reference, where",
    [
        (0.045, "below its interval"), (0.046, "inside its interval"), (0.05, "inside its interval"),
        (0.054, "inside its interval"), (0.0541, "above its interval"),
    ],
)  # fmt: skip
def test_a_figure_is_held_against_its_reference(reference, where):
    assert _verdict.where(Interval(0.05, 0.046, 0.054), reference) == where


@pytest.mark.parametrize(
    "recall, told",
    [
        (0.03, "SASRec, paper, stays below the published figures in R@5 (0.0300 against 0.0400, above its interval), "
               "N@5 (0.0150 against 0.0300, above its interval)."),
        (0.03996, "SASRec, paper, stays below the published figures in N@5 (0.0200 against 0.0300, above its "
                  "interval); it reaches them in R@5 (0.0400 against 0.0400, inside its interval)."),
        (0.05, "SASRec, paper, stays below the published figures in N@5 (0.0250 against 0.0300, above its interval); "
               "it reaches them in R@5 (0.0500 against 0.0400, below its interval)."),
        (0.06, "SASRec, paper, reaches the published figures in R@5 (0.0600 against 0.0400, below its interval), "
               "N@5 (0.0300 against 0.0300, inside its interval)."),
    ],
)  # fmt: skip
def test_what_stays_below_its_reference_is_told_with_both_figures(recall, told):
    assert _verdict.sentence("SASRec, paper", result(PAPER, recall), PUBLISHED) == told


def test_results_come_back_as_they_were_written_sorted_and_rounded(tmp_path):
    results = Results.read(tmp_path / "backbones.json")
    for row in (replace(BEST, seed=2), OTHER, BEST):
        results.put(result(row, 0.0712345678))
    results.compare(paired(OTHER, BEST))
    again = Results.read(results.path)
    assert list(again.rows) == [OTHER, BEST, replace(BEST, seed=2)]
    assert again.rows[BEST] == result(BEST, 0.0712345678, test={
        metric: replace(one, mean=round(one.mean, 6), low=round(one.low, 6), high=round(one.high, 6))
        for metric, one in result(BEST, 0.0712345678).test.items()
    })  # fmt: skip
    assert again.paired == {(OTHER, BEST): paired(OTHER, BEST)}


def test_a_row_that_is_done_again_takes_its_comparisons_with_it_unless_it_came_to_the_same(tmp_path):
    results = Results.read(tmp_path / "backbones.json")
    other = Results.read(results.path)  # of another process, which knows nothing of what follows
    for row in (BEST, OTHER):
        results.put(result(row))
    results.compare(paired(OTHER, BEST))
    other.put(replace(result(BEST), wall_seconds=1234.0, date="2030-01-01"))
    assert Results.read(results.path).paired == {(OTHER, BEST): paired(OTHER, BEST)}
    other.put(result(BEST, 0.06))
    found = Results.read(results.path)
    assert (list(found.rows), found.paired) == ([OTHER, BEST], {})


def test_another_seed_takes_the_comparison_of_all_seeds_with_it(tmp_path):
    results = Results.read(tmp_path / "backbones.json")
    row, baseline = (replace(one, seed=ALL) for one in (OTHER, BEST))
    for one in (BEST, replace(BEST, seed=2)):
        results.put(result(one))
    results.compare(paired(row, baseline))
    results.put(result(PAPER))
    assert set(results.paired) == {(row, baseline)} and results.comparisons([OTHER]) == [paired(row, baseline)]
    text = "\n".join(_tables.user_by_user(REPRODUCTION, [paired(OTHER, BEST), *results.comparisons([OTHER])]))
    assert "User by user, seed by seed, and each user's mean of all seeds" in text
    assert "| FDSA, best | SASRec, best | 1 |" in text and "| FDSA, best | SASRec, best | all |" in text
    results.put(result(replace(BEST, seed=3)))
    assert results.paired == {}


def test_a_file_that_holds_no_results_is_told(tmp_path):
    (tmp_path / "x.json").write_text('{"rows": [{"data": "beauty"}], "paired": []}')
    with pytest.raises(ValueError, match="x.json: is no file of results"):
        Results.read(tmp_path / "x.json")


def test_settings_are_those_unlike_the_default_and_bear_on_the_figures():
    train = TrainConfig(batch=128, epochs=48, seed=3, cluster="ps=1,workers=1", model=ModelConfig(d=32))
    config = Config("a", variants={BEST.name: train})
    assert _settings.of(config, BEST) == {
        "reader": "movielens_100k", "train": {"batch": 128, "epochs": 48, "model": {"d": 32}}
    }  # fmt: skip


def test_many_rows_that_are_missing_are_told_by_what_they_share(tmp_path):
    rows = (*(replace(BEST, recipe=recipe) for recipe in ("one", "two", "three")), replace(OTHER, recipe="last"))
    wide = replace(REPRODUCTION, rows=rows, seeds=lambda row: 1 if row.recipe == "last" else 3)
    text = _page.write(wide, Results.read(tmp_path / "backbones.json"), tmp_path).read_text()
    assert "Not there yet, 10 rows:\n\n" in text
    place = f"- {BEST.data} · leave one out · {BEST.backbone}: "
    assert f"{place}one (seed 1 and 2 and 3), two (seed 1 and 2 and 3), three (seed 1 and 2 and 3)\n" in text
    assert f"- {OTHER.data} · leave one out · {OTHER.backbone}: last\n" in text


def test_a_row_that_fails_is_told_with_its_log_and_leaves_a_page(tmp_path, capfd):
    data = DataConfig(reader="tables", events="no/such.csv")
    failing = replace(REPRODUCTION, config=lambda row: replace(REPRODUCTION.config(row), data=data))
    assert _command.run(failing, [BEST], tmp_path, tmp_path) == 1
    told = capfd.readouterr().out
    log = tmp_path / BEST.folder / "logs" / "ingest.log"
    assert f"[row 1/1] {BEST}: FAILED: ingest failed with code 2; its output is in {log}" in told
    assert told.splitlines()[-1].startswith(f"failed: {BEST}: ")
    assert "Not there yet" in (tmp_path / "backbones.md").read_text()


def test_the_page_has_every_row_its_intervals_references_seeds_and_what_is_missing(tmp_path):
    results = Results.read(tmp_path / "backbones.json")
    for one in (result(BEST, 0.072), result(replace(BEST, seed=2), 0.07), result(PAPER, 0.039), result(OTHER, 0.06)):
        results.put(one)
    results.compare(paired(OTHER, BEST))
    text = _page.write(REPRODUCTION, results, tmp_path).read_text()
    assert "4 of 5 rows, 2026-11-20, on AMD EPYC, 2 cores." in text
    assert "Not there yet: beauty · global time · sasrec · best · seed 1." in text
    assert (
        "| SASRec | best | full softmax | 0.0720 (0.0680 to 0.0760) | 0.0360 (0.0320 to 0.0400) "
        "| 0.1440 (0.1400 to 0.1480) | 0.0720 (0.0680 to 0.0760) | 0.0400 / 0.0300 | 40 of 48 | 12.0 (20.0) |"
    ) in text
    assert "| best known |  | SASRec, full softmax | 0.0700 |" in text
    assert "- SASRec, best, reaches the best known figures in R@5 (0.0720 against 0.0700, inside its interval)" in text
    assert "- SASRec, paper, stays below the published figures in R@5 (0.0390 against 0.0400, inside its int" in text
    assert "- SASRec, best, mean of 2 seeds, reaches the best known figures in R@5 (0.0710 against 0.0700)." in text
    assert "| SASRec | best | 2 | 0.0710 ± 0.0014 (0.0700 to 0.0720) |" in text
    assert "| FDSA, best | SASRec, best | −0.0020 (−0.0030 to −0.0010), p 0.002 |" in text
    assert "global time split\n" not in text and "_tuning" not in text
    (tmp_path / "backbones_tuning.md").write_text("What was tried.")
    results.put(result(LATER, 0.03))
    text = _page.write(REPRODUCTION, results, tmp_path).read_text()
    assert "(backbones_tuning.md)" in text and "Not there yet" not in text
    later = text.partition("## Amazon Beauty, global time split")[2]
    assert "0.0300 (0.0260 to 0.0340)" in later and "published" not in later


def test_the_picture_has_a_dot_for_each_row_and_the_marks_beside_it(tmp_path):
    results = Results.read(tmp_path / "backbones.json")
    for row in (BEST, PAPER, LATER):
        results.put(result(row))
    _page.write(REPRODUCTION, results, tmp_path)
    svg = "{http://www.w3.org/2000/svg}"
    drawn = ElementTree.parse(tmp_path / "backbones.svg").getroot()
    told = [title.text for title in drawn.iter(f"{svg}title")]
    assert told == ["SASRec, paper: 0.0500 (0.0460 to 0.0540)", "SASRec, best: 0.0500 (0.0460 to 0.0540)"]
    classes = [line.get("class") for panel in drawn.findall(f"{svg}g")[1:] for line in panel.iter(f"{svg}line")]
    assert (classes.count("published"), classes.count("best-known"), classes.count("interval")) == (2, 1, 2)


def test_what_remains_is_told_by_the_rows_most_like_it():
    seconds = {BEST: 100.0, replace(BEST, data="toys"): 60.0, PAPER: 40.0}
    assert _command.remaining([BEST, replace(BEST, data="ml1m"), replace(OTHER, recipe="paper")], seconds) == (
        100.0 + 80.0 + 40.0
    )
    assert _command.remaining([BEST], {}) == 0


def test_what_a_row_is_thought_to_take_counts_where_none_like_it_has_been_done():
    seconds = {BEST: 100.0}
    assert _command.remaining([replace(BEST, seed=2), OTHER], seconds, lambda row: 3.0) == 100.0 + 180.0


def test_the_page_of_the_backbones_is_that_of_its_results(tmp_path, repository):
    """What is in the repository is what the code makes of the file beside it."""
    there = repository / "docs" / "results"
    for name in ("backbones.json", "backbones_tuning.md"):
        (tmp_path / name).write_text((there / name).read_text())
    page = _page.write(backbones.REPRODUCTION, Results.read(tmp_path / "backbones.json"), tmp_path)
    for name in ("backbones.md", "backbones.svg"):
        assert (page.parent / name).read_text() == (there / name).read_text()


def test_the_backbones_are_38_rows_whose_recipes_exist():
    rows = backbones.REPRODUCTION.all_rows()
    assert len(rows) == len(set(rows)) == 38
    for row in rows:
        config = backbones.config(row)
        train = config.variants[row.name]
        assert (config.examples.split, train.seed, train.model.kind) == (row.split, row.seed, row.backbone)


def chosen(*arguments):
    return _command.select(backbones.REPRODUCTION, _command.parse(backbones.REPRODUCTION, arguments))


def test_options_choose_rows():
    assert [row.seed for row in chosen("--data", "beauty", "--backbone", "sasrec", "--recipe", "best")] == [1, 2, 3, 1]
    assert {row.data for row in chosen("--split", "global_time")} == {"beauty", "toys"}
    assert len(chosen("--data", "toys", "--backbone", "fdsa", "sasrec", "--recipe", "paper", "--seeds", "5")) == 10
    with pytest.raises(ValueError, match="must leave at least one"):
        chosen("--data", "ml1m", "--backbone", "fdsa")


def test_data_that_is_not_there_is_told_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ANTIPHON_DATA", str(tmp_path / "nowhere"))
    assert main(["reproduce", "backbones", "--out", str(tmp_path), "--runs", str(tmp_path)]) == 2
    assert "data.path must be there (set ANTIPHON_DATA?), received" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_slice_does_every_row_once_and_again_what_has_changed(tmp_path, capfd):
    """All of it in this process; then nothing is left to do; then one row with another recipe, in processes."""
    command = ["reproduce", "--debug", "backbones", "--quick", "--runs", str(tmp_path)]
    assert main(command) == 0
    small = quick(backbones.REPRODUCTION)
    rows, page, file = small.all_rows(), tmp_path / "backbones_quick.md", tmp_path / "backbones_quick.json"
    kinds = {(backbone, recipe) for backbone in backbones.BACKBONES for recipe in backbones.RECIPES}
    assert {(row.backbone, row.recipe) for row in rows} == kinds
    assert {row.split for row in rows} == {"leave_one_out", "global_time"}
    table = [line for line in page.read_text().splitlines() if line.count("(") == 5 and line.endswith(" |")]
    assert len(table) == len(rows)
    assert all(len(re.findall(r"0\.\d{4} \(0\.\d{4} to 0\.\d{4}\)", line)) == 4 for line in table)
    first = json.loads(file.read_text())
    assert len(first["rows"]) == len(rows) and all(one["processor_seconds"] > 0 for one in first["rows"])
    assert len(first["paired"]) == sum(len(small.baselines(row)) for row in rows) == 4

    capfd.readouterr()
    assert main(command) == 0
    told = capfd.readouterr().out
    assert told.count(": there, skipped") == len(rows) and "..." not in told
    assert json.loads(file.read_text()) == first

    changed = next(row for row in rows if row.recipe == "best" and row.backbone == "sasrec")

    def other(row: Row) -> Config:
        config = small.config(row)
        train = config.variants[row.name]
        train = replace(train, model=replace(train.model, d=8)) if row == changed else train
        return replace(config, variants={row.name: train})

    assert _command.run(replace(small, config=other, here=False), rows, tmp_path, tmp_path) == 0
    told = capfd.readouterr().out
    assert told.count(": there, skipped") == len(rows) - 1 and f"{changed} ..." in told
    assert "examples: unchanged, skipped" in told and f"train-{changed.name}: done" in told
    second = json.loads(file.read_text())
    moved = [new["backbone"] for old, new in zip(first["rows"], second["rows"], strict=True) if old != new]
    assert moved == ["sasrec"]
    assert [one for one in second["rows"] if one["settings"]["train"]["model"]["d"] == 8]

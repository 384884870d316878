"""The run's report: one HTML file that needs nothing beside it."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from antiphon import chart, explanations, records, work
from antiphon.clock import clock
from antiphon.config import Config, dump
from antiphon.html import Markup, element, join, table
from antiphon.stages import plan

PACKAGES = [
    "antiphon",
    "tensorflow",
    "tf-keras",
    "torch",
    "transformers",
    "apache-beam",
    "feast",
    "duckdb",
    "numpy",
]


def write(config: Config) -> dict[str, Any]:
    """Write `report.html` into the run's folder, from what the stages left there.

    Raises:
        FileNotFoundError: a stage has not left what the report shows of it.
    """
    sections = [
        ("Which model is better", _comparison(config)),
        ("Recommendations", _recommendations(config)),
        *_explanations(config),
        ("Training", _training(config)),
        ("Data", _data(config)),
        ("Time", _time(config)),
        (
            "Config",
            element("details", element("summary", "The config as resolved"), element("pre", dump(config))),
        ),
        ("Versions", _versions()),
    ]
    body = [element("header", element("h1", config.name), element("p", _lead(config), class_="lead"))]
    body += [element("section", element("h2", title), content) for title, content in sections]
    style = resources.files("antiphon").joinpath("report.css").read_text(encoding="utf-8")
    head = [
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        element("title", f"{config.name} · Antiphon"),
        element("style", Markup(style)),
    ]
    page = element("html", element("head", *head), element("body", element("main", *body)), lang="en")
    path = config.folder / "report.html"
    records.write_text(path, f"<!doctype html>\n{page}\n")
    return {"file": path.name, "bytes": path.stat().st_size}


def _load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _lead(config: Config) -> str:
    """When it was made, what was exported, and how each variant did against the first."""
    chosen = work.chosen(config)
    made = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0")
    why = "as was asked" if chosen.get("asked") else "the best NDCG@10 on validation"
    told = [f"Made {made}. Exported: {chosen['variant']}, {why}."]
    baseline, *others = config.variants
    for other in others:
        tests = _load(work.comparison_file(config, other))["b_minus_a"]
        name = "ndcg@10" if "ndcg@10" in tests else next(iter(tests))
        change = f"{tests[name]['difference']:+.4f}".replace("-", "−")
        told.append(f"On test, {other} against {baseline}: {metric_title(name)} {change}, "
                    f"p = {tests[name]['p_value']:.2g}.")  # fmt: skip
    return " ".join(told)


def _comparison(config: Config) -> Markup:
    """Rows are metrics on the test split, columns the models; then each variant against the first."""
    folder = config.folder / "evaluation"
    metrics = {name: _load(folder / name / "metrics.json") for name in ["popularity", *config.variants]}
    baseline, *others = config.variants
    tests = {other: _load(work.comparison_file(config, other))["b_minus_a"] for other in others}
    names = [name for name in metrics[baseline]["test"] if name != "users"]
    head = ["Test split", *metrics]
    for other in others:
        head += [f"{other} − {baseline}", "p"]
    rows = []
    for name in names:
        row: list[Any] = [metric_title(name), *(_interval(metrics[model]["test"][name]) for model in metrics)]
        for other in others:
            test = tests[other][name]
            better = "better" if test["difference"] > 0 else "worse"
            better = better if test["p_value"] < 0.05 else None
            shown = {"mean": test["difference"], "low": test["low"], "high": test["high"]}
            row += [element("span", _interval(shown, sign="+"), class_=better), f"{test['p_value']:.3g}"]
        rows.append(row)
    users = metrics[baseline]["test"]["users"]
    note = f"{users:,} users; {metrics[baseline]['protocol']}. Small: 95 % intervals, bootstrap over users."
    if others:
        note += " p: paired sign-flip permutation test over users, two-sided."
    return join([table(head, rows), element("p", note, class_="note")])


def metric_title(name: str) -> str:
    """recall@10 -> Recall@10, ndcg@5 -> NDCG@5."""
    kind, at, cutoff = name.partition("@")
    return (kind.capitalize() if kind == "recall" else kind.upper()) + at + cutoff


def _interval(value: dict[str, float], sign: str = "") -> Markup:
    text = f"{value['low']:{sign}.4f} … {value['high']:{sign}.4f}"
    return join([f"{value['mean']:{sign}.4f}".replace("-", "−"), element("small", text.replace("-", "−"))])


def _training(config: Config) -> Markup:
    histories = {name: _load(config.folder / "models" / name / "history.json") for name in config.variants}
    charts = []
    for title, key in (
        ("Loss on the training split", "loss"),
        ("NDCG@10 on the validation split", "valid/ndcg@10"),
    ):
        series = {
            name: [(entry["epoch"], entry[key]) for entry in history["epochs"] if key in entry]
            for name, history in histories.items()
        }
        best = {name: history["summary"]["best_epoch"] for name, history in histories.items()}
        drawn = chart.lines(series, "epoch", best)
        charts.append(element("figure", element("figcaption", title), drawn))
    rows = []
    for name, history in histories.items():
        summary = history["summary"]
        speeds = sorted(entry["targets_per_second"] for entry in history["epochs"])
        rows.append([name, summary["epochs"], summary["best_epoch"], f"{summary['valid_ndcg@10']:.4f}",
                     f"{speeds[len(speeds) // 2]:,.0f}", summary["cluster"] or "in one process"])  # fmt: skip
    head = ["Model", "Epochs", "Best epoch", "Its NDCG@10", "Targets per second (median)", "Where"]
    note = element("p", "A ring marks the epoch that was kept.", class_="note")
    return join(
        [chart.legend(list(histories)), element("div", *charts, class_="charts"), note, table(head, rows)]
    )


def _recommendations(config: Config) -> Markup:
    found = _load(config.folder / "recommendations.json")
    cards = []
    for answer in found["users"]:
        newest = answer["history"][-8:][::-1]
        seen = [element("li", item["title"]) for item in newest]
        picks = [
            element("li", item["title"], element("small", f"{item['score']:.2f}")) for item in answer["items"]
        ]
        cards.append(
            element(
                "article",
                element("h3", "User ", answer["user_id"]),
                element("h4", f"Last seen, newest first ({len(newest)} of {answer['events']:,})"),
                element("ul", *seen),
                element("h4", "Recommended"),
                element("ol", *picks, class_="picks"),
            )
        )
    note = (
        f"Answered by version {found['version']} of {found['variant']} over gRPC; REST gave the same items. "
        f"The histories are the online feature store's."
    )
    return join([element("div", *cards, class_="cards"), element("p", note, class_="note")])


def _explanations(config: Config) -> list[tuple[str, Markup]]:
    """A section for each variant that a language model trained with."""
    found = {f"What the language model changed in {name}": explanations.read(config, name) for name in config.variants}
    return [(title, explanations.markup(examples)) for title, examples in found.items() if examples]


def _data(config: Config) -> Markup:
    tables = _load(config.folder / "tables" / "MANIFEST.json")
    rows = []
    for name, about in tables["tables"].items():
        letters = about["dead_letters"]
        reasons = [element("small", f"{count:,} {reason}") for reason, count in letters.items()]
        rows.append([name, f"{about['rows']:,}", f"{about['duplicates']:,}",
                     join([f"{sum(letters.values()):,}", *reasons])])  # fmt: skip
    splits = _load(config.folder / "examples" / "MANIFEST.json")["splits"]
    window = tables["window"]
    counts = [[name, f"{about['examples']:,}", f"{about.get('targets', about['examples']):,}"]
              for name, about in splits.items()]  # fmt: skip
    return join([
        table(["Table", "Rows", "Duplicates dropped", "Dead letters"], rows),
        table(["Split", "Examples", "Targets"], counts),
        element("p", f"Events from {_day(window['first'])} to {_day(window['last'])}.", class_="note"),
    ])  # fmt: skip


def _day(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%-d %B %Y}"


def _time(config: Config) -> Markup:
    done = [records.read(config.folder, stage.name) for stage in plan(config) if stage.name != "report"]
    kept = [record for record in done if record is not None and record.done]
    longest = max((record.seconds for record in kept), default=1) or 1
    rows = [
        [record.stage, clock(record.seconds), element("meter", value=round(record.seconds / longest, 4))]
        for record in kept
    ]
    total = clock(sum(record.seconds for record in kept))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    note = element("p", f"{total} in all, on {machine}; without the start of each process.", class_="note")
    return join([table(["Stage", "Took", ""], rows), note])


def _versions() -> Markup:
    found = [["Python", platform.python_version()]]
    for package in PACKAGES:
        try:
            found.append([package, metadata.version(package)])
        except metadata.PackageNotFoundError:
            continue
    return table(["Package", "Version"], found, numeric=False)

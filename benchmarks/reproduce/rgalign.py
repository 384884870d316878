"""RGAlign-Rec with its baseline, poolings and Best-of-N strategies: `antiphon reproduce rgalign`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from antiphon import processes, records
from antiphon.clock import clock
from antiphon.config import Config
from benchmarks import _machine
from benchmarks.reproduce import _rgalign_cost, _rgalign_page, _tables
from benchmarks.reproduce._command import OUT
from benchmarks.reproduce._once import made_in
from benchmarks.reproduce._results import rounded
from benchmarks.reproduce._rgalign_rows import (
    BASELINE,
    FULL,
    NAME,
    ORACLE,
    PLACED,
    PRINTED,
    PROBE,
    QE,
    REASONERS,
    SEEDS,
    WRITTEN,
    Row,
    config,
    further,
    ranker,
    rows,
)  # fmt: skip
from benchmarks.reproduce._users import FOLDER, Kept
from feature_store.datasets.chatbot.features import SCHEMA
from llm_offline.alignment_config import TuneConfig

ABOUT = """\
RGAlign-Rec (Liu et al., 2026): a language model wonders what a user who opens a service chatbot wants to ask, QE-Rec
ranks the intents by user and query, rewards what might be asked, and the language model learns from that. Shopee's log
is not public: the sessions are simulated, with 89 features, 183 intents and eight regions. The oracle knows the chance
of every intent given all that is to be seen. The reasoner is SmolLM2 with 135 million parameters, where the paper has
Qwen3 with 4 billion; in the place of its three closed teachers are the reasoner drawn at temperatures, and questions
of the base that mean what a ranker, trained without the session, puts first."""
SLICE = """\
Small models and few sessions, to see that all of it works. The figures mean nothing."""
METHOD = """\
Rankers are trained on clicks of four weeks and chosen by NDCG@3 on clicks of their last days; the test is the fifth
week, labelled with the true intents, all intents of the base being ranked. In percent; ± is the deviation between
seeds. A seed of the ranker is another training of it; a seed of the reasoner another tuning, from the same rewards; V2
with RG-CL has two, the others one. Not calibrated: the ranker that was trained on the reasoner as published is asked
with what the tuned one wonders, each number of the vectors standardised by their own mean and deviation in training,
which needs no label; calibrated: it is trained anew on that. GAUC is the mean of users' AUC over all intents, by their
impressions. IHR is the share of sessions with a true intent among the first three, judged by the simulator's truth. A
step is tested twice: with the seeds' mean of each user, by sign flips over users (brackets are 95% intervals by
bootstrap over users), which tells whether it holds for other users of these models, and seed by seed, by a paired
t-test, which tells whether it holds for other trainings. It holds where both p values are below 0.05. The paper's MRR
has no cut. Its Table 4 has the figures of its Table 2 where it says QE-Rec, so these are read as aligned and not
calibrated."""


MEASURED = ("agreement", "meaning", "contrast")
"""Files of the runs that the results hold as they are: what the rewards and the contrastive loss go by, and what the
chosen queries mean."""

QUICK_FEATURES = ("region", "order_status", "late_days", "entry_point", "clicked_intents")
"""What the slice's rankers read."""


def main(argv: Sequence[str]) -> int:
    """Returns 0, or 1 where a row failed."""
    options = parse(argv)
    if options.row:
        from benchmarks.reproduce import _rgalign_work

        processes.end_with_parent()
        _rgalign_work.do(Row(**json.loads(options.row)), options.runs, quick if options.quick else config)
        return 0
    chosen = quick_rows() if options.quick else select(options)
    out = options.out or (options.runs if options.quick else OUT)
    return run(chosen, options.runs, out, options.quick)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    everything = rows()
    parser = argparse.ArgumentParser(
        prog=f"antiphon reproduce {NAME}",
        description=f"Train and evaluate every row of RGAlign-Rec's tables, write {OUT / NAME}.md. Interrupted, the "
        "same command goes on. What several rows need is made once.",
        epilog=f"It costs {len(everything)} rows, by estimate {_rgalign_cost.hours(everything):.0f} hours on two "
        "cores.",
    )
    for option, name in (("model", "model"), ("reasoner", "reasoner")):
        there = list(dict.fromkeys(getattr(row, name) for row in everything))
        more = [value for value in dict.fromkeys(getattr(row, name) for row in further()) if value not in there]
        told = ", ".join(there) + (f"; only where named: {', '.join(more)}" if more else "")
        parser.add_argument(f"--{option}", nargs="+", choices=[*there, *more], metavar=option.upper(), help=told)
    parser.add_argument("--calibrated", choices=("yes", "no"), help="only rows whose ranker is trained anew, or is not")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="of the ranker (%(default)s)")
    parser.add_argument("--tunings", type=int, default=REASONERS, metavar="N", help="of the reasoner (%(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduce"), help="the rows' runs (%(default)s)")
    parser.add_argument("--out", type=Path, help=f"folder of the page and its results ({OUT})")
    parser.add_argument("--quick", action="store_true", help="the same with tiny models and few sessions, into --runs")
    parser.add_argument("--row", help=argparse.SUPPRESS)  # one, in this process: as the child of such a run
    options = parser.parse_args(argv)
    if options.quick and (options.model or options.reasoner or options.calibrated):
        parser.error("--quick has its own rows: leave out --model, --reasoner and --calibrated")
    for name in ("seeds", "tunings"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, received {getattr(options, name)}")
    return options


def select(options: argparse.Namespace) -> list[Row]:
    """The rows that the options leave.

    Raises:
        ValueError: there are none.
    """
    sizes = options.seeds, options.tunings
    found = [*rows(*sizes), *(further(*sizes) if options.reasoner else [])]
    if options.model:
        found = [row for row in found if row.model in options.model]
    if options.reasoner:
        found = [row for row in found if row.reasoner in options.reasoner]
    if options.calibrated:
        found = [row for row in found if row.tuning and row.calibrated == (options.calibrated == "yes")]
    if not found:
        raise ValueError("the choice of rows must leave at least one")
    return found


def quick_rows() -> list[Row]:
    """One of each kind."""
    plain = [Row(ORACLE), Row(BASELINE), Row(QE), Row(QE, "query")]
    tuned = [Row(QE, name, calibrated, 1) for name, calibrated in
             ((FULL, False), (FULL, True), ("v2-dpo", True), (FULL + WRITTEN, True))]  # fmt: skip
    placed = [Row(PLACED, name, False, 1) for name in (FULL, "v1-cl", PRINTED)]
    return [*plain, *tuned, *placed, Row(PROBE), Row(PROBE, FULL, True, 1)]


def quick(runs: Path) -> Config:
    """The world cut to what is done in seconds a row."""
    whole, align = config(runs), config(runs).align
    left_out = tuple(each.name for each in SCHEMA.features if each.name not in QUICK_FEATURES)
    ranker = {name: replace(each, batch=64, epochs=1, steps_per_schedule=1, patience=0, model=replace(
        each.model, d=4, hidden=(8,), exclude=left_out), towers=replace(each.towers, width=8))
        for name, each in whole.rankers.items()}  # fmt: skip
    tune = replace(align.sft, epochs=1, rank=2)
    reasoner = replace(align.reasoner, layers=1, max_tokens=48, max_new_tokens=6, dtype="float32",
                       encoder=replace(align.reasoner.encoder, layers=1))  # fmt: skip
    teachers = {name: replace(each, generate=reasoner.writer()) for name, each in align.teachers.items()}
    align = replace(align, folds=2, limit=24, any_length=True, reasoner=reasoner, teachers=teachers, sft=tune,
                    refinement=tune)  # fmt: skip
    chat = replace(whole.chat, simulate=replace(whole.chat.simulate, users=160), shards=1)
    return replace(whole, name=NAME, chat=chat, embed=replace(whole.embed, layers=1), align=align, rankers=ranker,
                   judge=replace(whole.judge, bootstrap=50))  # fmt: skip


def run(chosen: Sequence[Row], runs: Path, out: Path, small: bool) -> int:
    """Does those of `chosen` that are not there, each in a process of its own unless `small`, and writes the page after
    each; at the end the steps are tested."""
    configure, name = (quick, f"{NAME}_quick") if small else (config, NAME)
    whole = configure(runs)
    results = Results(out / f"{name}.json")
    todo = [row for row in chosen if not results.holds(row, whole)]
    print(f"{name}: {len(todo)} of {len(chosen)} rows to do for {results.path}", flush=True)
    start, failed = time.monotonic(), []
    for number, row in enumerate(todo, 1):
        title = f"[row {number}/{len(todo)}] {row}"
        print(f"{title} ... ({clock(time.monotonic() - start)} so far)", flush=True)
        try:
            found = _done(row, runs, whole, small)
        except (OSError, ValueError, FloatingPointError, processes.StageFailed) as error:
            failed.append(f"{row}: {error}")
            print(f"{title}: FAILED: {error}", flush=True)
            continue
        results.put(row, whole, found)
        write(results, out, name)
        print(f"{title}: N@3 {found['test']['ndcg@3']['mean']:.4f}", flush=True)
    results.compare(whole)
    page = write(results, out, name)
    print(f"{name}: {len(todo) - len(failed)} of {len(todo)} rows in {clock(time.monotonic() - start)}; {page}")
    for line in failed:
        print(f"failed: {line}")
    return 1 if failed else 0


class Results:
    """Rows by what they came to, the tests of steps, and what was made for several rows, in one JSON file."""

    def __init__(self, path: Path) -> None:
        self.path, self._kept = path, Kept(path.parent / FOLDER / f"{path.stem}.npz")
        self._read()

    def holds(self, row: Row, whole: Config) -> bool:
        """Whether the row is there, made with the settings it has now, and can be compared with others."""
        there = row in self.rows and self.rows[row]["settings"] == _settings(row, whole)
        return there and row.name in self._kept.rows()

    def put(self, row: Row, whole: Config, found: dict[str, Any]) -> None:
        """Adds a row that was evaluated in the runs' folder, and what was made there for it and others."""
        from benchmarks.reproduce import _rgalign_steps

        self._read()
        _rgalign_steps.keep(row, whole.folder / "evaluation" / row.name, self._kept)
        told = {"row": vars(row), "settings": _settings(row, whole), "machine": _machine.describe(), **found}
        self.rows[row] = rounded(told)
        self.stages |= rounded(made_in(whole.folder))
        for name in MEASURED:
            file = whole.folder / f"{name}.json"
            if file.is_file():
                self.measured[name] = json.loads(file.read_text(encoding="utf-8"))
        self._write()

    def compare(self, whole: Config) -> None:
        """Tests the steps of the rows that are there."""
        from benchmarks.reproduce import _rgalign_steps

        self._read()
        there = [row for row in self.rows if self.holds(row, whole)]
        found = _rgalign_steps.compare(there, self._kept, whole.judge, self.steps)
        self.steps = {**self.steps, **rounded(found)}
        self._write()

    def _read(self) -> None:
        """Another process may have added rows, which it does in other runs or beside this one."""
        known = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {"rows": []}
        self.rows = {Row(**one["row"]): one for one in known["rows"]}
        self.steps, self.stages = known.get("steps", {}), known.get("stages", {})
        self.measured = {name: known.get(name) for name in MEASURED}

    def _write(self) -> None:
        told = {"rows": [self.rows[row] for row in sorted(self.rows)], "steps": self.steps, "stages": self.stages,
                **self.measured}  # fmt: skip
        records.write_text(self.path, records.to_json(told))


def write(results: Results, out: Path, name: str) -> Path:
    """The page and its picture."""
    for picture, drawn in _rgalign_page.pictures(name, results.steps).items():
        records.write_text(out / f"{picture}.svg", drawn)
    machines = {f"{one['machine']['processor']}, {_tables.count(one['machine']['cores'], 'core')}"
                for one in results.rows.values()}  # fmt: skip
    dates = sorted({one["machine"]["date"] for one in results.rows.values()})
    span = " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "not yet"
    made = f"Made by `antiphon reproduce {name.replace('_quick', ' --quick')}` from [`{name}.json`]({name}.json): "
    made += f"{len(results.rows)} rows, {span}, on {'; '.join(sorted(machines)) or 'no machine yet'}."
    head = ["# RGAlign-Rec", ABOUT] if name == NAME else ["# RGAlign-Rec: a slice", SLICE]
    page = out / f"{name}.md"
    body = _rgalign_page.body(name, results.rows, results.steps, results.stages, results.measured)
    records.write_text(page, "\n\n".join([*head, made, METHOD, *body]) + "\n")
    return page


def _done(row: Row, runs: Path, whole: Config, small: bool) -> dict[str, Any]:
    """What a row came to.

    Raises:
        StageFailed: its process failed; it names the log. As the rooms' functions where it is done in this process.
    """
    if small:
        from benchmarks.reproduce import _rgalign_work

        return _rgalign_work.do(row, runs, quick)
    log = whole.folder / "logs" / f"{row.name}.log"
    command = [sys.executable, "-m", "antiphon.cli", "reproduce", NAME, "--runs", str(runs), "--row"]
    code = processes.run([*command, json.dumps(vars(row))], log)
    if code != 0:
        raise processes.StageFailed(f"failed with code {code}; its output is in {log}", code)
    return json.loads((whole.folder / "rows" / f"{row.name}.json").read_text(encoding="utf-8"))


def _settings(row: Row, whole: Config) -> str:
    """A hash of what a row depends on: not of how much memory and how many threads a tuning takes."""
    parts = [whole.chat, whole.embed, whole.align, ranker(whole, row), whole.judge]
    told = [asdict(part) for part in parts]
    told[0] = {**told[0], "path": ""}
    tunes = {name: asdict(TuneConfig()) | getattr(whole.align, name).kept() for name in ("sft", "refinement")}
    told[2] |= {"sessions": "", **tunes}
    return records.fingerprint([told, vars(row)])

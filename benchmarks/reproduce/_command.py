"""The command that every reproduction is: does its rows one after another and writes its page after each."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.clock import clock
from antiphon.config import Config
from antiphon.processes import StageFailed
from benchmarks.reproduce import _page, _row, _settings, _sides
from benchmarks.reproduce._results import Result, Results
from benchmarks.reproduce._rows import ALL, Reproduction, Row
from feature_store.checks import require

if TYPE_CHECKING:
    from benchmarks.reproduce._places import Places

OUT = Path("docs/results")


def main(reproduction: Reproduction, argv: Sequence[str]) -> int:
    """Returns 0, or 1 where a row failed."""
    options = parse(reproduction, argv)
    if options.quick:
        reproduction = reproduction.slice(reproduction)
    out = options.out or (options.runs if options.quick else OUT)
    return run(reproduction, select(reproduction, options), options.runs, out, options.again)


def parse(reproduction: Reproduction, argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=reproduction.command,
        description=f"{reproduction.title}: train and evaluate every row, write {OUT / reproduction.name}.md. "
        "Interrupted, the same command goes on. A row is done again if its recipe has changed since; with more epochs "
        "alone it goes on.",
        epilog=cost(reproduction),
    )
    for option, name in reproduction.choices.items():
        there, more = (_values(rows, name) for rows in (reproduction.rows, reproduction.further))
        more = [value for value in more if value not in there]
        told = ", ".join(there) + (f"; only where named: {', '.join(more)}" if more else "")
        parser.add_argument(f"--{option}", nargs="+", choices=[*there, *more], metavar=option.upper(), help=told)
    parser.add_argument("--seeds", type=int, metavar="N", help="of each row, in place of those that are meant")
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduce"), help="the rows' runs (%(default)s)")
    parser.add_argument("--out", type=Path, help=f"folder of the page and its results ({OUT})")
    parser.add_argument("--again", action="store_true", help="do rows that are there again, from their beginning")
    small = "the same with tiny models on little data, in minutes, into --runs"
    parser.add_argument("--quick", action="store_true", help=small)
    options = parser.parse_args(argv)
    if options.quick and options.data:
        parser.error("--quick has its own data: leave out --data")
    if options.seeds is not None and options.seeds < 1:
        parser.error(f"--seeds must be at least 1, received {options.seeds}")
    return options


def cost(reproduction: Reproduction) -> str:
    """What the whole takes, as far as it has been done."""
    rows, known = reproduction.all_rows(), Results.read(OUT / f"{reproduction.name}.json").rows
    done = [known[row] for row in rows if row in known]
    told = f"It costs {len(rows)} trainings, {reproduction.cost}."
    if done:
        hours = sum(result.wall_seconds for result in done) / 3600
        told += f" Those {len(done)} whose results are in {OUT} took {hours:.1f} hours."
    return told


def _values(rows: Sequence[Row], name: str) -> list[str]:
    return list(dict.fromkeys(getattr(row, name) for row in rows))


def select(reproduction: Reproduction, options: argparse.Namespace) -> list[Row]:
    """The rows that the options leave.

    Raises:
        ValueError: there are none.
    """
    wanted = {option: values for option in reproduction.choices if (values := getattr(options, option))}
    named = {reproduction.choices[option]: values for option, values in wanted.items()}
    rows = reproduction.all_rows(options.seeds, further="backbone" in named)
    rows = [row for row in rows if all(getattr(row, name) in values for name, values in named.items())]
    require(bool(rows), "the choice of rows", "must leave at least one", wanted)
    return rows


def run(reproduction: Reproduction, asked: Sequence[Row], runs: Path, out: Path, again: bool = False) -> int:
    """Does those of `asked` that are not in `out`, each after the row it starts from, and writes the page."""
    starts = {row: first for row in asked if (first := reproduction.start(row)) is not None}
    rows = list(dict.fromkeys(one for row in asked for one in (starts.get(row), row) if one is not None))
    configs = {row: replace(reproduction.config(row), runs=str(runs)) for row in rows}
    for row, config in configs.items():
        path = config.data.path
        require(not path or Path(path).exists(), f"{row}: data.path", "must be there (set ANTIPHON_DATA?)", path)
    results = Results.read(out / f"{reproduction.name}.json")
    anew = set(asked) if again else set()
    todo = {row for row in asked if row in anew or not holds(results, row, configs[row])}
    todo |= {first for row in todo if (first := starts.get(row)) and not _row.lies_in_run(first, configs[first])}
    rows = [row for row in rows if row in todo or row in asked]
    from benchmarks.reproduce._places import Places  # brings TensorFlow

    places = Places(reproduction.name, out)
    there = "; --again does them again" if len(todo) < len(rows) else ""
    print(f"{reproduction.name}: {len(todo)} of {len(rows)} rows to do for {results.path}{there}", flush=True)
    start, failed = time.monotonic(), []
    with _sides.shared(reproduction.here) as sides:
        for number, row in enumerate(rows, 1):
            title = f"[row {number}/{len(rows)}] {row}"
            if row not in todo:
                print(f"{title}: there, skipped", flush=True)
                continue
            seconds = {done: result.wall_seconds for done, result in results.rows.items()}
            left = remaining([one for one in rows[number - 1 :] if one in todo], seconds, reproduction.minutes)
            ahead = f", about {clock(left)} to go" if left else ""
            print(f"{title} ... ({clock(time.monotonic() - start)} so far{ahead})", flush=True)
            try:
                result = _row.do(row, configs[row], reproduction.observe, sides, row in anew)
            except StageFailed as error:
                failed.append(f"{row}: {error}")
                print(f"{title}: FAILED: {error}", flush=True)
                continue
            places.put(row, configs[row].folder / "evaluation" / row.name)
            results.put(result)
            _page.write(reproduction, results, out)
            print(f"{title}: {_told(result)}", flush=True)
    _hold_against(reproduction, results, places, runs)
    page = _page.write(reproduction, results, out)
    print(f"{reproduction.name}: {len(todo) - len(failed)} rows in {clock(time.monotonic() - start)}; {page}")
    for line in failed:
        print(f"failed: {line}")
    return 1 if failed else 0


def holds(results: Results, row: Row, config: Config) -> bool:
    """Whether the row is there, made with the settings it has now."""
    return row in results.rows and results.rows[row].settings == _settings.of(config, row)


def remaining(
    rows: Sequence[Row], seconds: Mapping[Row, float], guess: Callable[[Row], float] = lambda row: 0.0
) -> float:
    """Seconds that `rows` will take: by what they took before, else by the `guess` in minutes, else by what those most
    like them took; 0 where none is known."""
    return sum(_likely(row, seconds, 60 * guess(row)) for row in rows)


def _likely(row: Row, seconds: Mapping[Row, float], guess: float) -> float:
    same = [("data", "split", "backbone", "recipe", "seed"), ("data", "backbone", "recipe")]
    same += [] if guess else [("backbone", "recipe"), ("recipe",), ()]
    for names in same:
        like = [took for known, took in seconds.items() if all(getattr(known, n) == getattr(row, n) for n in names)]
        if like:
            return statistics.fmean(like)
    return guess


def _hold_against(reproduction: Reproduction, results: Results, places: Places, runs: Path) -> None:
    """Every row with its baselines, and their seeds together, where that has not been done and the users' places are
    kept of all. What tells groups of users is read in the runs' folder."""
    from benchmarks.reproduce import _compare

    def kept(row: Row) -> bool:
        return holds(results, row, reproduction.config(row)) and places.holds(row)

    seeds: dict[tuple[Row, Row], list[tuple[Row, Row]]] = {}
    for row in reproduction.all_rows(further=True):
        for baseline in reproduction.baselines(row):
            if not {row, baseline} <= results.rows.keys():
                continue
            seeds.setdefault((replace(row, seed=ALL), replace(baseline, seed=ALL)), []).append((row, baseline))
            if (row, baseline) in results.paired:
                continue
            config = replace(reproduction.config(row), runs=str(runs))
            if kept(row) and kept(baseline) and config.folder.exists():
                groups = reproduction.group(row, baseline, config)
                results.compare(_compare.seeds([(row, baseline)], places, config.evaluate, groups))
            else:
                told = f"{row}: not compared with {baseline.name}: "
                print(told + f"what users came to is not kept of both, or {config.folder} is not there")
    for rows, pairs in seeds.items():
        if len(pairs) > 1 and rows not in results.paired and all(kept(one) for pair in pairs for one in pair):
            results.compare(_compare.seeds(pairs, places, reproduction.config(pairs[0][0]).evaluate))


def _told(result: Result) -> str:
    recall, gain = result.test["recall@5"], result.test["ndcg@10"]
    return (
        f"R@5 {recall.mean:.4f} ({recall.low:.4f} to {recall.high:.4f}), N@10 {gain.mean:.4f}, "
        f"best of {result.epochs} epochs {result.best_epoch}, trained in {clock(result.wall_seconds)}"
    )

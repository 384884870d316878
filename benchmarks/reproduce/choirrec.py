"""ChoirRec with its baselines, ablations and sweeps: `antiphon reproduce choirrec`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from antiphon import records
from antiphon.clock import clock
from antiphon.config import Config
from benchmarks import _machine
from benchmarks.reproduce import _choir_page, _tables
from benchmarks.reproduce._choir_rows import (
    BASELINES,
    DATA,
    FULL,
    IDS,
    ORACLE,
    SEEDS,
    SEGMENTS,
    SIMULATED,
    WHOLE,
    Row,
    config,
    rows,
)
from benchmarks.reproduce._command import OUT

ABOUT = """\
ChoirRec (Zhai et al., 2026): groups of users from their profiles, and a model of conversion with a channel for the user
and one for its group. MovieLens-1M's conversion is a rating of 5, with 55% of the users thinned to little activity;
Tmall's is buying again, of which there are no times; the market is simulated, and its null world one in which nothing
that users have in common tells of a purchase, so that no method may gain there: as much as one does, it does not gain
by groups elsewhere either. The oracle knows the probabilities that the market drew from; "the market's own groups" are
the segments that it drew users from, and tell how much groups can give to this model on a log of this size."""
SLICE = """\
Small models trained for one epoch on markets of 300 users, to see that all of it works. The figures mean nothing."""
METHOD = """\
Profiles, groups and priors are made of the log's beginning, and a row is trained on what follows, up to validation:
trained on the purchases that its groups were made of, a model finds its labels in its features. It is chosen by GAUC on
validation, on Tmall by AUC; the test is what is after that. Groups "w/o LLM emb." are of users' vectors in a base model
that was trained on the log's beginning. GAUC is weighted by impressions; users all of whose labels are one have none.
Low-activity users are the 55% with the fewest purchases before validation, levels cut the test's users into five equal
parts. α_fusion is the group channel's share; beside the gate's mean stands the share, one for all requests of a level,
with the least log loss on the test. Brackets are 95% intervals by bootstrap over users, p of a sign-flip test over
users. A seed is another training, on the simulated worlds also another market; ± is the deviation between seeds, p of a
t test over them. Ablations on MovieLens-1M are of one training: their intervals do not have what another would change.
All models of a data set have the same features but the groups' (and Cold-Transformer also what a user was shown and did
not buy, which its label encoding is made of), the same optimizer and number of epochs, and the same number of
validations to be chosen by. What a third of the learning rate and three times as much do to the base stands below the
settings. On the market a third does as well as the config's rate; there, at 0.01, two channels gained in the null world
too, so it is not the one. Each model was tried with the same three settings on the first seed and has the one that did
best on validation: as it is, with a dropout of 0.2, and with vectors of 32 instead of 16 numbers. ChoirRec's channels
have a cross-entropy each (weight 0.5, `choir.channel_weight`) besides Eq. 12's of both; Eq. 12 alone is among the other
readings."""
MINUTES = {"ml1m": 2.5, "tmall": 0.7, "market": 2.5, "null": 2.5}
"""What a row takes on one core with its share of the groups, as measured; of the simulated worlds by their requests."""


def main(argv: Sequence[str]) -> int:
    """Returns 0, or 1 where a row failed."""
    options = parse(argv)
    chosen = quick_rows() if options.quick else rows(tuple(options.data or DATA), options.seeds)
    chosen = [row for row in chosen if not options.model or row.model in options.model]
    out = options.out or (options.runs if options.quick else OUT)
    return run(chosen, options.runs, out, quick if options.quick else config, "choirrec_quick" if options.quick else
               "choirrec")  # fmt: skip


def parse(argv: Sequence[str]) -> argparse.Namespace:
    whole = rows()
    hours = sum(MINUTES[row.data] for row in whole if row.model != ORACLE) / 60
    parser = argparse.ArgumentParser(
        prog="antiphon reproduce choirrec",
        description=f"Train and evaluate every row of ChoirRec's tables, write {OUT / 'choirrec.md'}. Interrupted, the "
        "same command goes on.",
        epilog=f"It costs {len(whole)} rows, by estimate {hours:.0f} hours on one core.",
    )
    told = ", ".join(f"{data} {count}" for data, count in SEEDS.items())
    parser.add_argument("--data", nargs="+", choices=DATA, metavar="DATA", help=", ".join(DATA))
    parser.add_argument("--model", nargs="+", metavar="MODEL", help="base, choirrec, without_dual, lambda_0.01, ...")
    most = max(SEEDS.values())
    parser.add_argument("--seeds", type=int, metavar="N", default=most, help=f"at most so many of a row ({told})")
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduce"), help="the rows' runs (%(default)s)")
    parser.add_argument("--out", type=Path, help=f"folder of the page and its results ({OUT})")
    parser.add_argument("--quick", action="store_true", help="the same with tiny models and markets, into --runs")
    options = parser.parse_args(argv)
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, received {options.seeds}")
    return options


def quick_rows() -> list[Row]:
    """One of each kind, on small markets."""
    first = [Row("market", model) for model in (*BASELINES, FULL, ORACLE, "without_dual")]
    others = [Row("market", FULL, groups) for groups in (IDS, WHOLE, SEGMENTS)]
    return [*first, *others, Row("null", "base"), Row("null", FULL)]


def quick(row: Row, runs: Path) -> Config:
    """The row's config cut to what trains in seconds."""
    whole = config(row, runs)
    market = replace(whole.market, users=300, items_per_leaf=4, clicks_per_user=8.0, panel_pages=1)
    encoder = replace(whole.profiles.encoder, layers=1, max_tokens=48, dimensions=32)
    ranker = replace(whole.ranker, batch=256, epochs=1, steps_per_schedule=1, choir=replace(
        whole.ranker.choir, codes=("group_1", "group_2"), min_purchases=1), model=replace(
        whole.ranker.model, d=4, hidden=(8, 4), attention=(4,)))  # fmt: skip
    return replace(
        whole, market=market, profiles=replace(whole.profiles, encoder=encoder),
        groups=replace(whole.groups, levels=2, k=4, min_members=20, sample=256),
        conversion=replace(whole.conversion, history=8, group_history=8, user_buckets=512, shards=2),
        judge=replace(whole.judge, bootstrap=50), ranker=ranker,
    )  # fmt: skip


def run(chosen: Sequence[Row], runs: Path, out: Path, configure: Any, name: str) -> int:
    """Does `chosen`, each after the row it is compared with, and writes the page after each."""
    from benchmarks.reproduce import _choir_work

    for row in chosen:
        path = configure(row, runs).data.path
        if row.data not in SIMULATED and not Path(path).exists():
            raise ValueError(f"{row}: data.path must be there (set ANTIPHON_DATA?), received {path!r}")
    file = out / f"{name}.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"rows": []}
    still = set(rows())  # a config with another setting has other rows
    results = {row: one for one in known["rows"] if (row := Row(**one["row"])) in still}
    todo = list(dict.fromkeys(one for row in chosen for one in _before(row)))
    start, failed = time.monotonic(), []
    for number, row in enumerate(todo, 1):
        title = f"[row {number}/{len(todo)}] {row}"
        print(f"{title} ... ({clock(time.monotonic() - start)} so far)", flush=True)
        try:
            found = _choir_work.do(row, runs, configure)
            if row.base != row:
                found["against"] = {"row": vars(row.base), "by": _choir_work.compare(row, row.base, runs, configure)}
        except (OSError, ValueError, FloatingPointError) as error:
            failed.append(f"{row}: {error}")
            print(f"{title}: FAILED: {error}", flush=True)
            continue
        results[row] = {"row": vars(row), "machine": _machine.describe(), **found}
        records.write_text(file, records.to_json({"rows": list(results.values())}))
        print(f"{title}: {_told(found)}", flush=True)
    page = write(results, out, name)
    print(f"{name}: {len(todo) - len(failed)} of {len(todo)} rows in {clock(time.monotonic() - start)}; {page}")
    for line in failed:
        print(f"failed: {line}")
    return 1 if failed else 0


def write(results: dict[Row, Any], out: Path, name: str) -> Path:
    """The page and its pictures."""
    compared = {row: found["against"]["by"] for row, found in results.items() if "against" in found}
    for picture, drawn in _choir_page.pictures(results, compared).items():
        records.write_text(out / f"{picture}.svg", drawn)
    machines = {f"{one['machine']['processor']}, {_tables.count(one['machine']['cores'], 'core')}"
                for one in results.values()}  # fmt: skip
    dates = sorted({one["machine"]["date"] for one in results.values()})
    span = " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "not yet"
    whole = name == "choirrec"
    count = f"{len(results)} of {len(rows())} rows" if whole else f"{len(results)} rows"
    made = f"Made by `antiphon reproduce choirrec` from [`{name}.json`]({name}.json): {count}, {span}, on "
    head = ["# ChoirRec", ABOUT] if whole else ["# ChoirRec: a slice", SLICE]
    parts = [*head, made + f"{'; '.join(sorted(machines)) or 'no machine yet'}.", METHOD]
    page = out / f"{name}.md"
    records.write_text(page, "\n\n".join([*parts, *_choir_page.body(results, compared)]) + "\n")
    return page


def _told(found: dict[str, Any]) -> str:
    if "test" in found:
        return f"GAUC {found['test']['overall']['gauc']['mean']:.4f}"
    return ", ".join(f"{name.upper()} {value:.4f} on validation" for name, value in found["valid"].items())


def _before(row: Row) -> list[Row]:
    """The rows it needs, and itself."""
    return [row] if row.base == row else [*_before(row.base), row]

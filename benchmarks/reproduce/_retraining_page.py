"""The page of retraining and its picture, made from the JSON of its results alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from antiphon import records
from antiphon.html import Markup
from benchmarks.reproduce import _plots, _tables
from trainer.statistics import Comparison, Interval

AIM = 0.3
"""Of the time of training from scratch, that a warm round may take."""
ALPHA = 0.05
METRIC = "ndcg@10"
METRICS = {"recall@10": "R@10", "ndcg@10": "N@10"}
WAYS = {"scratch": "retrained from scratch", "warm": "retrained warm", "never": "never retrained"}
DATA = {"movielens_1m": "MovieLens-1M", "movielens_100k": "MovieLens-100k"}
ABOUT = """\
A log arrives by periods, and a model is kept fresh in one of three ways: not at all, by training from scratch in
every round, or by training on from the model of the round before. Rounds are those of `antiphon retrain`, with its
examples, vocabulary and measurement. Each way's candidate is promoted whatever the gate says; what the gate as it
comes would have refused is told."""
METHOD = """\
A round trains on everything up to the middle of its period, chooses its epoch on the third quarter and is measured
on the fourth, which no model has seen. A version is asked through its SavedModel for what follows a user's history
before the last event of that quarter; that event's item is the target. So the model that is never retrained is
told of new events too, but was not trained on them, and an item that a version does not know is a miss. Intervals
are 95%, by bootstrap over users, and p values of a sign-flip test over users. Over all rounds a user counts once,
with the mean over the rounds. Training times are of the training alone, validation and the making of graphs
included; processor seconds are of its process."""


def write(name: str, folder: Path) -> Path:
    """Writes `<name>.md` and its pictures beside `<name>.json`; returns the former."""
    found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    records.write_text(folder / f"{name}.svg", _quality_picture(found["rounds"]))
    records.write_text(folder / f"{name}_vocabulary.svg", _vocabulary_picture(found["rounds"]))
    page = folder / f"{name}.md"
    records.write_text(page, "\n\n".join(_parts(name, found)) + "\n")
    return page


def ratio(rounds: Sequence[Mapping[str, Any]], what: str) -> float:
    """All rounds' time of training warm over that from scratch; `what` is "seconds" or "processor_seconds"."""
    warm, scratch = (sum(one["training"][way][what] for one in rounds) for way in ("warm", "scratch"))
    return warm / scratch


def _parts(name: str, found: Mapping[str, Any]) -> Iterable[str]:
    settings, rounds = found["settings"], found["rounds"]
    yield "# Retraining: never, from scratch, warm"
    yield ABOUT
    command = f"antiphon reproduce {name.replace('_quick', ' --quick')}"
    data, machine, count = DATA[settings["data"]], found["machine"], settings["periods"]
    yield (
        f"Made by `{command}` from [`{name}.json`]({name}.json), which has the settings too. The log is {data}: "
        f"{settings['first']:.0%} of its events are there at the beginning, the rest come in {count} periods of as "
        f"many events. {len(rounds)} of {count} rounds are done, {machine['date']}, on {machine['processor']}, "
        f"{_tables.count(machine['cores'], 'core')}."
    )
    yield METHOD
    yield f"![NDCG@10 and training time by round]({name}.svg)"
    yield _verdict(found)
    yield "## Over all rounds"
    yield f"{found['overall']['users']:,} users, {found['overall']['rows']:,} questions."
    yield _overall(found["overall"])
    yield "## By round"
    yield _by_round(rounds)
    yield "## Training"
    yield _training(rounds)
    yield "## Vocabulary"
    rule = settings["examples"]
    yield (
        f"An item is admitted with {rule['min_count']} events in training, and evicted when training has seen none of "
        f"it for {rule['evict_days']:g} days."
    )
    yield f"![The vocabulary by round]({name}_vocabulary.svg)"
    yield _vocabulary(rounds)


def _verdict(found: Mapping[str, Any]) -> str:
    rounds, paired = found["rounds"], found["overall"]["paired"]
    processor, wall = ratio(rounds, "processor_seconds"), ratio(rounds, "seconds")
    test = Comparison(**paired["warm - scratch"][METRIC])
    lost = test.difference < 0 and test.p_value < ALPHA
    return (
        f"**Training warm took {processor:.2f} of the processor time of training from scratch, wanted at most {AIM:g}: "
        f"{_reached(processor)}; by the wall clock {wall:.2f}: {_reached(wall)}. Its NDCG@10 differs by "
        f"{_tables.difference(test)}: {'a significant loss' if lost else 'no significant loss'}.**"
    )


def _reached(share: float) -> str:
    return "reached" if share <= AIM else "not reached"


def _overall(overall: Mapping[str, Any]) -> str:
    rows = [
        [title, *(_tables.interval(Interval(**overall["quality"][way][metric])) for metric in METRICS)]
        for way, title in WAYS.items()
    ]
    for pair, tests in overall["paired"].items():
        rows.append([pair.replace("-", "−"), *(_tables.difference(Comparison(**tests[metric])) for metric in METRICS)])
    return _tables.table(["", *METRICS.values()], rows)


def _by_round(rounds: Sequence[Mapping[str, Any]]) -> str:
    head = ["round", "new events until", "users", *(f"{title}, N@10" for title in WAYS.values()), "warm − scratch"]
    head.append("the gate would refuse warm for")
    rows = []
    for one in rounds:
        until = datetime.fromtimestamp(one["events"]["to"] / 1e6, UTC).date().isoformat()
        quality = [_tables.interval(Interval(**one["quality"][way][METRIC])) for way in WAYS]
        test = _tables.difference(Comparison(**one["paired"]["warm - scratch"][METRIC]))
        refused = ", ".join(one["gate"]) or "nothing"
        rows.append([str(one["round"]), until, f"{one['users']:,}", *quality, test, refused])
    return _tables.table(head, rows)


def _training(rounds: Sequence[Mapping[str, Any]]) -> str:
    head = ["round", "targets", *(f"{way}: s (processor s), epochs" for way in ("scratch", "warm")), "warm / scratch"]
    rows = []
    for one in rounds:
        cells = [
            f"{told['seconds']:.0f} ({told['processor_seconds']:.0f}), best {told['best_epoch']} of {told['epochs']}"
            for told in (one["training"]["scratch"], one["training"]["warm"])
        ]
        share = f"{ratio([one], 'seconds'):.2f} ({ratio([one], 'processor_seconds'):.2f})"
        rows.append([str(one["round"]), f"{one['targets']:,}", *cells, share])
    return _tables.table(head, rows)


def _vocabulary(rounds: Sequence[Mapping[str, Any]]) -> str:
    head = ["round", "items", "admitted", "evicted", "left out: too rare", "unseen for too long"]
    rows = []
    for one in rounds:
        words = one["vocabulary"]
        counts = [words["items"], words["admitted"], words["evicted"], *words["left_out"].values()]
        rows.append([str(one["round"]), *(f"{count:,}" for count in counts)])
    return _tables.table(head, rows)


def _quality_picture(rounds: Sequence[Mapping[str, Any]]) -> Markup:
    quality = {
        title: [(one["round"], Interval(**one["quality"][way][METRIC])) for one in rounds]
        for way, title in WAYS.items()
    }
    seconds = {
        title: [(one["round"], _exactly(one["training"][way]["processor_seconds"])) for one in rounds]
        for way, title in WAYS.items() if way != "never"
    }  # fmt: skip
    panels = [_plots.lines("NDCG@10 on the newest quarter", "round", quality),
              _plots.lines("Training, processor seconds", "round", seconds)]  # fmt: skip
    return _plots.compose(panels, "NDCG@10 and training time by round, of each way")


def _vocabulary_picture(rounds: Sequence[Mapping[str, Any]]) -> Markup:
    changes = {
        name: [(one["round"], _exactly(one["vocabulary"][name])) for one in rounds] for name in ("admitted", "evicted")
    }
    sizes = {one["round"]: one["vocabulary"]["items"] for one in rounds}
    panels = [_plots.lines("Items that came and went", "round", changes),
              _plots.bars("Items of the vocabulary", "round", sizes)]  # fmt: skip
    return _plots.compose(panels, "items admitted, evicted and there by round")


def _exactly(value: float) -> Interval:
    return Interval(value, value, value)

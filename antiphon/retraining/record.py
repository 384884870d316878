"""What a round came to, for machines and for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from antiphon import records
from antiphon.retraining.round import Round


def of(round_: Round) -> dict[str, Any]:
    """Everything that a round decided, and on what."""
    gate, compare = round_.result("gate"), round_.result("compare")
    promoted = round_.result("promote")
    if promoted["promoted"]:
        outcome = "promoted"
    elif not gate["passed"]:
        outcome = "refused: " + ", ".join(each["rule"] for each in gate["findings"] if not each["passed"])
    else:
        outcome = f"rolled back: {compare['why']}"
    ingested = round_.result("ingest")
    training = records.read(round_.folder, f"train-{round_.places.variant}")
    return {
        "round": round_.number,
        "version": round_.number,
        "variant": round_.places.variant,
        "outcome": outcome,
        "stable": promoted["stable"],
        "events": {"new": ingested["new"], "from": round_.state.watermark, "to": ingested["newest"]},
        "examples": round_.result("examples"),
        "vocabulary": round_.result("grow"),
        "training": training.summary if training else {},
        "skew": round_.result("skew"),
        "measured": round_.result("measure"),
        "gate": gate["findings"],
        "canary": {"loaded": round_.result("canary")["loaded"], "compare": compare["why"]},
    }


def text(found: Mapping[str, Any]) -> str:
    """The record in lines for people."""
    events, words, training = found["events"], found["vocabulary"], found["training"]
    since = _time(events["from"]) if events["from"] else "the beginning"
    start = training.get("start", {}).get("checkpoint", "scratch")
    lines = [
        f"round {found['round']}: version {found['version']} of {found['variant']} was {found['outcome']}",
        f"stable: version {found['stable'] or 'none'}",
        f"events: {events['new']:,} new, from {since} to {_time(events['to'])}",
        *_examples(found["examples"]),
        f"vocabulary: {words['items']:,} items, {words['admitted']:,} admitted, {words['evicted']:,} evicted; "
        f"left out: {words['left_out']['rare']:,} too rare, {words['left_out']['unseen']:,} unseen for too long",
        f"training: {training.get('epochs')} epochs in {training.get('seconds', 0.0):.0f} s from {start}",
        *_known(found["measured"]),
        "gate:",
    ]
    lines += [f"  {'ok  ' if each['passed'] else 'FAIL'} {each['rule']}: {each['why']}" for each in found["gate"]]
    lines += [f"canary: {found['canary']['compare']}"]
    return "\n".join(lines) + "\n"


def _examples(counts: Mapping[str, int]) -> list[str]:
    if not counts.keys() - {"rows"}:
        return []
    refused = counts.get("empty", 0) + counts.get("not past", 0)
    return [f"examples: {counts.get('served', 0):,} of {counts['rows']:,} with features as served, {refused:,} refused"]


def _known(measured: Mapping[str, Any]) -> list[str]:
    told = [f"of {count:,} by {name}" for name, count in measured.get("known", {}).items()]
    return [f"knowledge of the hold-out's {measured['users']:,} users: {', '.join(told)}"] if told else []


def _time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(sep=" ", timespec="seconds")

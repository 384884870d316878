"""What a round does after training, each step a function of what those before it left; done twice is done once."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from antiphon import processes, records
from antiphon.retraining import canary_server, gate, measuring, record
from antiphon.retraining.round import Round
from serving import rollout

Step = Callable[[Round], dict[str, Any]]

NAMED = 20
"""Of the items that came or went, so many are named in the record."""


def new_events(events: Path, watermark: int) -> dict[str, int]:
    """Of the table of events, those later than the watermark: ``new``, and ``newest``, in microseconds."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    times = pq.read_table(events, columns=["event_time"])["event_time"].cast(pa.int64())
    return {"new": int(pc.sum(pc.greater(times, watermark)).as_py() or 0), "newest": pc.max(times).as_py() or 0}


def examples_told(folder: Path) -> dict[str, int]:
    """How many rows the round's examples have and, where there is a served log, how many have their features of it."""
    splits = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))["splits"].values()
    counts = sum((Counter(split.get("log", {})) for split in splits), Counter())
    return {"rows": sum(split["examples"] for split in splits), **counts}


def grow(round_: Round) -> dict[str, Any]:
    """Which items the candidate's vocabulary has that the stable version's has not, and the other way round."""
    now = _items(round_.folder / "examples")
    stable = round_.state.stable
    before = _items(round_.places.model(stable)) if stable else []
    admitted, evicted = (sorted(set(one) - set(other)) for one, other in ((now, before), (before, now)))
    manifest = json.loads((round_.folder / "examples" / "MANIFEST.json").read_text(encoding="utf-8"))
    return {
        "items": len(now),
        "kept": len(now) - len(admitted),
        "admitted": len(admitted),
        "evicted": len(evicted),
        "left_out": manifest["vocabulary"]["item"]["left_out"],
        "admitted_items": admitted[:NAMED] if stable else [],
        "evicted_items": evicted[:NAMED],
    }


def check_skew(round_: Round) -> dict[str, Any]:
    """Of the new requests of the served log, where there is one: whether their features are what is computed offline,
    and still like those of training. Of fewer rows than `skew.min_rows` nothing is known, and nothing judged."""
    log = round_.own.examples.served_log
    if not log:
        return {"rows": 0, "judged": False}
    config, folder = round_.config, round_.folder
    what = {
        "log": log,
        "features": str(folder / "features"),
        "out": str(folder / "skew"),
        "between": [round_.state.watermark, round_.result("ingest")["newest"]],
        "skew": dataclasses.asdict(config.skew),
        "beam": dataclasses.asdict(config.beam),
    }
    found = _replay(round_, "skew", what)
    told = {name: found[name] for name in ("rows", "verdict", "mismatched")}
    return {**told, "judged": found["rows"] >= config.skew.min_rows}


def measure(round_: Round) -> dict[str, Any]:
    """Exports the candidate with its index into the round's folder; asks it and the stable version what the hold-out's
    users would."""
    places, stable = round_.places, round_.state.stable
    versions = {"serving": places.served / str(stable)} if stable else {}
    versions["candidate"] = places.candidate(round_.number)
    what = {
        "model": str(places.model(round_.number)),
        "versions": {name: str(path) for name, path in versions.items()},
        "export": dataclasses.asdict(round_.config.export.writing),
        "index": dataclasses.asdict(round_.config.index),
        "bootstrap": round_.config.retrain.bootstrap,
        "views": {name: str(path) for name, path in round_.views().items() if name in versions},
        "tell": None,
    }
    if round_.config.variants[places.variant].coco.live:
        view = f"{places.variant}_{round_.number}"
        what["tell"] = {"config": str(round_.config_file), "variant": places.variant, "view": view}
    return _replay(round_, "measure", what)


def judge(round_: Round) -> dict[str, Any]:
    """The gate; the reports of skew have a say, the round's and the run's, and what lies in the round's reports."""
    others = [round_.folder / "skew"] if round_.result("skew")["judged"] else []
    others += [round_.config.folder / "skew", *sorted((round_.folder / "reports").glob("*"))]
    findings = gate.judge(round_.result("measure"), [path for path in others if path.exists()], round_.config.retrain)
    return {
        "passed": all(finding.passed for finding in findings),
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }


def publish(round_: Round) -> dict[str, Any]:
    """Copies a candidate that passed to where versions are served from; its folder gets its number when it is whole."""
    if not round_.result("gate")["passed"]:
        return {"published": False}
    places = round_.places
    out, scratch = places.served / str(round_.number), places.served / f".writing-{round_.number}"
    shutil.rmtree(scratch, ignore_errors=True)
    if not out.is_dir():
        shutil.copytree(places.candidate(round_.number), scratch)
        scratch.rename(out)
    return {"published": True}


def canary(round_: Round) -> dict[str, Any]:
    """Has the new version served beside the stable one, and calls it canary once it is loaded."""
    if not round_.result("publish")["published"]:
        return {"loaded": False, "why": "not published"}
    places, number, server = round_.places, round_.number, round_.config.retrain.server
    labels = _stable(round_)
    rollout.write(places.models_config, places.variant, places.served, labels, frozenset({number}))
    if server and (why := canary_server.wait(server, places.variant, number, round_.config.retrain.server_seconds)):
        return {"loaded": False, "why": why}
    rollout.write(places.models_config, places.variant, places.served, {**labels, "canary": number})
    return {"loaded": True, "why": "loaded by the server" if server else "no server to ask"}


def compare(round_: Round) -> dict[str, Any]:
    """Replays the hold-out's requests: the published version must answer as the gate saw the candidate answer."""
    if not round_.result("canary")["loaded"]:
        return {"passed": False, "why": round_.result("canary")["why"]}
    places, number, server = round_.places, round_.number, round_.config.retrain.server
    same = [str(places.candidate(number)), str(places.served / str(number))]
    view = round_.views().get("candidate")
    found = _replay(round_, "compare", {"same": same, "view": view and str(view)})
    passed = found["alike"] == found["requests"]
    why = f"{found['alike']} of {found['requests']} requests answered as in the gate"
    if passed and server:
        seconds = round_.config.retrain.server_seconds
        failed = canary_server.ask(server, places.variant, round_.folder / "examples", seconds)
        passed, why = not failed, f"{why}; of the server's canary {failed} failed"
    return {**found, "passed": passed, "why": why}


def promote(round_: Round) -> dict[str, Any]:
    """Calls the new version stable, or has the stable version served alone again."""
    places, number = round_.places, round_.number
    if round_.result("compare")["passed"]:
        rollout.write(places.models_config, places.variant, places.served, {"stable": number})
        return {"stable": number, "promoted": True}
    if labels := _stable(round_):
        rollout.write(places.models_config, places.variant, places.served, labels)
    else:
        places.models_config.unlink(missing_ok=True)
    return {"stable": round_.state.stable, "promoted": False}


def write_record(round_: Round) -> dict[str, Any]:
    """``decision.json`` and ``decision.txt``."""
    found = record.of(round_)
    records.write_text(round_.folder / "decision.txt", record.text(found))
    records.write_text(round_.folder / "decision.json", records.to_json(found))
    return {"outcome": found["outcome"]}


def prune(round_: Round) -> dict[str, Any]:
    """Removes the data of rounds that are old; models, evaluations and decisions stay."""
    removed = []
    for number in range(1, round_.number - round_.config.retrain.keep + 1):
        told = f"models/{round_.places.variant}/knowledge"  # what is looked up of it lies beside it
        for name in ("tables", "features", "examples", "knowledge", told):
            folder = round_.places.round(number) / name
            if folder.is_dir():
                shutil.rmtree(folder)
                removed.append(f"{number}/{name}")
    return {"removed": removed}


def move_watermark(round_: Round) -> dict[str, Any]:
    """What the next round starts from; the last thing a round does."""
    ingested, promoted = round_.result("ingest"), round_.result("promote")
    state = round_.state.promoted(round_.number) if promoted["promoted"] else round_.state
    state = dataclasses.replace(
        state, round=round_.number, watermark=ingested["newest"], sources=ingested["sources"]
    )
    round_.places.write_state(state)
    return {"watermark": state.watermark, "stable": state.stable}


AFTER_TRAINING: dict[str, Step] = {
    "grow": grow,
    "skew": check_skew,
    "measure": measure,
    "gate": judge,
    "publish": publish,
    "canary": canary,
    "compare": compare,
    "promote": promote,
    "record": write_record,
    "prune": prune,
    "watermark": move_watermark,
}


def _stable(round_: Round) -> dict[str, int]:
    return {"stable": round_.state.stable} if round_.state.stable else {}


def _items(folder: Path) -> list[str]:
    """The vocabulary of a folder of examples, or of a model."""
    lines = (folder / "vocabulary" / "item.txt").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _replay(round_: Round, step: str, what: Mapping[str, Any]) -> dict[str, Any]:
    """`antiphon.retraining.measuring`, in a process of its own unless the round's are all in this one.

    Raises:
        StageFailed: naming its log.
    """
    result = round_.folder / "replay" / f"{step}.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    what = {**what, "examples": str(round_.folder / "examples"), "result": str(result)}
    if round_.here:
        measuring.main(what)
        return json.loads(result.read_text(encoding="utf-8"))
    told = json.dumps(what)
    log = round_.folder / "logs" / f"{step}.log"
    code = processes.run([sys.executable, "-P", "-m", "antiphon.retraining.measuring", told], log, [round_.held])
    if code:
        raise processes.StageFailed(f"{step} failed with code {code}; its output is in {log}", code)
    return json.loads(result.read_text(encoding="utf-8"))

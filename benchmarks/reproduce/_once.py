"""Folders and files that a row needs, each made once for all rows that need it, and what it cost."""

from __future__ import annotations

import json
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from antiphon import records


def once(out: Path, settings: Any, work: Callable[[], Any], resumes: bool = False) -> Any:
    """Does `work`, which makes `out`, unless it was done with the same settings; with others `out` is removed first,
    and also what was not ended where it cannot be resumed.

    Returns:
        what `work` returned when it was done, which JSON can write; with what it took it is kept beside `out`.
    """
    file, now = beside(out), records.fingerprint(settings)
    before = read(file) if file.exists() else {}
    same = before.get("settings") == now
    if same and before["done"] and out.exists():
        return before.get("summary")
    if not (resumes and same):
        shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    spent = before.get("seconds", [0.0, 0.0]) if same else [0.0, 0.0]
    records.write_text(file, records.to_json({"settings": now, "done": False, "seconds": spent}))
    start, processor, summary, done = time.monotonic(), processor_seconds(), None, False
    try:
        summary = work()
        done = True
    finally:
        took = time.monotonic() - start, processor_seconds() - processor
        seconds = [round(old + new, 1) for old, new in zip(spent, took, strict=True)]
        told = {"settings": now, "done": done, "seconds": seconds, "summary": summary}
        records.write_text(file, records.to_json(told))
    return summary


def beside(out: Path) -> Path:
    """The file that says what a folder was made with."""
    return out.with_name(f".{out.name}.made_with.json")


def made_with(out: Path) -> dict[str, Any]:
    """What that file says: ``settings``, a hash; whether it is ``done``; ``seconds``, on the clock and of all
    processors, attempts that were stopped included; the ``summary``."""
    return read(beside(out))


def made_in(folder: Path) -> dict[str, Any]:
    """By the place in `folder` of all that is done there its ``seconds`` and ``summary``."""
    found = {}
    for file in sorted(folder.rglob(".*.made_with.json")):
        told, place = read(file), file.parent / file.name.removeprefix(".").removesuffix(".made_with.json")
        if told["done"]:
            name = place.relative_to(folder).as_posix()
            found[name] = {"seconds": told["seconds"], "summary": told["summary"]}
    return found


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def processor_seconds() -> float:
    """Of this process and of those that it has started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)

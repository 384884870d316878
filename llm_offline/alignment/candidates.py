"""Candidate queries: what every teacher writes for every session, parsed, counted and kept with where it came from."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from feature_store import alignment_tables, folders, reasoner_prompt
from feature_store.errors import DataError
from llm_offline.alignment.teachers import Session, Teacher

_BATCH = 64
"""Sessions that a teacher is asked about at once: a run that is stopped loses one batch of one teacher."""

_THOUGHT = re.compile(r"<think>.*?(</think>|$)", re.S)
_LABEL = re.compile(r"^\W*(the\s+)?((customer|user)(['’]s)?\s+)?(question|query|output)(\s+is)?\s*:\s*", re.I)
_MARKS = " \t\"'“”‘’*`<>-•"


def parse(answer: str) -> str:
    """The question in an answer: without thoughts, a label before it, quotation marks and lines after it."""
    lines = (line.strip() for line in _THOUGHT.sub("", answer).splitlines())
    for line in lines:
        text = _LABEL.sub("", line).strip(_MARKS)
        if text:
            return " ".join(text.split())
    return ""


def outcome(query: str) -> str:
    """``kept`` of a question of 10 to 20 words, as the prompt asks for, else ``short``, ``long`` or ``empty``."""
    words = len(query.split())
    if not words:
        return "empty"
    if words < reasoner_prompt.LEAST_WORDS:
        return "short"
    return "long" if words > reasoner_prompt.MOST_WORDS else "kept"


def run(
    sessions: Path, out: Path, teachers: Mapping[str, Teacher], own: Sequence[str], split: str = "train", limit: int = 0
) -> dict[str, Any]:
    """Writes ``out`` (`alignment_tables`' ``candidates``), sorted by session and candidate.

    What a teacher has written is known by its source, the prompt and the session, and never asked for again: it is
    kept beside ``out`` batch by batch until the folder is whole, and taken from the folder that was there before.

    Args:
        sessions: a folder of ``session_texts``; those of ``split`` that have a label, which a reward needs, the first
            ``limit`` in the order of ids if above 0.
        teachers: by name. own: names of those that are the reasoner itself.
    Returns:
        sessions, candidates by teacher and outcome, how many texts were asked for and reused, seconds.
    Raises:
        DataError: the sessions are not whole, or there are none in the split.
        as `Teacher.write`.
    """
    started, out = time.monotonic(), Path(out)
    asked = _sessions(Path(sessions), split, limit)
    unfinished = out.with_name(f".{out.name}.unfinished")
    unfinished.mkdir(parents=True, exist_ok=True)
    known, rows, new = _known(out, unfinished), [], 0
    total = sum(teacher.samples for teacher in teachers.values()) * len(asked)
    with tqdm(total=total, desc="candidates", unit="text") as bar:
        for name, teacher in teachers.items():
            for batch in _batches(asked):
                keys = [_key(teacher, session) for session in batch]
                missing = [n for n, key in enumerate(keys) if len(known.get(key, ())) < teacher.samples]
                if missing:
                    written = teacher.write([batch[n] for n in missing])
                    fresh = {keys[n]: texts for n, texts in zip(missing, written, strict=True)}
                    _keep(unfinished, fresh)
                    known.update(fresh)
                    new += len(missing) * teacher.samples
                for session, key in zip(batch, keys, strict=True):
                    texts = known[key][: teacher.samples]
                    rows += [_row(session, name, n, text, name in own, key, teacher) for n, text in enumerate(texts)]
                bar.update(len(batch) * teacher.samples)
    counts: dict[str, Counter[str]] = {name: Counter() for name in teachers}
    for row in rows:
        counts[row["teacher"]][row["outcome"]] += 1
    schema = alignment_tables.TABLES["candidates"]["candidates"]
    table = pa.Table.from_pylist(rows, schema=schema).sort_by([("session_id", "ascending"), ("candidate", "ascending")])
    told = {name: dict(sorted(counter.items())) for name, counter in counts.items()}
    made_of = {Path(sessions).name: folders.version(Path(sessions))}
    sources = {name: teacher.source for name, teacher in teachers.items()}
    described = {"made_of": made_of, "teachers": sources, "own": list(own), "split": split,
                 "prompt": reasoner_prompt.prompt_id(), "outcomes": told}  # fmt: skip
    alignment_tables.write(out, "candidates", {"candidates": table}, described)
    shutil.rmtree(unfinished)
    return {"sessions": len(asked), "candidates": len(rows), "outcomes": told, "asked": new, "reused": len(rows) - new,
            "seconds": round(time.monotonic() - started, 2)}  # fmt: skip


def _sessions(folder: Path, split: str, limit: int) -> list[Session]:
    table = alignment_tables.read(folder, "session_texts", "sessions").sort_by("session_id")
    rows = [row for row in table.to_pylist() if row["split"] == split and row["text"] and row["intents"]]
    rows = rows[: limit or None]
    if not rows:
        raise DataError("there is no session with a text and a label", file=folder, field="split", value=split)
    return [Session(row["session_id"], row["text"]) for row in rows]


def _batches(sessions: list[Session]) -> Iterator[list[Session]]:
    for start in range(0, len(sessions), _BATCH):
        yield sessions[start : start + _BATCH]


def _key(teacher: Teacher, session: Session) -> str:
    told = "\0".join((teacher.source, reasoner_prompt.prompt_id(), session.session_id, session.text))
    return hashlib.sha256(told.encode()).hexdigest()


def _row(
    session: Session, name: str, sample: int, answer: str, own: bool, key: str, teacher: Teacher
) -> dict[str, Any]:
    query = parse(answer)
    return {"session_id": session.session_id, "candidate": f"{name}/{sample}", "teacher": name, "own": own,
            "query": query, "words": len(query.split()), "outcome": outcome(query), "answer": answer, "asked": key,
            "source": teacher.source}  # fmt: skip


def _keep(folder: Path, written: Mapping[str, list[str]]) -> None:
    """Writes a batch's answers as one file that is whole or not there."""
    name = hashlib.sha256("".join(written).encode()).hexdigest()[:24]
    table = pa.table({"asked": list(written), "answers": pa.array(written.values(), pa.list_(pa.string()))})
    temporary = folder / f".{name}.part"
    pq.write_table(table, temporary)
    temporary.rename(folder / f"{name}.parquet")


def _known(out: Path, unfinished: Path) -> dict[str, list[str]]:
    """What earlier runs, finished or not, were answered, by what they asked."""
    found: dict[str, list[str]] = {}
    if (out / folders.MANIFEST).is_file():
        for row in alignment_tables.read(out, "candidates", "candidates", ["asked", "answer"]).to_pylist():
            found.setdefault(row["asked"], []).append(row["answer"])
    for path in unfinished.glob("*.parquet"):
        table = pq.read_table(path)
        found.update(zip(table["asked"].to_pylist(), table["answers"].to_pylist(), strict=True))
    return found

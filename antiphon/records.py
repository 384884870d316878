"""What is known of each stage of a run: `stages/<stage>.json`, and when it still holds.

A stage's fingerprint is a hash of the settings it reads, its version, and what the stages it builds on left. A record
holds as long as the fingerprint is the same and what the stage made is as it left it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Record:
    """What ``stages/<stage>.json`` says: of what the stage was made, and what it left."""

    stage: str
    fingerprint: str
    identity: str = ""  # of a stage that can go on where it stopped: what must be the same for that
    done: bool = False
    seconds: float = 0.0
    output: str = ""  # hash of the stage's manifests
    summary: dict[str, Any] = field(default_factory=dict)
    by_content: bool = False  # see the function

    @property
    def left(self) -> list[str]:
        """What the stage left, for the fingerprints of those that build on it.

        Where ``output`` tells its content, nothing else counts: raw files that were only copied or touched are read
        again, and what was trained on them holds.
        """
        return [self.output] if self.by_content else [self.fingerprint, self.output]


def read(folder: Path, stage: str) -> Record | None:
    """The stage's record in the run's `folder`; None where there is none that can be read."""
    try:
        return Record(**json.loads(_path(folder, stage).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write(folder: Path, record: Record) -> None:
    write_text(_path(folder, record.stage), to_json(asdict(record)))


def to_json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a file in one step: whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def fingerprint(content: Any) -> str:
    """A hash of anything that JSON can write."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def output_hash(folder: Path, products: tuple[str, ...]) -> str | None:
    """A hash of what the stage left under `products` (paths in the run's folder); None where one is missing.

    Of a folder only its manifest is read, or, where it has none, the names and sizes of its files.
    """
    found = []
    for product in products:
        path = folder / product
        if path.is_dir() and (path / "MANIFEST.json").is_file():
            path = path / "MANIFEST.json"
        if path.is_file():
            found.append((product, hashlib.sha256(path.read_bytes()).hexdigest()))
        elif path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            found.append((product, [(str(file.relative_to(path)), file.stat().st_size) for file in files]))
        else:
            return None
    return fingerprint(found)


def by_content(folder: Path, products: tuple[str, ...]) -> bool:
    """Whether ``output_hash`` of what is there changes with any of its content.

    That of folders with a manifest does, which has the hashes of their files. A file by itself may only point at what
    was made, as ``export/chosen.json`` does.
    """
    return all((folder / product / "MANIFEST.json").is_file() for product in products)


def _path(folder: Path, stage: str) -> Path:
    return folder / "stages" / f"{stage}.json"

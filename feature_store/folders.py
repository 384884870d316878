"""Folders that are whole or not there: temporary name, manifest last, then renamed into place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feature_store.errors import DataError

MANIFEST = "MANIFEST.json"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(path: Path, folder: Path) -> dict[str, Any]:
    """What a manifest says of one file: its name within the folder, its size and its hash."""
    return {"file": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": sha256(path)}


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Gives an empty folder beside ``out`` and renames it to ``out`` when the block ends without an error.

    An older ``out`` is replaced. After an error nothing of the new folder is left and ``out`` is as it was.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if not (temporary / MANIFEST).exists():
            raise RuntimeError(f"{temporary}: the block must write {MANIFEST} before it ends")
        old = out.with_name(f".{out.name}.{os.getpid()}.old")
        if out.exists():
            out.rename(old)
        temporary.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes ``MANIFEST.json`` in one step; call it after every other file is in place."""
    temporary = folder / f".{MANIFEST}.part"
    temporary.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.rename(folder / MANIFEST)


def read_manifest(folder: Path, hashes: bool = True) -> dict[str, Any]:
    """Reads a folder's manifest and checks every file it names (an object with ``file``, ``bytes``,
    ``sha256``).

    Raises:
        DataError: no manifest (the folder is not whole), a file missing, or of another size or hash.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise DataError(f"the folder has no {MANIFEST}: it was not written to the end", file=folder)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"not valid JSON: {error}", file=path) from error
    for entry in _files(manifest):
        _check_file(Path(folder), entry, hashes)
    return manifest


def read_manifest_of(kind: str, folder: Path, what: str, hashes: bool = True) -> dict[str, Any]:
    """``read_manifest`` of a folder that has to be one of ``what``, whose manifest says ``kind``.

    Raises:
        DataError: as `read_manifest`, or the folder is of another kind.
    """
    manifest = read_manifest(folder, hashes)
    if manifest.get("kind") != kind:
        raise DataError(f"not a folder of {what}", file=folder, value=manifest.get("kind"))
    return manifest


def require_model(manifest: Mapping[str, Any], model_id: str, folder: Path) -> None:
    """
    Raises:
        DataError: the folder is of another model than ``model_id``; "" takes any.
    """
    if model_id and manifest["model_id"] != model_id:
        rule = f"is stale: it must be of {model_id!r}"
        raise DataError(rule, file=folder, field="model_id", value=manifest["model_id"])


def version(folder: Path) -> str:
    """Twelve hex digits over a folder's manifest, and so over the files that it describes: names what a folder holds,
    in the manifests of those that were made from it."""
    return sha256(Path(folder) / MANIFEST)[:12]


def _files(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if {"file", "bytes", "sha256"} <= node.keys():
            yield node
        for child in node.values():
            yield from _files(child)
    elif isinstance(node, list):
        for child in node:
            yield from _files(child)


def _check_file(folder: Path, entry: Mapping[str, Any], hashes: bool) -> None:
    path = folder / entry["file"]
    if not path.is_file():
        raise DataError(f"named in {MANIFEST} but not there", file=path)
    if path.stat().st_size != entry["bytes"]:
        raise DataError(f"{MANIFEST} says {entry['bytes']} bytes", file=path, value=path.stat().st_size)
    if hashes and (found := sha256(path)) != entry["sha256"]:
        raise DataError(f"{MANIFEST} says sha256 {entry['sha256']}", file=path, value=found)


def sync_folder(folder: Path) -> None:
    """Flushes the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
